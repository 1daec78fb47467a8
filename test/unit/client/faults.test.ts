/**
 * The client against a server that misbehaves: nothing hangs, nothing runs twice, and every error says what is known.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseTopology, Routes } from '../../../src/client/router.js';
import { type ConnectOptions, Henge, HengeError } from '../../../src/index.js';
import { Opcode, responseFrame, Status } from '../../../src/protocol/index.js';
import { slotOf } from '../../../src/ring/index.js';
import { ReferenceServer, topologyOf } from '../../support/client-server.js';

const PORT = 17_120;

let server: ReferenceServer;
let client: Henge;

const connect = (options: ConnectOptions = {}): Promise<Henge> => Henge.connect({ seeds: server.address, ...options });

beforeEach(async () => {
  server = await ReferenceServer.start('a', PORT);
  client = await connect();
});

afterEach(async () => {
  await client.close();
  await server.stop();
});

/** Without a node, and with a client that knows it. */
async function stopAndNotice(): Promise<void> {
  const isNoticed = new Promise((resolve) => client.on('down', resolve));
  await server.stop();
  await isNoticed;
}

async function errorOf(promise: Promise<unknown>): Promise<HengeError> {
  const outcome: unknown = await promise.catch((reason: unknown) => reason);
  if (outcome instanceof HengeError) return outcome;
  throw new Error(`expected a HengeError, not ${String(outcome)}`);
}

/** Lets the server do something to the first requests of an opcode, and serve the others. */
function first(opcode: number, count: number, then: ReferenceServer['intercept']): void {
  let left = count;
  server.intercept = (frame) => (frame.opcode === opcode && left-- > 0 ? then(frame) : 'serve');
}

const moved = (epoch: number) => {
  const extras = Buffer.alloc(4);
  extras.writeUInt32LE(epoch);
  return { status: Status.MOVED, extras };
};

describe('a node that does not answer', () => {
  it('costs a call its deadline and no more; a write may have run', async () => {
    server.intercept = ({ opcode }) => (opcode <= Opcode.APPEND ? 'ignore' : 'serve');
    const read = await errorOf(client.get('k', { deadlineMs: 50 }));
    expect(read).toMatchObject({ code: 'DEADLINE', retryable: true, maybeApplied: false });
    const write = await errorOf(client.set('k', 1, { deadlineMs: 50 }));
    expect(write).toMatchObject({ code: 'DEADLINE', retryable: true, maybeApplied: true });
  });

  it('is told how long its callers wait', async () => {
    await client.get('k', { deadlineMs: 250 });
    await client.get('k', { deadlineMs: 100_000 });
    const deadlines = server.seen.filter(({ opcode }) => opcode === Opcode.GET).map(({ deadlineMs }) => deadlineMs);
    expect(deadlines).toEqual([250, 65_535]);
  });

  it('does not confuse later calls when its answer comes after all', async () => {
    const late: Buffer[] = [];
    first(Opcode.GET, 1, (frame) => {
      late.push(responseFrame({ status: Status.OK, id: frame.id, encoding: 1, value: Buffer.from('late') }));
      return 'ignore';
    });
    expect((await errorOf(client.get('slow', { deadlineMs: 30 }))).code).toBe('DEADLINE');
    await client.set('k', 'right');
    // The late answer travels in front of the one to the next request.
    first(Opcode.GET, 1, (frame) =>
      Buffer.concat([
        ...late,
        responseFrame({ status: Status.OK, id: frame.id, encoding: 1, value: Buffer.from('right') }),
      ]),
    );
    expect(await client.get('k')).toBe('right');
    expect(server.count(Opcode.HELLO)).toBe(1);
  });

  it('is left after a while, and found again', async () => {
    server.intercept = ({ opcode }) => (opcode === Opcode.HELLO ? 'serve' : 'ignore');
    expect((await errorOf(client.get('k', { deadlineMs: 30 }))).code).toBe('DEADLINE');
    const down = new Promise<HengeError>((resolve) => client.on('down', (_, error) => resolve(error)));
    expect((await down).message).toContain('silent');
    server.intercept = () => 'serve';
    expect(await client.get('k')).toBeUndefined();
  }, 10_000);
});

