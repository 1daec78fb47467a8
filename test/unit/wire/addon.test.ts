/**
 * The addon's door: arguments are checked, errors carry codes, and nothing behind it can be used after it was closed.
 */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { helloExtras, Opcode, Role, readResponse, requestFrame, SLOTS, Status } from '../../../src/protocol/index.js';
import {
  type ArenaOptions,
  type Installation,
  loadAddon,
  type NativeArena,
  type NativeWorker,
  OutputFlag,
  ROW_MAX,
} from '../../../src/store/index.js';

const addon = loadAddon();
const OPTIONS: ArenaOptions = {
  bytes: 16 * 1024 * 1024,
  valueBytesMax: 64 * 1024,
  nodeName: 'a',
  nodeNumber: 1,
  replicated: false,
};

/** A worker with its buffers and a greeted connection. */
class Desk {
  readonly input = Buffer.alloc(64 * 1024);
  readonly output: Buffer;
  readonly connection: number;

  constructor(readonly worker: NativeWorker) {
    this.output = Buffer.alloc(worker.outputBytesMin);
    worker.useInput(this.input);
    worker.useOutput(this.output);
    this.connection = worker.connect();
    this.execute(requestFrame({ opcode: Opcode.HELLO, id: 1, extras: helloExtras(Role.CLIENT, 0) }));
    worker.takeControl();
    worker.greet(this.connection, Role.CLIENT);
  }

  execute(frame: Buffer): Buffer {
    frame.copy(this.input);
    return Buffer.from(this.output.subarray(0, this.worker.execute(this.connection, frame.length)));
  }
}

const opened: (NativeArena | NativeWorker)[] = [];

/** An epoch in which node 1 alone holds everything. */
function leading(epoch: number): Installation {
  const rows = new Uint16Array(SLOTS * ROW_MAX);
  for (let slot = 0; slot < SLOTS; slot++) rows[slot * ROW_MAX] = OPTIONS.nodeNumber;
  return { epoch, rf: 1, rows, roles: new Uint8Array(SLOTS * ROW_MAX), isFounding: true };
}

function openArena(options: ArenaOptions = OPTIONS): NativeArena {
  const arena = addon.create(options);
  arena.install(leading(1));
  opened.push(arena);
  return arena;
}

function openWorker(arena: NativeArena): NativeWorker {
  const worker = arena.worker();
  opened.push(worker);
  return worker;
}

afterEach(() => {
  for (const thing of opened.splice(0).reverse()) {
    if ('execute' in thing) thing.close();
    else thing.close(false);
  }
});

const set = (key: string, value: string) =>
  requestFrame({
    opcode: Opcode.SET,
    id: 2,
    extras: Buffer.alloc(8),
    key: Buffer.from(key),
    value: Buffer.from(value),
  });
const get = (key: string) => requestFrame({ opcode: Opcode.GET, id: 3, key: Buffer.from(key) });

