/**
 * The client against real nodes: what it promises holds for the daemon and the native store as for the reference
 * server.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Henge, HengeError, type Key } from '../../src/index.js';
import { scratch, TestDaemon } from '../support/daemon.js';

const BASE_PORT = 17_160;

/** Nodes are started from what was built, as the command line does. */
const { DevCluster } = (await import(
  new URL('../../dist/daemon/index.js', import.meta.url).href
)) as typeof import('../../src/daemon/index.js');

const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof HengeError ? error.code : error),
  );

describe('three nodes', () => {
  const folder = scratch();
  let cluster: Awaited<ReturnType<typeof DevCluster.start>>;
  let client: Henge;

  beforeAll(async () => {
    const serveArguments = ['--memory=32mb', '--workers=1', '--rf=1'];
    const ports = { basePort: BASE_PORT, baseHttpPort: BASE_PORT + 10 };
    cluster = await DevCluster.start({ nodes: 3, ...ports, folder: folder.path, serveArguments });
    client = await Henge.connect({ seeds: cluster.nodes.map(({ address }) => address) });
  });

  afterAll(async () => {
    await client?.close();
    await cluster?.stop();
    folder[Symbol.dispose]();
  });

  const keys: [string, Key][] = [
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
    ['not UTF-8', Buffer.from([0xff, 0xfe, 0x00])],
    ['of 65,535 bytes', 'k'.repeat(65_535)],
  ];

  it.each(keys)('a key %s comes back as it went in', async (_, key) => {
    await client.set(key, 'value');
    expect(await client.get(key)).toBe('value');
    const listed: Buffer[] = [];
    for await (const one of client.scan()) listed.push(Buffer.from(one as string));
    expect(listed.some((one) => one.equals(Buffer.from(key as string)))).toBe(true);
    expect(await client.delete(key)).toBe(true);
    expect(await client.has(key)).toBe(false);
  });

  it('values of every type come back as they went in', async () => {
    const values = [
      'grüße',
      '',
      Buffer.from([0, 255]),
      Buffer.alloc(0),
      0,
      -0,
      0.5,
      Number.NaN,
      2n ** 63n - 1n,
      2n ** 70n,
      null,
      false,
      [1, [2]],
      { map: new Map([[1, new Set([2])]]), date: new Date(5), nothing: undefined },
      new Float64Array([1, 2]),
      'x'.repeat(1_000_000),
    ];
    await client.setMany(values.map((value, i) => [`value:${i}`, value] as const));
    const read = await client.getMany(values.map((_, i) => `value:${i}`));
    expect(read).toStrictEqual(values);
  });

  it('keys and values that cannot be stored are refused with a code', async () => {
    expect(await codeOf(client.set('', 1))).toBe('INVALID_KEY');
    expect(await codeOf(client.set('k'.repeat(65_536), 1))).toBe('INVALID_KEY');
    expect(await codeOf(client.set('k', Buffer.alloc(1_048_577)))).toBe('VALUE_TOO_LARGE');
  });

  it('conditions, versions and times to live hold', async () => {
    const version = await client.set('cas', 1, { ifAbsent: true, ttl: '1h' });
    expect(await client.set('cas', 2, { ifAbsent: true })).toBeUndefined();
    const entry = await client.getEntry('cas');
    expect(entry?.version).toBe(version);
    expect(entry?.ttlMs).toBeGreaterThan(3_590_000);
    if (version === undefined) return;
    const later = await client.set('cas', 3, { ifVersion: version, keepTtl: true });
    expect(later && later > version).toBe(true);
    expect(await client.set('cas', 4, { ifVersion: version })).toBeUndefined();
    expect(await client.delete('cas', { ifVersion: version })).toBe(false);
    expect(await client.ttl('cas')).toBeGreaterThan(3_590_000);
    expect(await client.touch('cas', 0)).toBe(true);
    expect(await client.ttl('cas')).toBe(Number.POSITIVE_INFINITY);
    await client.touch('cas', 20);
    await pause(60);
    expect(await client.get('cas')).toBeUndefined();
  });

  it('counters and appends are exact, however many callers there are', async () => {
    await Promise.all(Array.from({ length: 1_000 }, (_, i) => client.increment('counter', i)));
    expect(await client.get('counter')).toBe(499_500);
    expect(await client.increment('from', 5, { initial: 100 })).toBe(105);
    expect(await client.increment('big', 2n ** 62n)).toBe(2n ** 62n);
    expect(await codeOf(client.increment('big', 2n ** 62n))).toBe('OVERFLOW');
    expect(await client.increment('absent', 1, { create: false })).toBeUndefined();
    await client.set('text', 'Stone');
    expect(await codeOf(client.increment('text'))).toBe('NOT_A_NUMBER');
    expect(await client.append('text', 'henge')).toBe(10);
    expect(await client.get('text')).toBe('Stonehenge');
  });

  it('namespaces are walked and cleared on all nodes, and nothing else is', async () => {
    const space = client.namespace('space');
    await space.setMany(Array.from({ length: 5_000 }, (_, i) => [`k${i}`, i] as const));
    await client.set('spaceship', 1);
    const listed = new Set<string | Buffer>();
    for await (const key of space.scan()) listed.add(key);
    expect(listed.size).toBe(5_000);
    expect(await space.clear()).toBe(5_000);
    expect(await space.get('k1')).toBeUndefined();
    expect(await client.get('spaceship')).toBe(1);
  });

  it('getOrSet loads once, and gives stale values while it loads again', async () => {
    let loads = 0;
    const load = () => ++loads;
    const options = { ttl: 30, staleWhileRevalidate: '1m' } as const;
    const first = await Promise.all(Array.from({ length: 50 }, () => client.getOrSet('loaded', load, options)));
    expect(new Set(first)).toEqual(new Set([1]));
    await pause(60);
    expect(await client.get('loaded')).toBeUndefined();
    expect(await client.getOrSet('loaded', load, options)).toBe(1);
    await pause(20);
    expect(await client.getOrSet('loaded', load, options)).toBe(2);
  });

  it('the topology names all nodes, and each tells its statistics', async () => {
    const { members } = await client.topology();
    expect(members.map(({ address }) => address)).toEqual(cluster.nodes.map(({ address }) => address));
    for (const { name } of members) expect(await client.stats(name)).toMatchObject({ items: expect.any(Number) });
  });
});