describe('a connection that breaks', () => {
  it('fails a write at once, which may have run, and never sends it twice', async () => {
    first(Opcode.INCREMENT, 1, () => 'reset');
    const error = await errorOf(client.increment('n', 1, { deadlineMs: 20_000 }));
    expect(error).toMatchObject({ code: 'CONNECTION_LOST', retryable: true, maybeApplied: true });
    expect(server.count(Opcode.INCREMENT)).toBe(1);
    expect(await client.increment('n')).toBe(1);
  });

  it('is no failure for reads', async () => {
    await client.set('k', 'value');
    first(Opcode.GET, 3, () => 'reset');
    expect(await client.get('k')).toBe('value');
  });

  it('loses no write that was acknowledged, and lets no call hang, however often it breaks', async () => {
    const acknowledged = new Map<string, number>();
    let isOver = false;
    const failures: HengeError[] = [];
    const lane = async (lane: number): Promise<void> => {
      for (let i = 0; !isOver; i++) {
        const key = `${lane}:${i}`;
        await client.set(key, i).then(
          () => acknowledged.set(key, i),
          (error: HengeError) => failures.push(error),
        );
      }
    };
    const lanes = Array.from({ length: 32 }, (_, index) => lane(index));
    for (let round = 0; round < 10; round++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      server.reset();
    }
    isOver = true;
    await Promise.all(lanes);
    expect(acknowledged.size).toBeGreaterThan(0);
    for (const error of failures) expect(error.code).toBe('CONNECTION_LOST');
    expect(failures.length).toBeLessThanOrEqual(10 * 32);
    const values = await client.getMany([...acknowledged.keys()]);
    expect(values).toEqual([...acknowledged.values()]);
  });

  it('keeps what was not sent for the next connection', async () => {
    await stopAndNotice();
    const waiting = [client.set('k', 'value', { deadlineMs: 5_000 }), client.increment('n', 1, { deadlineMs: 5_000 })];
    server = await ReferenceServer.start('a', PORT);
    expect(await Promise.all(waiting)).toEqual([undefined, 1]);
    expect(await client.get('k')).toBe('value');
  });

  it('tells when it is gone and when it is back', async () => {
    const told: string[] = [];
    client.on('down', (address) => told.push(`down ${address}`)).on('up', (address) => told.push(`up ${address}`));
    server.reset();
    await new Promise((resolve) => client.on('up', resolve));
    expect(told).toEqual([`down ${server.address}`, `up ${server.address}`]);
  });
});

describe('a node that is gone', () => {
  it('fails calls with UNREACHABLE, of which none has run', async () => {
    await stopAndNotice();
    const error = await errorOf(client.set('k', 1, { deadlineMs: 50 }));
    expect(error).toMatchObject({ code: 'UNREACHABLE', retryable: true, maybeApplied: false });
    server = await ReferenceServer.start('a', PORT);
    await client.set('k', 2);
  });

  it('is not waited for by those who would wait no longer than it has been away', async () => {
    await stopAndNotice();
    await new Promise((resolve) => setTimeout(resolve, 120));
    const patient = client.get('k', { deadlineMs: 10_000 });
    let turns = 0;
    for (; turns < 1_000; turns++)
      expect((await errorOf(client.get('k', { deadlineMs: 100 }))).code).toBe('UNREACHABLE');
    server = await ReferenceServer.start('a', PORT);
    expect(await patient).toBeUndefined();
  });

  it('is found again by a client whose caller tries in a loop', async () => {
    await stopAndNotice();
    setTimeout(async () => {
      server = await ReferenceServer.start('a', PORT);
    }, 100);
    let isFound = false;
    while (!isFound) {
      isFound = await client.set('k', 1, { deadlineMs: 20 }).then(
        () => true,
        () => false,
      );
    }
    expect(server.items.has('k')).toBe(true);
  });
});

describe('a peer that breaks the protocol', () => {
  it.each([
    ['an answer nobody asked for', responseFrame({ status: Status.OK, id: 0x7fff0000 })],
    ['a frame of 4 GiB', Buffer.from('ffffffff00000000', 'hex')],
    ['a frame of no length', Buffer.alloc(12)],
  ])('by %s loses its connection, and the client goes on', async (_, bytes) => {
    await client.set('k', 'value');
    first(Opcode.INCREMENT, 1, () => bytes);
    expect(await errorOf(client.increment('n'))).toMatchObject({ code: 'CONNECTION_LOST', maybeApplied: true });
    expect(await client.get('k')).toBe('value');
    expect(server.count(Opcode.HELLO)).toBe(2);
  });

  it('by extras longer than the frame is an error of that call', async () => {
    first(Opcode.GET, 1, (frame) => {
      const bytes = responseFrame({ status: Status.OK, id: frame.id });
      bytes[7] = 200;
      return bytes;
    });
    expect((await errorOf(client.get('k'))).code).toBe('PROTOCOL');
  });

  it('and is no Henge node at all is told so at connect', async () => {
    server.intercept = ({ opcode }) =>
      opcode === Opcode.HELLO ? Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'.padEnd(64)) : 'serve';
    expect((await errorOf(connect({ connectDeadlineMs: 200 }))).code).toBe('PROTOCOL');
  }, 10_000);
});

describe('an overloaded node', () => {
  it('is asked again, a little later, until it can', async () => {
    first(Opcode.SET, 3, () => ({ status: Status.BUSY }));
    await client.set('k', 'value');
    expect(server.count(Opcode.SET)).toBe(4);
    expect(await client.get('k')).toBe('value');
  });

  it('is not asked for ever', async () => {
    server.intercept = ({ opcode }) => (opcode === Opcode.SET ? { status: Status.BUSY } : 'serve');
    const error = await errorOf(client.set('k', 1, { deadlineMs: 300 }));
    expect(error).toMatchObject({ code: 'BUSY', retryable: true, maybeApplied: false });
    expect(server.count(Opcode.SET)).toBeLessThan(110);
  });
});

