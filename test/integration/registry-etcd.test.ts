import { describe, expect, test } from 'vitest';
import type { Registry } from '../../src/cluster/index.js';
import { monotonicMs } from '../../src/daemon/registry/clock.js';
import { openRegistry } from '../../src/daemon/registry/index.js';
import { isEtcdInstalled, TestEtcd } from '../support/etcd.js';
import { Gate } from '../support/gate.js';
import { follow, sleep } from '../support/registry.js';

/** A lease that a test waits for the end of, one that it sees kept alive, and one that is not to end. */
const SHORT_MS = 2_000;
const MEDIUM_MS = 6_000;
const LONG_MS = 20_000;
const PATIENCE = { timeout: 40_000, interval: 20 };

/** A registry that is closed when the scope ends. */
async function open(...urls: readonly string[]): Promise<Registry & AsyncDisposable> {
  const registry = await openRegistry(`etcd:${urls.join(',')}/test`);
  return Object.assign(registry, { [Symbol.asyncDispose]: () => registry.close() });
}

/** Puts as a coordinator would: after an error it reads again. */
async function putOn(registry: Registry, value: unknown): Promise<void> {
  const untilMs = monotonicMs() + PATIENCE.timeout;
  for (;;) {
    try {
      const found = await registry.get('topology');
      if (found?.value === value) return;
      await registry.put('topology', value, found?.revision ?? 0);
    } catch (error) {
      if (monotonicMs() > untilMs) throw error;
      await sleep(50);
    }
  }
}

