/** One node, asked frame by frame over its own connection: for what a client, which knows the cluster, would not do. */
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import {
  frameBytes,
  helloExtras,
  Opcode,
  RequestFlag,
  type RequestFrame,
  type ResponseFrame,
  Role,
  readResponse,
  requestFrame,
  Status,
} from '../../src/protocol/index.js';

const NEAREST = 2;
const SET_EXTRAS_BYTES = 8;
const nameOf = (status: number): string => Object.entries(Status).find(([, code]) => code === status)?.[0] ?? '?';

export class NodeDoor implements Disposable {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (answer: ResponseFrame) => void>();
  #received: Buffer = Buffer.alloc(0);
  #id = 0;

  private constructor(options: NetConnectOpts) {
    this.#socket = connect(options).on('data', (bytes) => this.#read(bytes));
  }

  /** @param address HOST:PORT, or the path of a Unix socket */
  static async open(address: string): Promise<NodeDoor> {
    const [, host, port] = /^([^/]+):(\d+)$/.exec(address) ?? [];
    const door = new NodeDoor(host === undefined ? { path: address } : { host, port: Number(port) });
    await door.#request({ opcode: Opcode.HELLO, extras: helloExtras(Role.CLIENT, 0) });
    return door;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  /** The name of the answer's status. `level`: of acknowledgement. */
  async set(key: string, value: string, level: 'one' | 'quorum', deadlineMs: number): Promise<string> {
    const { status } = await this.#request({
      opcode: Opcode.SET,
      flags: level === 'one' ? 0 : 1,
      deadlineMs,
      extras: Buffer.alloc(SET_EXTRAS_BYTES),
      key: Buffer.from(key),
      value: Buffer.from(value),
    });
    return nameOf(status);
  }

  /** What this node has as a copy that is in sync, the version included; otherwise the name of the answer's status. */
  async copyOf(key: string): Promise<string> {
    const flags = NEAREST | RequestFlag.WANT_META;
    const { status, extras, value } = await this.#request({ opcode: Opcode.GET, flags, key: Buffer.from(key) });
    return status === Status.OK ? `${extras.toString('hex')} ${value.toString('hex')}` : nameOf(status);
  }

  #request(frame: Partial<RequestFrame> & Pick<RequestFrame, 'opcode'>): Promise<ResponseFrame> {
    const id = ++this.#id;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.write(requestFrame({ ...frame, id }));
    });
  }

  #read(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    for (;;) {
      const length = frameBytes(this.#received, 0);
      if (length === undefined || this.#received.length < length) return;
      // A copy, for what the answer's parts show must stay.
      const answer = readResponse(Buffer.from(this.#received.subarray(0, length)), 0);
      this.#received = this.#received.subarray(length);
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    }
  }
}

/** Keys that do not have `copies` copies in sync, all equal, on these nodes; each with what the nodes say. */
export async function unequalCopies(
  addresses: readonly string[],
  keys: readonly string[],
  copies: number,
): Promise<readonly string[]> {
  const doors = await Promise.all(addresses.map((address) => NodeDoor.open(address)));
  const unequal: string[] = [];
  for (const key of keys) {
    const told = await Promise.all(doors.map((door) => door.copyOf(key)));
    const held = told.filter((copy) => copy !== 'MOVED');
    if (held.length !== copies || new Set(held).size !== 1 || held[0] === 'NOT_IN_SYNC') {
      unequal.push(`${key}: ${told.join(' | ')}`);
    }
  }
  for (const door of doors) door[Symbol.dispose]();
  return unequal;
}
