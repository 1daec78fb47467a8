import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Registry } from '../../src/cluster/index.js';
import { monotonicMs } from '../../src/daemon/registry/clock.js';
import { openRegistry } from '../../src/daemon/registry/index.js';
import { isEtcdInstalled, TestEtcd } from '../support/etcd.js';
import { follow, Holder, sleep } from '../support/registry.js';

/** Long enough for a process that is kept waiting on a busy machine, where the test is not about its end. */
const LONG_MS = 20_000;
/** The shortest that etcd keeps to. */
const SHORT_MS = 2_000;
/** A condition that comes with the end of a short lease. */
const PATIENCE = { timeout: 30_000, interval: 20 };

/** Where each test gets a registry of its own. */
interface Ground {
  locate(): Promise<string>;
  close(): Promise<void>;
}

interface Terrain {
  readonly name: string;
  readonly isHere: boolean;
  /** How long a lease may be that ends when its process is killed: any, where that is seen at once. */
  readonly fatalTtlMs: number;
  lay(): Promise<Ground>;
}

const TERRAINS: readonly Terrain[] = [
  {
    name: 'in a folder',
    isHere: true,
    fatalTtlMs: 20 * PATIENCE.timeout,
    lay: async () => {
      const folder = await mkdtemp(join(tmpdir(), 'henge-registry-'));
      let count = 0;
      return {
        locate: async () => `dir:${join(folder, String(count++))}`,
        close: () => rm(folder, { recursive: true }),
      };
    },
  },
  {
    name: 'in etcd',
    isHere: isEtcdInstalled,
    fatalTtlMs: SHORT_MS,
    lay: async () => {
      const etcd = await TestEtcd.start();
      let count = 0;
      return { locate: async () => `etcd:${etcd.url}/test-${count++}`, close: () => etcd[Symbol.asyncDispose]() };
    },
  },
];