describe.skipIf(!isEtcdInstalled)('a registry in etcd', () => {
  test('goes on when etcd was restarted: its lease, its watch, its records', async () => {
    await using etcd = await TestEtcd.start();
    await using registry = await open(etcd.url);
    await using other = await open(etcd.url);
    const { told } = follow(registry, '');
    const lease = await registry.openLease(MEDIUM_MS);
    await lease.hold('alive/a', {});
    await putOn(other, 1);
    await expect.poll(() => told, PATIENCE).toEqual(['alive/a={}', 'topology=1']);

    await etcd.kill();
    await expect(registry.get('topology')).rejects.toThrow(/ECONNREFUSED|ECONNRESET|hang up/);
    const validUntilMs = lease.validUntilMs;
    await etcd.restart();
    await putOn(other, 2);
    await expect.poll(() => told, PATIENCE).toEqual(['alive/a={}', 'topology=1', 'topology=2']);
    await expect.poll(() => lease.validUntilMs, PATIENCE).toBeGreaterThan(validUntilMs);
    expect(lease.isLost).toBe(false);
    expect(await other.get('alive/a')).toBeDefined();
  });

  test('knows that its lease is over when etcd was out of reach for longer, and can begin another', async () => {
    await using etcd = await TestEtcd.start();
    await using registry = await open(etcd.url);
    const { told } = follow(registry, '');
    const lease = await registry.openLease(SHORT_MS);
    await lease.hold('alive/a', { incarnation: 'x' });
    await expect.poll(() => told, PATIENCE).toHaveLength(1);

    await etcd.pause();
    await expect(registry.get('alive/a')).rejects.toThrow('no answer within');
    await expect.poll(() => monotonicMs() > lease.validUntilMs + SHORT_MS, PATIENCE).toBe(true);
    expect(lease.isLost).toBe(false);
    etcd.resume();
    await expect.poll(() => lease.isLost, PATIENCE).toBe(true);
    await expect.poll(() => told, PATIENCE).toEqual(['alive/a={"incarnation":"x"}', 'alive/a gone']);
    await expect(lease.hold('alive/a', {})).rejects.toThrow('lost');

    const next = await registry.openLease(SHORT_MS);
    expect(await next.hold('alive/a', { incarnation: 'x' })).toBe(true);
    await expect.poll(() => told, PATIENCE).toHaveLength(3);
  });

  test('counts its lease from the sending of a keep-alive, not from its answer', async () => {
    await using etcd = await TestEtcd.start();
    await using gate = await Gate.open(etcd.url);
    await using registry = await open(gate.url);
    const lease = await registry.openLease(SHORT_MS);
    gate.answerDelayMs = SHORT_MS / 5;
    const first = lease.validUntilMs;
    await expect.poll(() => lease.validUntilMs, PATIENCE).toBeGreaterThan(first);
    expect(lease.validUntilMs).toBeLessThanOrEqual(monotonicMs() + SHORT_MS - gate.answerDelayMs);
  });

  test('notices that its lease was revoked by somebody else', async () => {
    await using etcd = await TestEtcd.start();
    await using registry = await open(etcd.url);
    const { told } = follow(registry, '');
    const lease = await registry.openLease(SHORT_MS);
    await lease.hold('coordinator', {});
    await expect.poll(() => told, PATIENCE).toEqual(['coordinator={}']);
    const { leases } = (await etcd.ask('/v3/lease/leases', {})) as { leases: { ID: string }[] };
    for (const { ID } of leases) await etcd.ask('/v3/lease/revoke', { ID });
    await expect.poll(() => lease.isLost, PATIENCE).toBe(true);
    await lease.lost;
    await expect.poll(() => told, PATIENCE).toEqual(['coordinator={}', 'coordinator gone']);
  });

  test('notices that its lease was revoked when it holds a record next', async () => {
    await using etcd = await TestEtcd.start();
    await using registry = await open(etcd.url);
    const lease = await registry.openLease(LONG_MS);
    const { leases } = (await etcd.ask('/v3/lease/leases', {})) as { leases: { ID: string }[] };
    for (const { ID } of leases) await etcd.ask('/v3/lease/revoke', { ID });
    await expect(lease.hold('coordinator', {})).rejects.toThrow('lease not found');
    expect(lease.isLost).toBe(true);
  });

  test('reads everything again when what it watched was compacted away', async () => {
    await using etcd = await TestEtcd.start();
    await using gate = await Gate.open(etcd.url);
    await using registry = await open(gate.url);
    await using other = await open(etcd.url);
    await putOn(other, 'before');
    // The watch reads everything, and its stream is held up on the way, until its revision is gone.
    gate.isHoldingWatches = true;
    const { told } = follow(registry, '');
    await expect.poll(() => gate.heldWatches, PATIENCE).toBe(1);
    for (const value of ['one', 'two', 'three']) await putOn(other, value);
    const { header } = (await etcd.ask('/v3/kv/range', { key: 'AA==' })) as { header: { revision: string } };
    await etcd.ask('/v3/kv/compaction', { revision: header.revision });
    gate.release();
    await expect.poll(() => told.at(-1), PATIENCE).toBe('topology="three"');
    await putOn(other, 'after');
    await expect.poll(() => told.at(-1), PATIENCE).toBe('topology="after"');
  });

  test('hears of changes made while its connection was cut, absences too', async () => {
    await using etcd = await TestEtcd.start();
    await using gate = await Gate.open(etcd.url);
    await using registry = await open(gate.url);
    await using other = await open(etcd.url);
    const { told, revisions } = follow(registry, '');
    const lease = await other.openLease(LONG_MS);
    await lease.hold('alive/a', {});
    await expect.poll(() => told, PATIENCE).toEqual(['alive/a={}']);
    gate.isClosed = true;
    gate.cut();
    await lease.close();
    await putOn(other, 1);
    gate.isClosed = false;
    await expect.poll(() => told, PATIENCE).toEqual(['alive/a={}', 'alive/a gone', 'topology=1']);
    expect(revisions[1]).toBeGreaterThan(revisions[0] ?? 0);
  });

  test('does not trust a watch that falls silent', async () => {
    await using etcd = await TestEtcd.start();
    await using gate = await Gate.open(etcd.url);
    await using registry = await open(gate.url);
    await using other = await open(etcd.url);
    const { told } = follow(registry, '');
    await putOn(other, 1);
    await expect.poll(() => told, PATIENCE).toEqual(['topology=1']);
    gate.mutedPath = '/v3/watch';
    await putOn(other, 2);
    await expect.poll(() => told, PATIENCE).toEqual(['topology=1', 'topology=2']);
    await putOn(other, 3);
    await expect.poll(() => told, PATIENCE).toEqual(['topology=1', 'topology=2', 'topology=3']);
  });

  test('learns what became of a change whose answer was lost', async () => {
    await using etcd = await TestEtcd.start();
    await using gate = await Gate.open(etcd.url);
    await using registry = await open(gate.url);
    await using other = await open(etcd.url);
    const lease = await registry.openLease(LONG_MS);
    gate.mutedPath = '/v3/kv/txn';
    await expect(registry.put('topology', 'done all the same', 0)).rejects.toThrow('no answer within');
    await expect(lease.hold('coordinator', {})).rejects.toThrow('no answer within');
    gate.mutedPath = undefined;
    expect((await registry.get('topology'))?.value).toBe('done all the same');
    expect(await lease.hold('coordinator', {})).toBe(true);
    expect(lease.heldRevision('coordinator')).toBe((await other.get('coordinator'))?.revision);
  });

  test('follows an etcd that was set up anew, at lower revisions', async () => {
    await using etcd = await TestEtcd.start();
    await using registry = await open(etcd.url);
    const { told } = follow(registry, '');
    const lease = await registry.openLease(MEDIUM_MS);
    for (let value = 1; value <= 5; value++) await putOn(registry, value);
    await expect.poll(() => told.at(-1), PATIENCE).toBe('topology=5');
    await etcd.kill();
    await etcd.restart({ isAfresh: true });
    await expect.poll(() => lease.isLost, PATIENCE).toBe(true);
    await expect.poll(() => told.at(-1), PATIENCE).toBe('topology gone');
    await putOn(registry, 6);
    await expect.poll(() => told.at(-1), PATIENCE).toBe('topology=6');
  });
});

