/**
 * The client against a replicated cluster in which a node dies, stalls, takes over or lies behind: ordinary reads do
 * not fail, writes wait, and nothing is older than it may be.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ConnectOptions, Henge, HengeError } from '../../../src/index.js';
import { Opcode, RequestFlag, type RequestFrame, Status } from '../../../src/protocol/index.js';
import { movedTo, ReferenceCluster } from '../../support/client-cluster.js';
import type { TopologyOverlay } from '../../support/client-server.js';

const PORT = 17_130;

let cluster: ReferenceCluster;
let client: Henge;

async function begin(count: number, overlay: TopologyOverlay, options: ConnectOptions = {}): Promise<void> {
  cluster = await ReferenceCluster.start(count, PORT, overlay);
  client = await Henge.connect({ seeds: cluster.seeds, ...options });
  // Every link stands: what is measured below is not the first connection.
  await client.getMany(Array.from({ length: 100 }, (_, i) => `warm:${i}`));
}

afterEach(async () => {
  await client.close();
  await cluster.stop();
});

const levelOf = ({ flags }: RequestFrame): number => flags & RequestFlag.LEVEL_MASK;
const isGet = ({ opcode }: RequestFrame): boolean => opcode === Opcode.GET;
const isOrdinary = (frame: RequestFrame): boolean => isGet(frame) && levelOf(frame) === 0;
const isWrite = ({ opcode }: RequestFrame): boolean => opcode > Opcode.GET && opcode <= Opcode.APPEND;
const notReady = { status: Status.NOT_READY };

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Tries, for some seconds at most, until there is something. */
async function eventually<T>(find: () => Promise<T | undefined>): Promise<T> {
  const endAt = performance.now() + 4_000;
  for (;;) {
    const found = await find();
    if (found !== undefined) return found;
    if (performance.now() > endAt) throw new Error('it never came to that');
    await sleep(5);
  }
}

async function errorOf(promise: Promise<unknown>): Promise<HengeError> {
  const outcome: unknown = await promise.catch((reason: unknown) => reason);
  if (outcome instanceof HengeError) return outcome;
  throw new Error(`expected a HengeError, not ${String(outcome)}`);
}

/** Gives a server items of its own, so that a test can make it differ. */
function separate(name: string): void {
  const server = cluster.server(name);
  server.items = new Map(server.items);
}

