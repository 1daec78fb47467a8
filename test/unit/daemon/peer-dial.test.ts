/** Nodes prove to each other who they are before anything else is said. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TopologyView } from '../../../src/cluster/index.js';
import { Control, type Greetable } from '../../../src/daemon/control.js';
import type { WorkerBoot } from '../../../src/daemon/messages.js';
import { dialPeer } from '../../../src/daemon/peer-dial.js';
import {
  frameBytes,
  helloExtras,
  NONCE_BYTES,
  Opcode,
  peerHello,
  Role,
  readPeerChallenge,
  readRequest,
  readResponse,
  requestFrame,
  Status,
} from '../../../src/protocol/index.js';
import { loadAddon, type NativeArena, type NativeWorker } from '../../../src/store/index.js';

const SECRET = 'a secret that is long enough';
const TOPOLOGY: TopologyView = {
  epoch: 3,
  rf: 2,
  members: ['a', 'b'].map((name, index) => ({
    name,
    number: index + 1,
    address: '',
    zone: '',
    weight: 1,
    state: 'in',
  })),
};

/** The listening side of a node: its answers, over a socket. */
class Listener {
  readonly greeted: number[] = [];
  readonly #server: Server;
  readonly #control: Control;
  readonly #native: NativeWorker;

  constructor(arena: NativeArena, secret: string) {
    this.#native = arena.worker();
    const boot: WorkerBoot = {
      nodeName: 'b',
      nodeNumber: 2,
      arenaPath: arena.path,
      listen: { host: '127.0.0.1', port: 0 },
      valueBytesMax: 1024,
      connectionsMax: 10,
      idleTimeoutMs: 0,
      workers: 1,
      startedAtMs: 0,
      logLevel: 'silent',
      topology: TOPOLOGY,
      onPartition: 'serve',
      rebalanceBytesPerSecond: 0,
      secret,
    };
    this.#control = new Control(boot, arena, this.#native);
    this.#server = createServer((socket) => this.#serve(socket));
  }

  async address(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  close(): void {
    this.#server.close();
    this.#native.close();
  }

  #serve(socket: Socket): void {
    const connection: Greetable = { isGreeted: false, isSubscribed: false, challenge: undefined };
    socket.on('data', (bytes) => {
      for (let at = 0; at < bytes.length; at += frameBytes(bytes, at) as number) {
        const { id, ...parts } = readRequest(bytes, at);
        const frame = { connection: 0, nodeNumber: 0, requestId: id, ...parts };
        const answer = this.#control.answer(frame, connection);
        if (answer.greet !== undefined) this.greeted.push(answer.greet.nodeNumber);
        socket.write(answer.frame);
        if (answer.isLast) socket.end();
      }
    });
    socket.on('error', () => {});
  }
}

describe('a connection between nodes', () => {
  let arena: NativeArena;
  const opened: { close(): void }[] = [];

  beforeEach(() => {
    arena = loadAddon().create({
      bytes: 16 * 1024 * 1024,
      valueBytesMax: 1024,
      nodeName: 'b',
      nodeNumber: 2,
      replicated: false,
    });
  });
  afterEach(() => {
    for (const thing of opened.splice(0)) thing.close();
    arena.close(false);
  });

  async function listen(secret: string): Promise<{ listener: Listener; address: string }> {
    const listener = new Listener(arena, secret);
    opened.push(listener);
    return { listener, address: await listener.address() };
  }

  const dial = (address: string, changes: object = {}) =>
    dialPeer({
      address,
      number: 2,
      self: { name: 'a', number: 1 },
      secret: SECRET,
      onChunk: () => true,
      ...changes,
    });

  it('is opened when both know the secret, and each knows who the other is', async () => {
    const { listener, address } = await listen(SECRET);
    const socket = await dial(address);
    expect(listener.greeted).toEqual([1]);
    socket.destroy();
  });

  it('is not opened by a node that meets another secret', async () => {
    const { listener, address } = await listen('another secret, just as long');
    await expect(dial(address)).rejects.toThrow('it does not know the secret');
    expect(listener.greeted).toEqual([]);
  });

  it('is refused to a stranger, and to a member under another number', async () => {
    const { listener, address } = await listen(SECRET);
    await expect(dial(address, { self: { name: 'x', number: 9 } })).rejects.toThrow('is no member');
    await expect(dial(address, { self: { name: 'a', number: 2 } })).rejects.toThrow('is no member');
    expect(listener.greeted).toEqual([]);
  });

  it('is not opened when another node is there than was expected', async () => {
    const { address } = await listen(SECRET);
    await expect(dial(address, { number: 7 })).rejects.toThrow('node 2 is there');
  });

  it('is not opened by whoever only repeats what the listener said', async () => {
    const { listener, address } = await listen(SECRET);
    const [host, port] = address.split(':') as [string, string];
    const socket = connect(Number(port), host);
    const next = () => new Promise<Buffer>((resolve) => socket.once('data', resolve));
    const value = peerHello({ number: 1, nonce: Buffer.alloc(NONCE_BYTES) });
    socket.write(
      requestFrame({ opcode: Opcode.HELLO, id: 1, extras: helloExtras(Role.PEER, 0), key: Buffer.from('a'), value }),
    );
    const challenge = readPeerChallenge(readResponse(await next(), 0).value);
    socket.write(requestFrame({ opcode: Opcode.AUTHENTICATE, id: 2, value: challenge?.proof as Buffer }));
    expect(readResponse(await next(), 0).status).toBe(Status.REFUSED);
    expect(listener.greeted).toEqual([]);
    socket.destroy();
  });

  it('is given up when nobody answers', async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    opened.push(silent);
    const { port } = silent.address() as { port: number };
    await expect(dial(`127.0.0.1:${port}`, { timeoutMs: 50 })).rejects.toThrow('no answer in time');
  });
});
