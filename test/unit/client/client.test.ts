/** The client against the reference server: what every method promises. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Henge, HengeError, type Key } from '../../../src/index.js';
import { Opcode } from '../../../src/protocol/index.js';
import { ReferenceServer, topologyOf } from '../../support/client-server.js';

const PORT = 17_110;

let server: ReferenceServer;
let client: Henge;

beforeEach(async () => {
  server = await ReferenceServer.start('a', PORT);
  client = await Henge.connect({ seeds: server.address });
});

afterEach(async () => {
  await client.close();
  await server.stop();
});

const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof HengeError ? error.code : error),
  );

async function collect(keys: AsyncIterable<string | Buffer>): Promise<(string | Buffer)[]> {
  const collected: (string | Buffer)[] = [];
  for await (const key of keys) collected.push(key);
  return collected;
}

describe('keys', () => {
  const keys: [string, Key][] = [
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
    ['not UTF-8', Buffer.from([0xff, 0xfe, 0x00])],
    ['of one byte', new Uint8Array([0])],
    ['of 65,535 bytes', 'k'.repeat(65_535)],
    ['of 65,535 bytes in 21,845 characters', '世'.repeat(21_845)],
    ['with a hash tag', '{tag}:ключ'],
  ];

  it.each(keys)('%s: comes back as it went in', async (_, key) => {
    await client.set(key, { of: 'stone' });
    expect(await client.get(key)).toEqual({ of: 'stone' });
    const listed = await collect(client.scan());
    expect(listed.map((one) => Buffer.from(one as string).equals(Buffer.from(key as string)))).toEqual([true]);
    expect(await client.delete(key)).toBe(true);
    expect(await client.get(key)).toBeUndefined();
  });

  it.each([
    ['an empty one', ''],
    ['no bytes', new Uint8Array()],
    ['65,536 bytes', 'k'.repeat(65_536)],
    ['65,538 bytes in fewer characters', '世'.repeat(21_846)],
    ['a number', 5 as unknown as string],
    ['undefined', undefined as unknown as string],
  ])('%s: is refused with INVALID_KEY', async (_, key) => {
    const calls = [
      client.get(key),
      client.set(key, 1),
      client.delete(key),
      client.has(key),
      client.increment(key),
      client.append(key, 'x'),
      client.getOrSet(key, () => 1),
      client.getMany([key]),
    ];
    expect(new Set(await Promise.all(calls.map(codeOf)))).toEqual(new Set(['INVALID_KEY']));
    expect(await client.get('still works')).toBeUndefined();
  });
});

describe('get and set', () => {
  it('a missing key is undefined', async () => {
    expect(await client.get('k')).toBeUndefined();
    expect(await client.getEntry('k')).toBeUndefined();
    expect(await client.ttl('k')).toBeUndefined();
    expect(await client.has('k')).toBe(false);
    expect(await client.delete('k')).toBe(false);
    expect(await client.touch('k', '1m')).toBe(false);
  });

  it('undefined is refused as a value, and so is what the node could never hold', async () => {
    expect(await codeOf(client.set('k', undefined))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(client.set('k', () => 1))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(client.set('k', Buffer.alloc(1_048_577)))).toBe('VALUE_TOO_LARGE');
    expect(await codeOf(client.set('k', 'é'.repeat(524_289)))).toBe('VALUE_TOO_LARGE');
    await client.set('k', Buffer.alloc(1_048_576, 7));
    const largest = await client.get<Buffer>('k');
    expect(largest?.equals(Buffer.alloc(1_048_576, 7))).toBe(true);
  });

  it('a value is what it was when set was called', async () => {
    const value = Buffer.from('before');
    const stored = client.set('k', value);
    value.fill(0);
    await stored;
    expect(await client.get('k')).toEqual(Buffer.from('before'));
  });

  it('values stay what they are while later answers come', async () => {
    await client.set('a', Buffer.alloc(100, 'a'));
    await client.set('b', Buffer.alloc(100, 'b'));
    const first = await client.get<Buffer>('a');
    await Promise.all(Array.from({ length: 100 }, () => client.get('b')));
    expect(first).toEqual(Buffer.alloc(100, 'a'));
  });

  it('ttl is told in milliseconds, kept with keepTtl, and taken away by touch 0', async () => {
    await client.set('k', 1, { ttl: '1h' });
    expect(await client.ttl('k')).toBeGreaterThan(3_590_000);
    await client.set('k', 2, { keepTtl: true });
    expect((await client.getEntry('k'))?.ttlMs).toBeGreaterThan(3_590_000);
    expect(await client.touch('k', 0)).toBe(true);
    expect(await client.ttl('k')).toBe(Number.POSITIVE_INFINITY);
  });

  it('ifAbsent stores once, ifVersion only what was read', async () => {
    const version = await client.set('k', 'first', { ifAbsent: true });
    expect(version).toMatch(/^[0-9a-f]{28}$/);
    expect(await client.set('k', 'second', { ifAbsent: true })).toBeUndefined();
    const entry = await client.getEntry<string>('k');
    expect(entry).toEqual({ value: 'first', version, ttlMs: Number.POSITIVE_INFINITY, isDegraded: false });
    if (version === undefined) return;
    const later = await client.set('k', 'third', { ifVersion: version });
    expect(later && later > version).toBe(true);
    expect(await client.set('k', 'fourth', { ifVersion: version })).toBeUndefined();
    expect(await client.set('other', 1, { ifVersion: version })).toBeUndefined();
    expect(await client.delete('k', { ifVersion: version })).toBe(false);
    expect(await client.get('k')).toBe('third');
  });

  it('many keys at once come back in the order of the keys', async () => {
    const keys = Array.from({ length: 10_000 }, (_, i) => `k${i}`);
    await client.setMany(keys.map((key, i) => [key, i] as const));
    expect(await client.getMany([...keys, 'missing'])).toEqual([...keys.map((_, i) => i), undefined]);
    expect(await client.deleteMany([...keys.slice(0, 10), 'missing'])).toBe(10);
    await client.setMany({ x: 1, y: 'two' }, { ttl: '1m' });
    expect(await client.getMany(['x', 'y'])).toEqual([1, 'two']);
  });

  it('all requests of a tick travel together, and their answers find them in any order', async () => {
    await Promise.all(Array.from({ length: 2_000 }, (_, i) => client.set(`k${i}`, `value ${i}`)));
    const values = await Promise.all(Array.from({ length: 2_000 }, (_, i) => client.get(`k${1_999 - i}`)));
    expect(values).toEqual(Array.from({ length: 2_000 }, (_, i) => `value ${1_999 - i}`));
  });

  it('a toJSON that uses the client does no harm', async () => {
    const pending: Promise<unknown>[] = [];
    const value = new (class {
      toJSON(): string {
        pending.push(client.set('inner', 1));
        return 'outer value';
      }
    })();
    await client.set('outer', { value });
    await Promise.all(pending);
    expect(await client.get('outer')).toEqual({ value: 'outer value' });
    expect(await client.get('inner')).toBe(1);
  });

  it('compresses large values when asked to, and every client reads them', async () => {
    const compressing = await Henge.connect({ seeds: server.address, compression: 'brotli' });
    const text = 'stone '.repeat(10_000);
    await compressing.set('k', text);
    expect(server.items.get('k')?.value.length).toBeLessThan(1_000);
    expect(await client.get('k')).toBe(text);
    await compressing.close();
  });
});

describe('counters and appends', () => {
  it('increment creates, adds, and answers with what it was given: number or bigint', async () => {
    expect(await client.increment('n')).toBe(1);
    expect(await client.increment('n', 41)).toBe(42);
    expect(await client.decrement('n', 2)).toBe(40);
    expect(await client.increment('n', 2n)).toBe(42n);
    expect(await client.get('n')).toBe(42);
    expect(await client.increment('m', 5, { initial: 100, ttl: '1h' })).toBe(105);
    expect(await client.ttl('m')).toBeGreaterThan(3_590_000);
    expect(await client.increment('absent', 1, { create: false })).toBeUndefined();
    expect(await client.increment('big', 2n ** 62n)).toBe(2n ** 62n);
    expect(await client.get('big')).toBe(2n ** 62n);
  });

  it('its errors have codes, and say whether the counter has changed', async () => {
    await client.set('text', 'stone');
    expect(await codeOf(client.increment('text'))).toBe('NOT_A_NUMBER');
    await client.set('n', Number.MAX_SAFE_INTEGER);
    await expect(client.increment('n')).rejects.toMatchObject({ code: 'UNSAFE_INTEGER', maybeApplied: true });
    expect(await client.get('n')).toBe(2n ** 53n);
    await client.set('max', 2n ** 63n - 1n);
    expect(await codeOf(client.increment('max', 1n))).toBe('OVERFLOW');
    expect(await codeOf(client.increment('n', 0.5))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(client.increment('n', 2n ** 63n))).toBe('INVALID_ARGUMENT');
  });

  it('append adds to text and bytes, and gives the length in bytes', async () => {
    expect(await client.append('k', 'Stone')).toBe(5);
    expect(await client.append('k', 'hengé')).toBe(11);
    expect(await client.get('k')).toBe('Stonehengé');
    expect(await client.append('b', new Uint8Array([1, 2]))).toBe(2);
    expect(await client.get('b')).toEqual(Buffer.from([1, 2]));
    expect(await client.append('absent', 'x', { create: false })).toBeUndefined();
  });
});

describe('namespaces, scan and clear', () => {
  it('a namespace sees and clears its own keys only', async () => {
    const users = client.namespace('users');
    const admins = users.namespace('admins');
    await client.set('x', 0);
    await users.set('x', 1);
    await admins.set('x', 2);
    await users.set(Buffer.from([0xff]), 3);
    expect(await client.getMany(['x', 'users:x', 'users:admins:x'])).toEqual([0, 1, 2]);
    expect(await collect(admins.scan())).toEqual(['x']);
    expect(await users.clear()).toBe(3);
    expect(await collect(client.scan())).toEqual(['x']);
  });

  it('scan goes on over many steps, and filters by prefix', async () => {
    await client.setMany(Array.from({ length: 1_700 }, (_, i) => [`k${i}`, i] as const));
    expect(new Set(await collect(client.scan())).size).toBe(1_700);
    expect((await collect(client.scan({ prefix: 'k16' }))).length).toBe(111);
    expect(server.count(Opcode.SCAN)).toBeGreaterThan(3);
  });

  it('clear empties every node', async () => {
    await client.setMany({ a: 1, b: 2 });
    expect(await client.clear()).toBe(2);
    expect(await collect(client.scan())).toEqual([]);
  });
});

describe('the client', () => {
  it('tells the topology and what a node says about itself', async () => {
    expect(await client.topology()).toEqual(topologyOf([server]));
    await client.set('k', 1);
    expect(await client.stats('a')).toEqual({ items: 1 });
    expect(await codeOf(client.stats('nobody'))).toBe('UNREACHABLE');
  });

  it('spreads keys over all nodes, and walks over all of them', async () => {
    const servers = [server, await ReferenceServer.start('b', PORT + 1), await ReferenceServer.start('c', PORT + 2)];
    for (const one of servers) one.topology = topologyOf(servers);
    const wide = await Henge.connect({ seeds: [server.address, '127.0.0.1:1'] });
    await wide.setMany(Array.from({ length: 3_000 }, (_, i) => [`k${i}`, i] as const));
    for (const one of servers) expect(one.items.size).toBeGreaterThan(700);
    expect((await collect(wide.scan())).length).toBe(3_000);
    expect(await wide.clear()).toBe(3_000);
    for (const one of servers) expect(one.connections).toBeLessThanOrEqual(2);
    await wide.close();
    await servers[1]?.stop();
    await servers[2]?.stop();
  });

  it('is refused nothing after close but calls', async () => {
    const inFlight = client.set('k', 1);
    const closed = client.close();
    expect(await codeOf(client.get('k'))).toBe('CLOSED');
    await Promise.all([inFlight, closed, client.close()]);
    expect(server.items.has('k')).toBe(true);
    expect(await codeOf(client.get('k'))).toBe('CLOSED');
    expect(await codeOf(client.topology())).toBe('CLOSED');
  });

  it('closes at the end of its block', async () => {
    {
      await using scoped = await Henge.connect({ seeds: server.address });
      await scoped.set('k', 1);
    }
    expect(await client.get('k')).toBe(1);
    expect(server.connections).toBe(1);
  });

  it('says UNREACHABLE when no seed answers, and INVALID_ARGUMENT for what is no address', async () => {
    expect(await codeOf(Henge.connect({ seeds: 'nonsense' }))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(Henge.connect({ seeds: '127.0.0.1:1', connectDeadlineMs: 100 }))).toBe('UNREACHABLE');
  });
});