describe('the addon', () => {
  it.each<[string, unknown, RegExp]>([
    ['no options', undefined, /options must be an object/],
    ['a size that is no number', { ...OPTIONS, bytes: '1' }, /bytes must be a number/],
    ['half a byte', { ...OPTIONS, bytes: 8_388_608.5 }, /bytes must be a whole number .* not 8388608.5/],
    ['a node number beyond 16 bits', { ...OPTIONS, nodeNumber: 65_536 }, /nodeNumber .* 0 to 65535/],
    ['an unknown clock', { ...OPTIONS, clock: 'sundial' }, /clock must be 'system' or 'manual', not 'sundial'/],
    ['a seed that is no bigint', { ...OPTIONS, seed: 1 }, /seed must be a bigint/],
  ])('refuses %s by name', (_, options, message) => {
    expect(() => addon.create(options as ArenaOptions)).toThrow(message);
  });

  it('gives operating errors a code', () => {
    const tooLarge = { ...OPTIONS, valueBytesMax: OPTIONS.bytes };
    expect(() => addon.create(tooLarge)).toThrow(expect.objectContaining({ code: 'VALUE_TOO_LARGE' }));
    expect(() => addon.attach('package.json')).toThrow(expect.objectContaining({ code: 'NOT_AN_ARENA' }));
  });

  it('reads from the input buffer and writes to the output buffer', () => {
    const desk = new Desk(openWorker(openArena()));
    expect(readResponse(desk.execute(set('city:3', 'Lagos')), 0).status).toBe(Status.OK);
    expect(readResponse(desk.execute(get('city:3')), 0).value.toString()).toBe('Lagos');
    expect(desk.worker.flags[0]).toBe(0);
  });

  it('shows one memory to all who attached to it', () => {
    const arena = openArena();
    new Desk(openWorker(arena)).execute(set('city:3', 'Lagos'));
    const attached = addon.attach(arena.path);
    opened.push(attached);
    const answer = new Desk(openWorker(attached)).execute(get('city:3'));
    expect(readResponse(answer, 0).value.toString()).toBe('Lagos');
    expect(attached.incarnation).toBe(arena.incarnation);
    expect(attached.stats().items).toBe(1);
  });

  it('says when bytes, buffer or connection cannot be', () => {
    const worker = openWorker(openArena());
    expect(() => worker.execute(0, 0)).toThrow(/no connection 0/);
    const connection = worker.connect();
    expect(() => worker.execute(connection, 0)).toThrow(RangeError);
    expect(() => worker.useOutput(Buffer.alloc(10))).toThrow(/at least/);
    expect(() => worker.useInput([] as unknown as Buffer)).toThrow(TypeError);
    const desk = new Desk(worker);
    expect(() => worker.execute(desk.connection, desk.input.length + 1)).toThrow(RangeError);
    worker.disconnect(connection);
    expect(() => worker.execute(connection, 0)).toThrow(RangeError);
  });

  it('tells by flags of control frames and of the end of a connection', () => {
    const desk = new Desk(openWorker(openArena()));
    desk.execute(requestFrame({ opcode: Opcode.STATS, id: 9 }));
    expect(desk.worker.flags[0]).toBe(OutputFlag.CONTROL);
    expect(desk.worker.takeControl()).toMatchObject([
      { connection: desk.connection, requestId: 9, opcode: Opcode.STATS },
    ]);
    desk.execute(Buffer.from('GET / HTTP/1.1\r\n'));
    expect(desk.worker.flags[0]).toBe(OutputFlag.CLOSE);
  });

  it('refuses rows that are not one per slot, or of unknown roles', () => {
    const arena = openArena();
    expect(() => arena.install({ ...leading(2), rows: new Uint16Array(3) })).toThrow(/16384 slots/);
    expect(() => arena.install({ ...leading(2), roles: new Uint8Array(SLOTS * ROW_MAX).fill(9) })).toThrow(
      /9 is not a role/,
    );
    expect(arena.epoch()).toBe(1);
  });

  it('cannot be used after close, and closes workers before their arena', () => {
    const arena = addon.create(OPTIONS);
    const worker = arena.worker();
    expect(() => arena.close(false)).toThrow(/workers before the arena/);
    worker.close();
    expect(() => worker.connect()).toThrow('The worker is closed');
    arena.close(false);
    expect(() => arena.stats()).toThrow('The arena is closed');
  });
});

describe('listenTcp', () => {
  async function serve(fd: number) {
    const server = createServer((socket) => socket.end('hello')).listen({ fd });
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('a TCP socket has a port');
    return { server, port: address.port };
  }

  it.each(['127.0.0.1', '::1'])('lets several listen on one port of %s', async (host) => {
    const first = await serve(addon.listenTcp(host, 0, 16));
    const second = await serve(addon.listenTcp(host, first.port, 16));
    expect(second.port).toBe(first.port);
    const client = connect(first.port, host);
    const [bytes] = await once(client, 'data');
    expect(String(bytes)).toBe('hello');
    client.destroy();
    first.server.close();
    second.server.close();
  });

  it('says why it cannot, with a code', () => {
    expect(() => addon.listenTcp('192.0.2.1', 0, 16)).toThrow(expect.objectContaining({ code: 'EADDRNOTAVAIL' }));
    expect(() => addon.listenTcp('127.0.0.1', 65_536, 16)).toThrow(/port must be a whole number from 0 to 65535/);
  });
});