describe('with two copies of three nodes, a node that dies', () => {
  beforeEach(() => begin(3, { rf: 2 }));

  it('fails no read, before the epoch and after it', async () => {
    const keys = cluster.keysOf(['a'], 200);
    await client.setMany(keys.map((key) => [key, key] as const));
    let isOver = false;
    let reads = 0;
    const reader = async (lane: number): Promise<void> => {
      for (let i = lane; !isOver; i++) {
        const key = keys[i % keys.length] as string;
        expect(await client.get(key)).toBe(key);
        reads++;
      }
    };
    const lanes = Array.from({ length: 16 }, (_, lane) => reader(lane));
    await sleep(30);
    await cluster.server('a').stop();
    await sleep(100);
    const readsBefore = reads;
    await sleep(100);
    cluster.publish(['a']);
    await sleep(100);
    isOver = true;
    await Promise.all(lanes);
    expect(readsBefore).toBeGreaterThan(0);
    expect(reads).toBeGreaterThan(readsBefore);
  });

  it('leaves reads that say so, and are counted', async () => {
    const [key = ''] = cluster.keysOf(['a'], 1);
    await client.set(key, 'value');
    expect(await client.getEntry(key)).toMatchObject({ value: 'value', isDegraded: false });
    let count = 0;
    client.on('degraded', (more) => {
      count += more;
    });
    await cluster.server('a').stop();
    const entries = await Promise.all([1, 2, 3].map(() => client.getEntry(key)));
    for (const entry of entries) expect(entry).toMatchObject({ value: 'value', isDegraded: true });
    expect(await client.has(key)).toBe(true);
    expect(await client.ttl(key)).toBe(Number.POSITIVE_INFINITY);
    expect(await client.get(`absent:{${key}}`)).toBeUndefined();
    await sleep(5);
    expect(count).toBe(6);
    cluster.publish(['a']);
    await sleep(20);
    expect(await client.getEntry(key)).toMatchObject({ value: 'value', isDegraded: false });
  });

  it('has its reads in flight answered by others at once', async () => {
    const keys = cluster.keysOf(['a'], 50);
    await client.setMany(keys.map((key) => [key, key] as const));
    cluster.disturb('a', (frame) => (isGet(frame) ? 'ignore' : undefined));
    const reads = client.getMany(keys, { deadlineMs: 60_000 });
    await sleep(20);
    await cluster.server('a').stop();
    expect(await reads).toEqual(keys);
  });

  it('makes writes wait for the epoch in which another leads, however many', async () => {
    const keys = cluster.keysOf(['a'], 300);
    const isNoticed = new Promise((resolve) => client.on('down', resolve));
    await cluster.server('a').stop();
    await isNoticed;
    const writes = client.setMany(
      keys.map((key) => [key, key] as const),
      { deadlineMs: 5_000 },
    );
    await sleep(100);
    cluster.publish(['a']);
    await writes;
    expect(await client.getMany(keys)).toEqual(keys);
  });

  it('fails the writes that were on their way to it, which may have run', async () => {
    const [key = ''] = cluster.keysOf(['a'], 1);
    cluster.disturb('a', (frame) => (isWrite(frame) ? 'ignore' : undefined));
    const write = errorOf(client.set(key, 1, { deadlineMs: 5_000 }));
    await sleep(20);
    await cluster.server('a').stop();
    expect(await write).toMatchObject({ code: 'CONNECTION_LOST', maybeApplied: true });
  });

  it('is waited for by quorum reads, which others never answer', async () => {
    const [key = ''] = cluster.keysOf(['a'], 1);
    await client.set(key, 'value');
    await cluster.server('a').stop();
    const early = await errorOf(client.getEntry(key, { read: 'quorum', deadlineMs: 100 }));
    expect(early.code).toBe('UNREACHABLE');
    const late = client.getEntry(key, { read: 'quorum', deadlineMs: 5_000 });
    await sleep(20);
    cluster.publish(['a']);
    expect(await late).toMatchObject({ value: 'value', isDegraded: false });
  });

  it('together with the other copy costs reads no more than their deadline', async () => {
    const [key = ''] = cluster.keysOf(['a', 'b'], 1);
    await client.set(key, 'value');
    await Promise.all([cluster.server('a').stop(), cluster.server('b').stop()]);
    await sleep(20);
    const error = await errorOf(client.get(key, { deadlineMs: 150 }));
    expect(error).toMatchObject({ code: 'NOT_READY', retryable: true, maybeApplied: false });
    const patient = client.get(key, { deadlineMs: 5_000 });
    await sleep(20);
    cluster.publish(['a', 'b']);
    expect(await patient).toBe('value');
  });
});

