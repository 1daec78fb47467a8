/**
 * Opens a connection to another node and proves, in both directions, that the two know the cluster's secret
 * (protocol/hello.ts). What comes out is a socket on which peers' frames may be sent; what they are is not known here.
 *
 * The socket reads into a buffer of the caller's from the start, as all sockets of the data plane do (connection.ts):
 * until the handshake is done the bytes are this file's, from then on those of whoever took the socket.
 */
import { connect, type Socket } from 'node:net';
import {
  frameBytes,
  helloExtras,
  Opcode,
  peerHello,
  type ResponseFrame,
  Role,
  readHelloAnswer,
  readPeerChallenge,
  readResponse,
  requestFrame,
  Status,
} from '../protocol/index.js';
import { freshNonce, type Handshake, isProof, prove } from './peer-secret.js';
import { parseHostPort } from './units.js';

/** Connecting and two round trips: a peer that needs longer is stuck, and will be dialled again. */
export const DIAL_MS_MAX = 2_000;
/** The answers to a hello are below 1 KiB; what sends more is no node. */
const HANDSHAKE_BYTES_MAX = 4_096;
/** Shorter than a client's: a peer's silence is noticed by its heartbeats, this is for machines that vanished. */
const KEEPALIVE_DELAY_MS = 5_000;
const HELLO_ID = 1;
const AUTHENTICATE_ID = 2;

export interface PeerDialling {
  /** HOST:PORT */
  readonly address: string;
  /** Who must be there. */
  readonly number: number;
  readonly self: { readonly name: string; readonly number: number };
  readonly secret: string;
  /** What the socket reads into; a buffer of its own when missing. */
  readonly input?: Uint8Array;
  /** Reads what comes after the handshake, from the start of `input`; returns whether to go on reading. */
  readonly onChunk: (bytes: number, input: Uint8Array) => boolean;
  readonly timeoutMs?: number;
}

/** Resolves to an authenticated socket. @throws Error saying what went wrong, after closing it */
export function dialPeer(dialling: PeerDialling): Promise<Socket> {
  const target = parseHostPort(dialling.address);
  if (target === undefined) return Promise.reject(new Error(`${dialling.address} is not HOST:PORT`));
  return new Promise((resolve, reject) => {
    const greeting = new Greeting(dialling);
    const buffer = dialling.input ?? Buffer.allocUnsafeSlow(64 * 1024);
    let isDone = false;
    const socket = connect({
      ...target,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_DELAY_MS,
      onread: {
        buffer,
        callback: (bytes, bytesRead) => {
          if (isDone) return dialling.onChunk(bytes, bytesRead);
          step(() => greeting.read(Buffer.from(bytesRead.subarray(0, bytes))));
          return true;
        },
      },
    });
    const timer = setTimeout(() => fail(new Error('no answer in time')), dialling.timeoutMs ?? DIAL_MS_MAX);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new Error(`node ${dialling.number} at ${dialling.address}: ${error.message}`, { cause: error }));
    };
    const onClose = () => fail(new Error('it closed the connection'));
    const step = (next: () => Buffer | 'done' | undefined): void => {
      try {
        const outcome = next();
        if (Buffer.isBuffer(outcome)) socket.write(outcome);
        if (outcome !== 'done') return;
        isDone = true;
        clearTimeout(timer);
        socket.off('error', fail).off('close', onClose);
        resolve(socket);
      } catch (error) {
        fail(error as Error);
      }
    };
    socket.once('error', fail).once('close', onClose);
    socket.once('connect', () => step(() => greeting.hello()));
  });
}

/** The dialer's side of a handshake: bytes in, bytes out. */
class Greeting {
  readonly #dialling: PeerDialling;
  readonly #dialerNonce = freshNonce();
  #received: Buffer = Buffer.alloc(0);

  constructor(dialling: PeerDialling) {
    this.#dialling = dialling;
  }

  hello(): Buffer {
    const { name, number } = this.#dialling.self;
    return requestFrame({
      opcode: Opcode.HELLO,
      id: HELLO_ID,
      extras: helloExtras(Role.PEER, 0),
      key: Buffer.from(name),
      value: peerHello({ number, nonce: this.#dialerNonce }),
    });
  }

  /** What to send next, if anything. @throws Error */
  read(bytes: Buffer): Buffer | 'done' | undefined {
    this.#received = Buffer.concat([this.#received, bytes]);
    const length = frameBytes(this.#received, 0) ?? 0;
    if (Math.max(length, this.#received.length) > HANDSHAKE_BYTES_MAX)
      throw new Error('it does not speak as a node does');
    if (length === 0 || this.#received.length < length) return undefined;
    const answer = readResponse(this.#received, 0);
    this.#received = this.#received.subarray(length);
    if (answer.status !== Status.OK) throw new Error(`it refused: ${answer.value.toString()}`);
    if (answer.id === HELLO_ID) return this.#authenticate(answer);
    if (this.#received.length > 0) throw new Error('it spoke before it was asked');
    if (answer.id === AUTHENTICATE_ID) return 'done';
    throw new Error(`it answered request ${answer.id}, which nobody sent`);
  }

  #authenticate({ extras, value }: ResponseFrame): Buffer {
    const { number, self, secret } = this.#dialling;
    const hello = readHelloAnswer(extras);
    const challenge = readPeerChallenge(value);
    if (hello === undefined || challenge === undefined) throw new Error('its answer to hello is too short');
    if (hello.nodeNumber !== number) throw new Error(`node ${hello.nodeNumber} is there`);
    const handshake: Handshake = {
      dialer: self.number,
      dialerNonce: this.#dialerNonce,
      listener: number,
      listenerNonce: challenge.nonce,
    };
    if (!isProof(secret, 'listener', handshake, challenge.proof)) throw new Error('it does not know the secret');
    return requestFrame({
      opcode: Opcode.AUTHENTICATE,
      id: AUTHENTICATE_ID,
      value: prove(secret, 'dialer', handshake),
    });
  }
}
