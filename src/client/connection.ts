/**
 * One connection to one node: socket, hello, and the bytes in both directions. It is made, greets, serves, and is lost
 * once; whoever made it makes the next one. Reads land in one buffer that is used for the connection's whole life.
 */

import { connect, type Socket } from 'node:net';
import {
  type HelloAnswer,
  helloExtras,
  Opcode,
  PROTOCOL_VERSION,
  Role,
  readHelloAnswer,
  readResponse,
  requestFrame,
  Status,
} from '../protocol/index.js';
import { endpointOf } from './address.js';
import { HengeError, type HengeErrorCode } from './errors.js';
import { FrameReader, type FrameSink } from './frame-reader.js';
import type { Transport } from './pipeline.js';

export interface ConnectionEvents {
  /** The node greeted back. The reader hands later frames to the sink that is returned. */
  greeted(answer: HelloAnswer, nodeName: string): FrameSink;
  /** The connection is gone; told exactly once, never from within `write`. */
  lost(error: HengeError): void;
  /** The kernel has all that was written. */
  written(): void;
  /** Bytes came. */
  received(): void;
}

/** Requests have ids from 65,536 on (pipeline.ts). */
const HELLO_ID = 1;
const READ_BUFFER_BYTES = 64 * 1_024;
/** Until the node has greeted and said how long its frames may be. */
const HELLO_ANSWER_BYTES_MAX = 4_096;
/** From connect to greeting. A node that needs longer is as good as none. */
const GREETING_MS_MAX = 2_000;
/** A peer that vanished without a word is asked for by the kernel after this long. */
const KEEP_ALIVE_MS = 15_000;

export class Connection implements Transport, FrameSink {
  readonly #socket: Socket;
  readonly #reader = new FrameReader(this, HELLO_ANSWER_BYTES_MAX);
  readonly #greetingTimer: NodeJS.Timeout;
  readonly #onWritten: (error?: Error | null) => void;
  #isLost = false;

  constructor(
    readonly address: string,
    private readonly clientName: string,
    private readonly epoch: number,
    private readonly events: ConnectionEvents,
  ) {
    const buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    const callback = (count: number): boolean => {
      this.#receive(buffer, view, count);
      return true;
    };
    this.#onWritten = (error) => {
      if (!error && !this.#isLost) events.written();
    };
    this.#socket = connect({ ...endpointOf(address), noDelay: true, onread: { buffer, callback } });
    this.#socket.setKeepAlive(true, KEEP_ALIVE_MS);
    this.#socket.once('connect', () => this.#greet());
    this.#socket.once('error', (cause) =>
      this.#lose('CONNECTION_LOST', `connection to ${address} failed: ${cause.message}`, cause),
    );
    this.#socket.once('close', () => this.#lose('CONNECTION_LOST', `${address} closed the connection`));
    this.#greetingTimer = setTimeout(() => this.close(`${address} did not greet in time`), GREETING_MS_MAX);
  }

  /** Hot path, once a tick: one call into the socket, with one callback for the life of the connection. */
  write(parts: readonly Buffer[]): void {
    const last = parts.length - 1;
    if (last > 0) this.#socket.cork();
    for (let i = 0; i < last; i++) this.#socket.write(parts[i] as Buffer);
    this.#socket.write(parts[last] as Buffer, this.#onWritten);
    if (last > 0) this.#socket.uncork();
  }

  close(reason: string, code: HengeErrorCode = 'CONNECTION_LOST'): void {
    this.#lose(code, reason);
  }

  /** The first answer of the connection. Later ones go where `greeted` says. */
  takeFrame(bytes: Buffer, _view: DataView, at: number): boolean {
    const answer = readResponse(bytes, at);
    if (answer.id !== HELLO_ID) return false;
    if (answer.status !== Status.OK) {
      const sentence = answer.value.toString() || `status ${answer.status}`;
      this.close(`${this.address} refused the hello: ${sentence}`, 'PROTOCOL');
      return true;
    }
    const hello = readHelloAnswer(answer.extras);
    if (hello === undefined || hello.version !== PROTOCOL_VERSION) return false;
    clearTimeout(this.#greetingTimer);
    this.#reader.frameBytesMax = hello.frameBytesMax;
    this.#reader.sink = this.events.greeted(hello, answer.value.toString());
    return true;
  }

  #greet(): void {
    const extras = helloExtras(Role.CLIENT, this.epoch);
    const key = Buffer.from(this.clientName);
    this.#socket.write(requestFrame({ opcode: Opcode.HELLO, id: HELLO_ID, extras, key }));
  }

  #receive(buffer: Buffer, view: DataView, count: number): void {
    if (this.#isLost) return;
    this.events.received();
    let isUnderstood = false;
    try {
      isUnderstood = this.#reader.read(buffer, view, count);
    } catch (cause) {
      this.#lose('PROTOCOL', `${this.address} sent a frame that contradicts itself`, cause);
    }
    if (!isUnderstood) this.close(`${this.address} broke the protocol`, 'PROTOCOL');
  }

  #lose(code: HengeErrorCode, message: string, cause?: unknown): void {
    if (this.#isLost) return;
    this.#isLost = true;
    clearTimeout(this.#greetingTimer);
    this.#socket.destroy();
    this.#socket.on('error', ignoreLateError);
    queueMicrotask(() => this.events.lost(new HengeError(code, message, cause === undefined ? {} : { cause })));
  }
}

/** A socket that was given up may still report an error; the reason is known already. */
const ignoreLateError = (): void => undefined;