it('workers killed ten times cost the calls in flight on them, and nothing that was acknowledged', async () => {
  using folder = scratch();
  await using daemon = await TestDaemon.start(folder.path, '--workers=2');
  await using client = await Henge.connect({ seeds: daemon.address, deadlineMs: 10_000 });
  const acknowledged = new Map<string, number>();
  const failures: unknown[] = [];
  let isOver = false;
  const write = async (lane: number): Promise<void> => {
    for (let i = 0; !isOver; i++) {
      const key = `${lane}:${i % 500}`;
      try {
        await client.set(key, i);
        acknowledged.set(key, i);
      } catch (error) {
        failures.push(error);
        // Whether it was done is unknown: the key says nothing any more.
        acknowledged.delete(key);
      }
    }
  };
  const reads: Promise<unknown>[] = [];
  const lanes = Array.from({ length: 32 }, (_, lane) => write(lane));
  for (let round = 0; round < 5; round++) {
    await pause(50);
    reads.push(...Array.from({ length: 10 }, (_, i) => client.get(`${i}:0`)));
    const isBack = new Promise((resolve) => client.on('up', resolve));
    const both = daemon.workerPids.slice(-2);
    const readyCount = daemon.workerPids.length + both.length;
    for (const pid of both) process.kill(pid, 'SIGKILL');
    await expect.poll(() => daemon.workerPids.length, { timeout: 10_000 }).toBe(readyCount);
    await isBack;
  }
  isOver = true;
  expect((await Promise.allSettled([...lanes, ...reads])).filter(({ status }) => status === 'rejected')).toEqual([]);
  for (const error of failures) expect(error).toMatchObject({ code: 'CONNECTION_LOST', maybeApplied: true });
  expect(failures.length).toBeLessThanOrEqual(5 * 32);
  const values = await client.getMany([...acknowledged.keys()]);
  expect(values).toEqual([...acknowledged.values()]);
});