describe('a node that stalls', () => {
  beforeEach(() => begin(3, { rf: 2 }));

  it('is suspect before its callers give up: reads go round it, writes not sent yet go to its successor', async () => {
    const keys = cluster.keysOf(['a'], 20);
    await client.setMany(keys.map((key) => [key, 1] as const));
    cluster.freeze('a');
    const entries = await Promise.all(keys.map((key) => client.getEntry(key)));
    for (const entry of entries) expect(entry).toMatchObject({ value: 1, isDegraded: true });
    const writesSeen = cluster.server('a').count(Opcode.SET);
    const writes = client.setMany(
      keys.map((key) => [key, 2] as const),
      { deadlineMs: 5_000 },
    );
    await sleep(50);
    cluster.publish(['a']);
    await writes;
    expect(cluster.server('a').count(Opcode.SET)).toBe(writesSeen);
  });

  it('is trusted again as soon as it says something', async () => {
    const [key = ''] = cluster.keysOf(['a'], 1);
    await client.set(key, 1);
    cluster.freeze('a');
    expect(await client.getEntry(key)).toMatchObject({ isDegraded: true });
    const write = client.set(key, 2, { deadlineMs: 5_000 });
    await sleep(20);
    cluster.calm('a');
    cluster.server('a').push(cluster.server('a').topology);
    await write;
    expect(await client.getEntry(key)).toMatchObject({ value: 2, isDegraded: false });
  });

  it('is waited for where no other copy can answer, and is not asked twice', async () => {
    const [key = ''] = cluster.keysOf(['a', 'b'], 1);
    await client.set(key, 1);
    cluster.publish(['b']);
    await eventually(async () => (await client.topology()).epoch === 2 || undefined);
    cluster.disturb('a', () => ({ delayMs: 600 }));
    expect(await client.get(key)).toBe(1);
    const asked = cluster.server('a').seen.filter((frame) => frame.key.toString() === key && isGet(frame));
    expect(asked).toHaveLength(1);
  });

  it('is not suspect while it has only slow work to do', async () => {
    const [slow = '', quick = ''] = cluster.keysOf(['a'], 2);
    cluster.disturb('a', (frame) => (frame.key.toString() === slow ? 'ignore' : undefined));
    const error = errorOf(client.get(slow, { deadlineMs: 600 }));
    await sleep(400);
    expect(await client.getEntry(quick)).toBeUndefined();
    const asked = cluster.server('a').seen.filter((frame) => frame.key.toString() === quick);
    expect(asked.map(levelOf)).toEqual([0]);
    expect((await error).code).toBe('DEADLINE');
  });
});

describe('a node that answers nobody in time', () => {
  it('is left alone until it does: reads go round it, writes fail at once', async () => {
    await begin(3, { rf: 2 }, { deadlineMs: 60 });
    const [key = ''] = cluster.keysOf(['a'], 1);
    await client.set(key, 1);
    cluster.disturb('a', () => ({ delayMs: 300 }));
    const barred = async (): Promise<HengeError | undefined> => {
      const outcome: unknown = await client.set(key, 1).catch((error: unknown) => error);
      return outcome instanceof HengeError && outcome.message.includes('answers nobody in time') ? outcome : undefined;
    };
    const callers = Array.from({ length: 8 }, () => eventually(barred));
    const [error] = await Promise.all(callers);
    expect(error).toMatchObject({ code: 'UNREACHABLE', retryable: true, maybeApplied: false });
    expect(await client.getEntry(key)).toMatchObject({ value: 1, isDegraded: true });
    cluster.calm('a');
    await eventually(async () => (await client.getEntry(key))?.isDegraded === false || undefined);
    await client.set(key, 2);
  });
});

