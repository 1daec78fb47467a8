/**
 * A deliberately simple server that speaks the protocol over a Map, one request at a time: the reference that the
 * client is tested against where a real node cannot be made to misbehave. `intercept` sees every request first, and may
 * answer it otherwise, stay silent, or break the connection.
 */

import { createServer, type Server, type Socket } from 'node:net';
import {
  frameBytes,
  Opcode,
  RequestFlag,
  type RequestFrame,
  type ResponseFrame,
  readRequest,
  responseFrame,
  Status,
} from '../../src/protocol/index.js';

export type Reply = Pick<ResponseFrame, 'status'> & Partial<ResponseFrame>;
/** What becomes of a request: served as usual or later, answered otherwise, ignored, or punished with a reset. */
export type Interception = 'serve' | 'ignore' | 'reset' | { readonly delayMs: number } | Reply | Buffer;

export interface Item {
  encoding: number;
  value: Buffer;
  expiresAt: number;
  /** First part of its version. */
  time: bigint;
}

const I64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };

export class ReferenceServer {
  /** By key as latin1. Servers that are copies of each other may share them. */
  items = new Map<string, Item>();
  readonly seen: RequestFrame[] = [];
  intercept: (frame: RequestFrame) => Interception = () => 'serve';
  topology: object;
  epoch = 1;
  valueBytesMax = 1_048_576;
  #time = 1n << 40n;
  readonly #sockets = new Set<Socket>();
  readonly #subscribers = new Map<Socket, true>();
  readonly #server: Server;
  #port = 0;

  private constructor(readonly name: string) {
    this.topology = {};
    this.#server = createServer({ noDelay: true }, (socket) => this.#serve(socket));
  }