describe('a slot that moved', () => {
  let other: ReferenceServer;
  let routes: Routes;
  const keys = Array.from({ length: 500 }, (_, i) => `k${i}`);

  beforeEach(async () => {
    other = await ReferenceServer.start('b', PORT + 1);
    other.topology = topologyOf([server, other], 2);
    other.epoch = 2;
    routes = Routes.of(parseTopology(JSON.stringify(other.topology)));
  });

  afterEach(() => other.stop());

  /** The cluster becomes two nodes; the first refuses what the second now leads. */
  function split(): void {
    server.topology = topologyOf([server, other], 2);
    server.intercept = ({ opcode, key }) => (opcode <= Opcode.APPEND && ledByOther(key) ? moved(2) : 'serve');
  }

  function ledByOther(key: Buffer): boolean {
    return routes.leaderOf(slotOf(key)) === 1;
  }

  it('is found by fetching the topology once, however many requests were refused', async () => {
    split();
    await Promise.all(keys.map((key, i) => client.set(key, i)));
    expect(server.count(Opcode.TOPOLOGY)).toBe(2);
    expect(await client.getMany(keys)).toEqual(keys.map((_, i) => i));
    expect(other.items.size).toBeGreaterThan(100);
    expect(other.items.size + server.items.size).toBe(500);
  });

  it('never turns round two writes of one caller', async () => {
    split();
    const writes: Promise<void>[] = [];
    for (let i = 0; i < 20; i++) {
      for (const key of keys) writes.push(client.set(key, i));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(writes);
    expect(await client.getMany(keys)).toEqual(keys.map(() => 19));
  });

  it('is known beforehand when the node pushes the topology', async () => {
    const adopted = new Promise((resolve) => client.on('topology', resolve));
    split();
    server.push(topologyOf([server, other], 2));
    await adopted;
    await client.setMany(keys.map((key) => [key, 1] as const));
    const refused = server.seen.filter(({ opcode, key }) => opcode === Opcode.SET && ledByOther(key));
    expect(refused).toEqual([]);
  });

  it('and cannot be found is an error at the deadline', async () => {
    server.intercept = ({ opcode }) => (opcode === Opcode.GET ? moved(1) : 'serve');
    const error = await errorOf(client.get('k', { deadlineMs: 200 }));
    expect(error).toMatchObject({ code: 'MOVED', retryable: true, maybeApplied: false });
  });
});

describe('bounds', () => {
  it('too many requests in flight fail with QUEUE_FULL, and the others are answered', async () => {
    const narrow = await connect({ inFlightMax: 10 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    const outcomes = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => narrow.set(`k${i}`, i)));
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBe(20);
    expect(await errorOf(Promise.reject((refused[0] as PromiseRejectedResult).reason))).toMatchObject({
      code: 'QUEUE_FULL',
      retryable: true,
      maybeApplied: false,
    });
    expect(await narrow.get('k5')).toBe(5);
    await narrow.close();
  });

  it('too many bytes unsent fail with QUEUE_FULL', async () => {
    const narrow = await connect({ unsentBytesMax: 100_000 });
    const value = Buffer.alloc(30_000);
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => narrow.set(`k${i}`, value)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(4);
    await narrow.close();
  });
});

describe('a signal', () => {
  it('gives up one call, with its reason, and not the others', async () => {
    server.intercept = ({ opcode, key }) => (opcode === Opcode.GET && key.toString() === 'slow' ? 'ignore' : 'serve');
    const controller = new AbortController();
    const slow = errorOf(client.get('slow', { signal: controller.signal }));
    const quick = client.get('quick', { signal: controller.signal });
    expect(await quick).toBeUndefined();
    controller.abort(new Error('enough'));
    expect(await slow).toMatchObject({ code: 'ABORTED', retryable: false, cause: new Error('enough') });
  });

  it('that has fired already keeps the call from being sent', async () => {
    const error = await errorOf(client.set('k', 1, { signal: AbortSignal.abort() }));
    expect(error).toMatchObject({ code: 'ABORTED', maybeApplied: false });
    expect(await client.get('k')).toBeUndefined();
  });
});

describe('refusals', () => {
  it.each([
    [Status.OUT_OF_MEMORY, 'OUT_OF_MEMORY', false],
    [Status.NOT_ENOUGH_REPLICAS, 'NOT_ENOUGH_REPLICAS', true],
    [Status.TOO_LARGE, 'VALUE_TOO_LARGE', false],
    [Status.EXPIRED, 'DEADLINE', false],
    [0x7e, 'PROTOCOL', false],
  ])('status %i is %s', async (status, code, maybeApplied) => {
    first(Opcode.SET, 1, () => ({ status }));
    expect(await errorOf(client.set('k', 1))).toMatchObject({ code, maybeApplied });
  });

  it('a sentence of the node is the message', async () => {
    first(Opcode.GET, 1, () => ({ status: Status.REFUSED, value: Buffer.from('not on Sundays') }));
    expect((await errorOf(client.get('k'))).message).toBe('not on Sundays');
  });
});