describe('a leader that is not ready', () => {
  it('has its reads answered by others, and its writes held until it is', async () => {
    await begin(3, { rf: 2 });
    const [key = ''] = cluster.keysOf(['a'], 1);
    await client.set(key, 1);
    cluster.disturb('a', (frame) => (isOrdinary(frame) || isWrite(frame) ? notReady : undefined));
    const write = client.set(key, 2, { deadlineMs: 5_000 });
    await sleep(20);
    expect(await client.getEntry(key)).toMatchObject({ value: 1, isDegraded: true });
    await sleep(100);
    cluster.calm('a');
    await write;
    expect(await client.getEntry(key)).toMatchObject({ value: 2, isDegraded: false });
  });

  it('answers degraded reads itself where no other copy can', async () => {
    await begin(3, { rf: 2 });
    const [key = ''] = cluster.keysOf(['a', 'b'], 1);
    await client.set(key, 1);
    cluster.disturb('a', (frame) => (isOrdinary(frame) ? notReady : undefined));
    cluster.disturb('b', (frame) => (isGet(frame) ? { status: Status.NOT_IN_SYNC } : undefined));
    expect(await client.getEntry(key)).toMatchObject({ value: 1, isDegraded: true });
  });

  it('until the deadline is an error that says so, and nothing ran', async () => {
    await begin(3, { rf: 2 });
    const [key = ''] = cluster.keysOf(['a'], 1);
    for (const { name } of cluster.servers)
      cluster.disturb(name, (frame) => (isGet(frame) || isWrite(frame) ? notReady : undefined));
    /** On a busy machine the deadline may find a request on its way: then it is tried again. */
    const endsWith = (call: () => Promise<unknown>, wanted: Partial<HengeError>): Promise<boolean> =>
      eventually(async () => {
        const { code, retryable, maybeApplied } = await errorOf(call());
        if (code === 'DEADLINE') return undefined;
        expect({ code, retryable, maybeApplied }).toEqual(wanted);
        return true;
      });
    const one = { code: 'NOT_READY', retryable: true, maybeApplied: false } as const;
    const above = { code: 'NOT_ENOUGH_REPLICAS', retryable: true, maybeApplied: false } as const;
    const deadlineMs = 200;
    await endsWith(() => client.set(key, 2, { deadlineMs }), one);
    await endsWith(() => client.get(key, { deadlineMs }), one);
    await endsWith(() => client.set(key, 2, { ack: 'quorum', deadlineMs }), above);
    await endsWith(() => client.increment(key, 1, { ack: 'all', deadlineMs }), above);
    await endsWith(() => client.get(key, { read: 'quorum', deadlineMs }), above);
    expect(await client.topology()).toMatchObject({ epoch: 1 });
  });

  it('is asked for later writes only after those it refused', async () => {
    await begin(3, { rf: 2 });
    const keys = cluster.keysOf(['a'], 30);
    let isRefusing = true;
    let refusals = 0;
    cluster.disturb('a', (frame) => {
      if (!isRefusing || !isWrite(frame)) return undefined;
      refusals++;
      return notReady;
    });
    const writes = keys.map((key) => client.set(key, 0, { deadlineMs: 5_000 }));
    await eventually(async () => refusals >= keys.length || undefined);
    isRefusing = false;
    for (let i = 1; i < 20; i++) for (const key of keys) writes.push(client.set(key, i, { deadlineMs: 5_000 }));
    await Promise.all(writes);
    expect(await client.getMany(keys)).toEqual(keys.map(() => 19));
  });
});

describe('with three copies, a read round its leader', () => {
  let key: string;

  beforeEach(async () => {
    await begin(3, { rf: 3 });
    [key = ''] = cluster.keysOf(['a', 'b', 'c'], 1);
    await client.set(key, 'old');
  });

  it.each(['b', 'c'])('gives the newest of both others, also when it is on %s', async (name) => {
    separate(name);
    const item = cluster.server(name).items.get(key);
    if (item === undefined) throw new Error('the key was set');
    cluster.server(name).items.set(key, { ...item, value: Buffer.from('new'), time: item.time + 1n });
    await cluster.server('a').stop();
    expect(await client.getEntry(key)).toMatchObject({ value: 'new', isDegraded: true });
  });

  it('gives the value when one of them has none', async () => {
    separate('b');
    cluster.server('b').items.clear();
    await cluster.server('a').stop();
    expect(await client.get(key)).toBe('old');
  });

  it('needs both of them, and waits for the next epoch where one cannot', async () => {
    cluster.disturb('b', (frame) =>
      isGet(frame) && levelOf(frame) === 3 ? { status: Status.NOT_IN_SYNC } : undefined,
    );
    await cluster.server('a').stop();
    const read = client.getEntry(key, { deadlineMs: 5_000 });
    await sleep(100);
    cluster.publish(['a']);
    expect(await read).toMatchObject({ value: 'old', isDegraded: false });
  });
});

describe('levels', () => {
  it('stand in the requests: per call, and per client', async () => {
    await begin(3, { rf: 3 }, { ack: 'quorum', read: 'quorum' });
    const [key = ''] = cluster.keysOf(['a'], 1);
    await client.set(key, 1);
    await client.set(key, 1, { ack: 'all' });
    await client.set(key, 1, { ack: 'one' });
    await client.get(key);
    await client.get(key, { read: 'primary' });
    const frames = cluster.server('a').seen.filter((frame) => frame.key.toString() === key);
    expect(frames.map(levelOf)).toEqual([1, 2, 0, 1, 0]);
  });
});