describe.each(TERRAINS.filter(({ isHere }) => isHere))('a registry $name', ({ lay, fatalTtlMs }) => {
  let ground: Ground;
  let location: string;
  let registry: Registry;
  let other: Registry;

  beforeAll(async () => {
    ground = await lay();
  });
  afterAll(() => ground.close());
  beforeEach(async () => {
    location = await ground.locate();
    registry = await openRegistry(location);
    other = await openRegistry(location);
  });
  afterEach(async () => {
    await registry.close();
    await other.close();
  });

  describe('keeps records and', () => {
    test('has none when it is new', async () => {
      expect(await registry.get('topology')).toBeUndefined();
      expect(await registry.get('alive/a')).toBeUndefined();
      expect(await registry.list('')).toEqual([]);
    });

    test('gives to one process what another put', async () => {
      const revision = await registry.put('members/a', { number: 1 }, 0);
      expect(await other.get('members/a')).toEqual({ key: 'members/a', revision, value: { number: 1 } });
    });

    test('lists those whose key begins alike', async () => {
      const keys = ['config', 'topology', 'rebalance', 'members/a', 'members/b'] as const;
      for (const key of keys) await registry.put(key, key, 0);
      expect((await other.list('members/')).map(({ value }) => value).sort()).toEqual(['members/a', 'members/b']);
      expect(await other.list('members/c')).toEqual([]);
      expect((await other.list('')).map(({ key }) => key).sort()).toEqual([...keys].sort());
    });

    test('publishes a version only upon the one it was made from', async () => {
      const first = (await registry.put('topology', 'first', 0)) ?? 0;
      expect(await other.put('topology', 'founder too', 0)).toBeUndefined();
      const second = (await other.put('topology', 'second', first)) ?? 0;
      expect(second).toBeGreaterThan(first);
      expect(await registry.put('topology', 'late', first)).toBeUndefined();
      expect((await registry.get('topology'))?.value).toBe('second');
    });

    test('lets exactly one of the writers at the same time win', async () => {
      let revision = 0;
      for (let round = 0; round < 10; round++) {
        const puts = Array.from({ length: 8 }, (_, writer) =>
          (writer % 2 ? registry : other).put('config', writer, revision),
        );
        const winners = (await Promise.all(puts)).filter((result) => result !== undefined);
        expect(winners).toHaveLength(1);
        revision = winners[0] ?? 0;
      }
    });

    test('refuses to put what is leased, and to lease what is put', async () => {
      await expect(registry.put('coordinator', {}, 0)).rejects.toThrow(RangeError);
      const lease = await registry.openLease(LONG_MS);
      await expect(lease.hold('topology', {})).rejects.toThrow(RangeError);
    });
  });

  describe('guards a put and', () => {
    test('lets it through only while the other record has that revision', async () => {
      const members = (await registry.put('members/a', 1, 0)) ?? 0;
      const guard = { key: 'members/a', revision: members } as const;
      const topology = (await registry.put('topology', 'guarded', 0, guard)) ?? 0;
      expect(topology).toBeGreaterThan(0);
      await other.put('members/a', 2, members);
      expect(await registry.put('topology', 'too late', topology, guard)).toBeUndefined();
      expect((await registry.get('topology'))?.value).toBe('guarded');
    });

    test('takes revision 0 for a record that is not there', async () => {
      const guard = { key: 'coordinator', revision: 0 } as const;
      const first = (await registry.put('config', 'nobody coordinates', 0, guard)) ?? 0;
      const lease = await other.openLease(LONG_MS);
      await lease.hold('coordinator', {});
      expect(await registry.put('config', 'somebody does', first, guard)).toBeUndefined();
    });

    test('fences a coordinator that was replaced', async () => {
      const old = await registry.openLease(LONG_MS);
      await old.hold('coordinator', {});
      const guard = { key: 'coordinator', revision: old.heldRevision('coordinator') ?? 0 } as const;
      const first = (await registry.put('topology', 1, 0, guard)) ?? 0;
      await old.close();
      expect(await registry.put('topology', 'nobody coordinates', first, guard)).toBeUndefined();

      const next = await other.openLease(LONG_MS);
      expect(await next.hold('coordinator', {})).toBe(true);
      const token = next.heldRevision('coordinator') ?? 0;
      expect(token).toBeGreaterThan(guard.revision);
      expect(await registry.put('topology', 'deposed', first, guard)).toBeUndefined();
      expect(await other.put('topology', 2, first, { ...guard, revision: token })).toBeGreaterThan(first);
    });
  });

  describe('is watched and', () => {
    test('tells what is there and what comes, each version once', async () => {
      const first = (await registry.put('members/a', 1, 0)) ?? 0;
      const { told, close } = follow(other, 'members/');
      await expect.poll(() => told, PATIENCE).toEqual(['members/a=1']);
      await registry.put('topology', 'of no concern', 0);
      await registry.put('members/b', 2, 0);
      await registry.put('members/a', 3, first);
      await expect.poll(() => told.toSorted(), PATIENCE).toEqual(['members/a=1', 'members/a=3', 'members/b=2']);
      close();
    });

    test('tells that a leased record is gone, and of the next one with a higher revision', async () => {
      const { told, revisions } = follow(other, 'alive/');
      for (const number of [1, 2]) {
        const lease = await registry.openLease(LONG_MS);
        await lease.hold('alive/a', { number } as object);
        await expect.poll(() => told.at(-1), PATIENCE).toBe(`alive/a={"number":${number}}`);
        await lease.close();
        await expect.poll(() => told.at(-1), PATIENCE).toBe('alive/a gone');
      }
      expect(told).toHaveLength(4);
      expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
      expect(revisions[2]).toBeGreaterThan(revisions[1] ?? 0);
    });

    test('tells nothing after the watch was closed', async () => {
      const { told, close } = follow(other, '');
      const control = follow(other, '');
      close();
      await registry.put('config', 1, 0);
      await expect.poll(() => control.told, PATIENCE).toEqual(['config=1']);
      expect(told).toEqual([]);
    });
  });

  describe('leases and', () => {
    test('lets one hold a record at a time, until that lets go', async () => {
      const mine = await registry.openLease(LONG_MS);
      const theirs = await other.openLease(LONG_MS);
      expect(await mine.hold('alive/a', {})).toBe(true);
      expect(await theirs.hold('alive/a', {})).toBe(false);
      expect(await theirs.hold('alive/b', {})).toBe(true);
      expect(theirs.heldRevision('alive/a')).toBeUndefined();
      await mine.close();
      expect(await registry.get('alive/a')).toBeUndefined();
      expect(await theirs.hold('alive/a', {})).toBe(true);
    });

    test('elects exactly one of many', async () => {
      const leases = await Promise.all(
        Array.from({ length: 6 }, (_, index) => (index % 2 ? registry : other).openLease(LONG_MS)),
      );
      const results = await Promise.all(leases.map((lease) => lease.hold('coordinator', {})));
      expect(results.filter((isHeld) => isHeld)).toHaveLength(1);
    });

    test('keeps the fencing token over new versions of the value, and makes none of an equal one', async () => {
      const lease = await registry.openLease(LONG_MS);
      await lease.hold('alive/a', { epoch: 1 } as object);
      const first = await other.get('alive/a');
      expect(lease.heldRevision('alive/a')).toBe(first?.revision);
      expect(await lease.hold('alive/a', { epoch: 1 } as object)).toBe(true);
      expect(await other.get('alive/a')).toEqual(first);
      expect(await lease.hold('alive/a', { epoch: 2 } as object)).toBe(true);
      const second = await other.get('alive/a');
      expect(second?.value).toEqual({ epoch: 2 });
      expect(second?.revision).toBeGreaterThan(first?.revision ?? 0);
      expect(lease.heldRevision('alive/a')).toBe(first?.revision);
    });

    test('lets a process with the same memory take the place of another, without an absence', async () => {
      const { told } = follow(other, 'alive/');
      const old = await registry.openLease(3 * SHORT_MS);
      await old.hold('alive/a', { incarnation: 'x' });
      await old.hold('coordinator', {});
      await expect.poll(() => told, PATIENCE).toEqual(['alive/a={"incarnation":"x"}']);

      const next = await other.openLease(LONG_MS);
      expect(await next.hold('alive/a', { incarnation: 'y' })).toBe(false);
      expect(await next.hold('alive/a', { incarnation: 'x', pid: 2 } as object)).toBe(true);
      expect(next.heldRevision('alive/a')).toBeGreaterThan(old.heldRevision('alive/a') ?? 0);
      await expect.poll(() => told, PATIENCE).toHaveLength(2);
      await expect.poll(() => old.isLost, PATIENCE).toBe(true);
      await old.lost;
      expect(await other.get('coordinator')).toBeUndefined();
      expect(told).toEqual(['alive/a={"incarnation":"x"}', 'alive/a={"incarnation":"x","pid":2}']);
    });

    test('does not take two empty incarnations for one memory', async () => {
      const mine = await registry.openLease(LONG_MS);
      const theirs = await other.openLease(LONG_MS);
      await mine.hold('alive/a', { incarnation: '' });
      expect(await theirs.hold('alive/a', { incarnation: '' })).toBe(false);
    });

    test('keeps a lease for longer than its time to live', async () => {
      const lease = await registry.openLease(SHORT_MS);
      await lease.hold('alive/a', {});
      const first = lease.validUntilMs;
      expect(first).toBeLessThanOrEqual(monotonicMs() + SHORT_MS);
      await expect.poll(() => lease.validUntilMs, PATIENCE).toBeGreaterThan(first + 1.5 * SHORT_MS);
      expect(lease.validUntilMs).toBeLessThanOrEqual(monotonicMs() + SHORT_MS);
      expect(lease.isLost).toBe(false);
      expect(await other.get('alive/a')).toBeDefined();
    });

    test('gives up everything held when it is closed', async () => {
      const lease = await registry.openLease(LONG_MS);
      await lease.hold('coordinator', {});
      await registry.close();
      await expect.poll(() => other.get('coordinator'), PATIENCE).toBeUndefined();
      expect(lease.isLost).toBe(false);
    });
  });

  describe('loses a process and', () => {
    test('frees what it held when it was killed', async () => {
      const { told } = follow(registry, 'alive/');
      await using holder = await Holder.start({ location, key: 'alive/a', value: {}, ttlMs: fatalTtlMs });
      await expect.poll(() => told, PATIENCE).toEqual(['alive/a={}']);
      holder.signal('SIGKILL');
      await expect.poll(() => told, PATIENCE).toEqual(['alive/a={}', 'alive/a gone']);
      const lease = await other.openLease(LONG_MS);
      expect(await lease.hold('alive/a', {})).toBe(true);
    });

    test('lets one that is stopped lapse, not before it may know that itself', async () => {
      await using holder = await Holder.start({ location, key: 'coordinator', value: {}, ttlMs: SHORT_MS });
      const token = (await registry.get('coordinator'))?.revision ?? 0;
      const successor = await other.openLease(LONG_MS);
      holder.signal('SIGSTOP');
      expect(await successor.hold('coordinator', {})).toBe(false);
      await expect.poll(() => successor.hold('coordinator', {}), PATIENCE).toBe(true);
      const takenMs = monotonicMs();
      expect(successor.heldRevision('coordinator')).toBeGreaterThan(token);

      expect(holder.loss).toBeUndefined();
      holder.signal('SIGCONT');
      await expect.poll(() => holder.loss, PATIENCE).toBeDefined();
      expect(holder.loss?.validUntilMs).toBeLessThanOrEqual(takenMs);
      await sleep(SHORT_MS / 2);
      expect((await registry.get('coordinator'))?.revision).toBe(successor.heldRevision('coordinator'));
    });
  });
});