  static async start(name: string, port: number): Promise<ReferenceServer> {
    const server = new ReferenceServer(name);
    await server.listen(port);
    server.topology = topologyOf([server]);
    return server;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  async listen(port: number): Promise<void> {
    this.#port = port;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', resolve);
    });
  }

  /** Requests seen of an opcode. */
  count(opcode: number): number {
    return this.seen.filter((frame) => frame.opcode === opcode).length;
  }

  /** Breaks all connections, as a killed worker does. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  push(topology: object): void {
    const frame = responseFrame({ status: Status.OK, id: 0, value: Buffer.from(JSON.stringify(topology)) });
    for (const socket of this.#subscribers.keys()) socket.write(frame);
  }

  async stop(): Promise<void> {
    const stopped = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await stopped;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#subscribers.delete(socket);
    });
    let bytes: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      let at = 0;
      const out: Buffer[] = [];
      for (let length = frameBytes(bytes, at); length !== undefined; length = frameBytes(bytes, at)) {
        if (bytes.length - at < length) break;
        const frame = readRequest(Buffer.from(bytes.subarray(at, at + length)), 0);
        at += length;
        const answer = this.#answer(socket, frame);
        if (answer === 'reset') {
          socket.resetAndDestroy();
          return;
        }
        if (answer !== 'ignore') out.push(answer);
      }
      bytes = bytes.subarray(at);
      if (out.length > 0) socket.write(Buffer.concat(out));
    });
  }

  #answer(socket: Socket, frame: RequestFrame): Buffer | 'ignore' | 'reset' {
    this.seen.push(frame);
    const interception = this.intercept(frame);
    if (interception === 'ignore' || interception === 'reset' || Buffer.isBuffer(interception)) return interception;
    if (typeof interception === 'object' && 'delayMs' in interception) {
      const answer = responseFrame({ ...this.#run(frame), id: frame.id });
      setTimeout(() => socket.write(answer), interception.delayMs);
      return 'ignore';
    }
    if (frame.opcode === Opcode.SUBSCRIBE) this.#subscribers.set(socket, true);
    const reply = interception === 'serve' ? this.#run(frame) : interception;
    return responseFrame({ ...reply, id: frame.id });
  }

  #run(frame: RequestFrame): Reply {
    switch (frame.opcode) {
      case Opcode.HELLO:
        return this.#hello();
      case Opcode.TOPOLOGY:
        return { status: Status.OK, value: Buffer.from(JSON.stringify(this.topology)) };
      case Opcode.STATS:
        return { status: Status.OK, value: Buffer.from(JSON.stringify({ items: this.items.size })) };
      case Opcode.GET:
        return this.#get(frame);
      case Opcode.SET:
        return this.#set(frame);
      case Opcode.DELETE:
        return this.#delete(frame);
      case Opcode.TOUCH:
        return this.#touch(frame);
      case Opcode.INCREMENT:
        return this.#increment(frame);
      case Opcode.APPEND:
        return this.#append(frame);
      case Opcode.SCAN:
        return this.#scan(frame);
      case Opcode.CLEAR:
        return this.#clear(frame);
      default:
        return { status: Status.OK };
    }
  }

  #hello(): Reply {
    const extras = Buffer.alloc(16);
    extras[0] = 1;
    extras.writeUInt16LE(1, 2);
    extras.writeUInt32LE(this.epoch, 4);
    extras.writeUInt32LE(this.valueBytesMax, 8);
    extras.writeUInt32LE(this.valueBytesMax + 70_000, 12);
    return { status: Status.OK, extras, value: Buffer.from(this.name) };
  }

  #find(key: Buffer): Item | undefined {
    const item = this.items.get(key.toString('latin1'));
    return item !== undefined && item.expiresAt > Date.now() ? item : undefined;
  }

  #put(key: Buffer, item: Omit<Item, 'time'>): Item {
    const stored = { ...item, value: Buffer.from(item.value), time: ++this.#time };
    this.items.set(key.toString('latin1'), stored);
    return stored;
  }

  #get({ key, flags }: RequestFrame): Reply {
    const item = this.#find(key);
    if (item === undefined) return { status: Status.NOT_FOUND };
    const value = (flags & RequestFlag.NO_VALUE) !== 0 ? Buffer.alloc(0) : item.value;
    return { status: Status.OK, encoding: item.encoding, value, ...metaOf(flags, item) };
  }

  #set({ key, value, flags, encoding, extras }: RequestFrame): Reply {
    const item = this.#find(key);
    if ((flags & RequestFlag.IF_ABSENT) !== 0 && item !== undefined) return { status: Status.EXISTS };
    if ((flags & RequestFlag.IF_VERSION) !== 0) {
      if (item === undefined) return { status: Status.NOT_FOUND };
      if (item.time !== extras.readBigUInt64LE(8)) return { status: Status.VERSION_MISMATCH };
    }
    const keepsTtl = (flags & RequestFlag.KEEP_TTL) !== 0 && item !== undefined;
    const stored = this.#put(key, { encoding, value, expiresAt: keepsTtl ? item.expiresAt : expiryOf(extras, 0) });
    return { status: Status.OK, ...metaOf(flags, stored) };
  }

  #delete({ key, flags, extras }: RequestFrame): Reply {
    const item = this.#find(key);
    if (item === undefined) return { status: Status.NOT_FOUND };
    const isOther = (flags & RequestFlag.IF_VERSION) !== 0 && item.time !== extras.readBigUInt64LE(0);
    if (isOther) return { status: Status.VERSION_MISMATCH };
    this.items.delete(key.toString('latin1'));
    return { status: Status.OK };
  }

  #touch({ key, extras }: RequestFrame): Reply {
    const item = this.#find(key);
    if (item === undefined) return { status: Status.NOT_FOUND };
    item.expiresAt = expiryOf(extras, 0);
    return { status: Status.OK };
  }

  #increment({ key, flags, extras, encoding }: RequestFrame): Reply {
    const item = this.#find(key);
    const value = Buffer.alloc(8);
    if (item === undefined) {
      if ((flags & RequestFlag.NO_CREATE) !== 0) return { status: Status.NOT_FOUND };
      value.writeBigInt64LE(extras.readBigInt64LE(8));
      this.#put(key, { encoding, value, expiresAt: expiryOf(extras, 16) });
      return { status: Status.OK, value };
    }
    if ((item.encoding !== 3 && item.encoding !== 4) || item.value.length !== 8) return { status: Status.NOT_A_NUMBER };
    const sum = item.value.readBigInt64LE(0) + extras.readBigInt64LE(0);
    if (sum < I64.min || sum > I64.max) return { status: Status.OVERFLOW };
    value.writeBigInt64LE(sum);
    this.#put(key, { ...item, value });
    return { status: Status.OK, value };
  }

  #append({ key, flags, extras, value, encoding }: RequestFrame): Reply {
    const item = this.#find(key);
    if (item === undefined && (flags & RequestFlag.NO_CREATE) !== 0) return { status: Status.NOT_FOUND };
    const grown = item === undefined ? value : Buffer.concat([item.value, value]);
    this.#put(key, {
      encoding: item?.encoding ?? encoding,
      value: grown,
      expiresAt: item?.expiresAt ?? expiryOf(extras, 0),
    });
    const length = Buffer.alloc(4);
    length.writeUInt32LE(grown.length);
    return { status: Status.OK, value: length };
  }

  /** The cursor is the number of keys returned so far. */
  #scan({ key: prefix, extras }: RequestFrame): Reply {
    const from = Number(extras.readBigUInt64LE(0));
    const wanted = extras.readUInt16LE(8);
    const keys = [...this.items.keys()].filter((key) => key.startsWith(prefix.toString('latin1')));
    const listed = keys.slice(from, from + wanted).map((key) => {
      const entry = Buffer.alloc(2 + key.length);
      entry.writeUInt16LE(key.length);
      entry.write(key, 2, 'latin1');
      return entry;
    });
    const next = Buffer.alloc(8);
    next.writeBigUInt64LE(BigInt(from + wanted < keys.length ? from + wanted : 0));
    return { status: Status.OK, extras: next, value: Buffer.concat(listed) };
  }

  /** Two steps: the first does nothing but name the horizon. */
  #clear({ key: prefix, extras }: RequestFrame): Reply {
    const answer = Buffer.alloc(20);
    if (extras.readBigUInt64LE(0) === 0n) {
      answer.writeBigUInt64LE(1n, 0);
      answer.writeBigUInt64LE(this.#time, 8);
      return { status: Status.OK, extras: answer };
    }
    let deleted = 0;
    for (const [key, item] of this.items) {
      if (!key.startsWith(prefix.toString('latin1')) || item.time > extras.readBigUInt64LE(8)) continue;
      this.items.delete(key);
      deleted++;
    }
    answer.writeUInt32LE(deleted, 16);
    return { status: Status.OK, extras: answer };
  }
}