describe('a nearest read', () => {
  const zones = { a: 'z1', b: 'z2', c: 'z3' };
  const gets = (name: string): RequestFrame[] =>
    cluster.server(name).seen.filter((frame) => isGet(frame) && !isWarm(frame));
  const isWarm = ({ key }: RequestFrame): boolean => key.toString().startsWith('warm');

  it('asks the copy in its own zone', async () => {
    await begin(3, { rf: 3, zones }, { zone: 'z2', read: 'nearest' });
    const keys = cluster.keysOf([], 100);
    await client.setMany(keys.map((key) => [key, key] as const));
    expect(await client.getMany(keys)).toEqual(keys);
    expect(gets('a').length + gets('c').length).toBe(0);
    expect(gets('b').map(levelOf)).toEqual(keys.map(() => 2));
  });

  it('spreads over all copies where no zone says otherwise', async () => {
    await begin(3, { rf: 3 }, { read: 'nearest' });
    await client.getMany(cluster.keysOf(['a'], 300));
    for (const { name } of cluster.servers) expect(gets(name).length).toBeGreaterThan(50);
  });

  it('goes to the leader when the copy lacks something, free of charge', async () => {
    await begin(3, { rf: 3, zones }, { zone: 'z2', read: 'nearest' });
    const keys = cluster.keysOf(['a'], 500);
    await client.setMany(keys.map((key) => [key, key] as const));
    cluster.disturb('b', (frame) => (isGet(frame) ? { status: Status.NOT_IN_SYNC } : undefined));
    expect(await client.getMany(keys)).toEqual(keys);
    expect(gets('a').map(levelOf)).toEqual(keys.map(() => 0));
  });

  it('goes to another copy when the connection breaks, and is not degraded', async () => {
    await begin(3, { rf: 3, zones }, { zone: 'z2', read: 'nearest' });
    const [key = ''] = cluster.keysOf(['a'], 1);
    await client.set(key, 1);
    cluster.disturb('b', (frame) => (isGet(frame) ? 'reset' : undefined));
    expect(await client.getEntry(key)).toMatchObject({ value: 1, isDegraded: false });
  });
});

describe('a redirect', () => {
  it('is followed by one fetch from the node that named the epoch', async () => {
    await begin(3, { rf: 2 });
    const fetches = (): number[] => cluster.servers.map((server) => server.count(Opcode.TOPOLOGY));
    const before = fetches();
    cluster.server('b').topology = { ...(cluster.server('b').topology as object), epoch: 2 };
    let isTold = false;
    cluster.disturb('b', (frame) => {
      isTold ||= frame.opcode === Opcode.TOPOLOGY;
      return isOrdinary(frame) && !isTold ? movedTo(2) : undefined;
    });
    await client.getMany([...cluster.keysOf(['a'], 100), ...cluster.keysOf(['b'], 100)]);
    expect(fetches().map((count, index) => count - (before[index] as number))).toEqual([0, 1, 0]);
  });
});

describe('many keys at once', () => {
  it('are read and written across the death of a node', async () => {
    await begin(3, { rf: 2 });
    const keys = Array.from({ length: 5_000 }, (_, i) => `many:${i}`);
    await client.setMany(keys.map((key) => [key, key] as const));
    const reads = client.getMany(keys);
    await sleep(1);
    await cluster.server('c').stop();
    expect(await reads).toEqual(keys);
    const writes = client.setMany(
      keys.map((key) => [key, `${key}!`] as const),
      { deadlineMs: 5_000 },
    );
    await sleep(50);
    cluster.publish(['c']);
    await writes;
    expect(await client.getMany(keys)).toEqual(keys.map((key) => `${key}!`));
  });
});