describe.skipIf(!isEtcdInstalled)('a registry in an etcd of three members', () => {
  test('goes on when the leader is killed: its lease, its watch, its records', async () => {
    await using etcd = await TestEtcd.start(3);
    const leader = await etcd.leader();
    // The leader first, so that everything goes to it.
    const urls = [...etcd.urls.slice(leader), ...etcd.urls.slice(0, leader)];
    await using registry = await open(...urls);
    const { told } = follow(registry, '');
    const lease = await registry.openLease(MEDIUM_MS);
    await lease.hold('coordinator', {});
    await putOn(registry, 1);
    await expect.poll(() => told, PATIENCE).toEqual(['coordinator={}', 'topology=1']);

    await etcd.kill(leader);
    await putOn(registry, 2);
    await expect.poll(() => told, PATIENCE).toEqual(['coordinator={}', 'topology=1', 'topology=2']);
    const validUntilMs = lease.validUntilMs;
    await expect.poll(() => lease.validUntilMs, PATIENCE).toBeGreaterThan(validUntilMs);
    const guard = { key: 'coordinator', revision: lease.heldRevision('coordinator') ?? 0 } as const;
    const found = await registry.get('topology');
    expect(await registry.put('topology', 3, found?.revision ?? 0, guard)).toBeDefined();
  });

  test('goes on when the member it talks to is stopped', async () => {
    await using etcd = await TestEtcd.start(3);
    const follower = (await etcd.leader()) === 0 ? 1 : 0;
    const urls = [...etcd.urls.slice(follower), ...etcd.urls.slice(0, follower)];
    await using registry = await open(...urls);
    await using other = await open(...urls.slice(1));
    const { told } = follow(registry, '');
    const lease = await registry.openLease(MEDIUM_MS);
    await lease.hold('alive/a', {});
    await expect.poll(() => told, PATIENCE).toEqual(['alive/a={}']);

    await etcd.pause(follower);
    await putOn(other, 1);
    await expect.poll(() => told, PATIENCE).toEqual(['alive/a={}', 'topology=1']);
    const validUntilMs = lease.validUntilMs;
    await expect.poll(() => lease.validUntilMs, PATIENCE).toBeGreaterThan(validUntilMs);
    expect(lease.isLost).toBe(false);
  });
});