/** What nodes tell of a cluster of these servers. */
export function topologyOf(servers: readonly ReferenceServer[], epoch = 1, overlay: TopologyOverlay = {}): object {
  const { rf = 1, away = [], zones = {} } = overlay;
  const members = servers.map(({ name, address }, index) => ({
    name,
    number: index + 1,
    address,
    zone: zones[name] ?? '',
    weight: 1,
    state: away.includes(name) ? 'away' : 'in',
  }));
  return { epoch, rf, members };
}

export interface TopologyOverlay {
  readonly rf?: number;
  readonly away?: readonly string[];
  readonly zones?: Readonly<Record<string, string>>;
}

function expiryOf(extras: Buffer, at: number): number {
  const ttlMs = Number(extras.readBigUInt64LE(at));
  return ttlMs === 0 ? Number.POSITIVE_INFINITY : Date.now() + ttlMs;
}

function metaOf(flags: number, item: Item): { extras?: Buffer } {
  if ((flags & RequestFlag.WANT_META) === 0) return {};
  const extras = Buffer.alloc(24);
  extras.writeBigUInt64LE(item.time, 0);
  extras.writeUInt32LE(1, 8);
  extras.writeUInt16LE(1, 12);
  const ttlMs = item.expiresAt === Number.POSITIVE_INFINITY ? 0 : Math.max(1, item.expiresAt - Date.now());
  extras.writeBigUInt64LE(BigInt(ttlMs), 16);
  return { extras };
}
