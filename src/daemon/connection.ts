/**
 * One connection, a client's or another node's: the socket, the number native code knows it by, and what must be
 * remembered between chunks.
 *
 * How bytes come in. Node allocates a buffer per read unless a socket was made with `onread`, which only the
 * constructor of net.Socket takes and which a server does not pass on. So the accepted handle is taken out of the
 * socket that the server made (paused, nothing read yet) and put into one with `onread`, whose buffer all connections
 * of the worker share: the chunk is used up before the callback returns.
 *
 * How bytes go out. While nothing is queued, answers go to the kernel by one send(2) on the descriptor, straight from
 * the shared output buffer. What the kernel does not take is copied and queued in the socket, which then is the way for
 * everything until it has drained. So a slow reader holds exactly the bytes it has not read.
 */
import { type ConnectOpts, type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import type { Handshake } from './peer-secret.js';

/** Unsent bytes above which nothing more is read from a connection: a few answers, or one large one, are normal. */
const UNSENT_BYTES_PAUSE = 64 * 1024;

/** Node's own handle: present while the socket is open, not part of the published types. */
interface SocketHandle {
  readonly fd: number;
}

export class Connection {
  readonly socket: Socket;
  readonly descriptor: number;
  isGreeted = false;
  isSubscribed = false;
  challenge: Handshake | undefined;
  /** Of the node at the other end; 0: a client, or not known yet. */
  nodeNumber = 0;
  /** We opened it: what comes are answers. */
  readonly isLink: boolean;
  /** A node asked over it whether this one lives; nothing of its data comes this way, and its end says nothing. */
  isProbe = false;
  /** Native code holds back input of this connection until its output has drained. */
  isHeld = false;
  /** The node at the other end is in this epoch, and what it sent waits until this node is; 0: nothing waits. */
  epochAwaited = 0;
  /** In ticks of the data plane. */
  readonly openedAtTick: number;
  heardAtTick: number;
  blockedAtTick = 0;

  private constructor(
    readonly id: number,
    socket: Socket,
    descriptor: number,
    tick: number,
    linkTo = 0,
  ) {
    this.isLink = linkTo !== 0;
    this.nodeNumber = linkTo;
    this.isGreeted = this.isLink;
    this.socket = socket;
    this.descriptor = descriptor;
    this.openedAtTick = tick;
    this.heardAtTick = tick;
  }

  /** Takes over the handle of `accepted`, a paused socket of a server; undefined if it closed meanwhile. */
  static takeOver(accepted: Socket, opening: ConnectionOpening): Connection | undefined {
    const holder = accepted as unknown as { _handle: SocketHandle | null };
    const handle = holder._handle;
    if (handle === null) return undefined;
    holder._handle = null;
    accepted.destroy();

    // `handle` is what the server itself passes; the published types leave it out.
    const onread: OnReadOpts = { buffer: opening.input, callback: opening.onChunk };
    const options: SocketConstructorOpts & ConnectOpts & { handle: SocketHandle } = { handle, onread };
    return new Connection(opening.id, new Socket(options), handle.fd, opening.tick);
  }

  /** A connection that we opened and that was authenticated; undefined if it closed meanwhile. */
  static ofLink(socket: Socket, { id, tick, nodeNumber }: LinkOpening): Connection | undefined {
    const handle = (socket as unknown as { _handle: SocketHandle | null })._handle;
    return handle === null ? undefined : new Connection(id, socket, handle.fd, tick, nodeNumber);
  }

  /** Of a link always: were both ends to wait until the other reads, neither would. Answers are few and small. */
  get mayRead(): boolean {
    return this.isLink || (!this.isHeld && this.socket.writableLength <= UNSENT_BYTES_PAUSE);
  }
}

export interface LinkOpening {
  readonly id: number;
  readonly tick: number;
  readonly nodeNumber: number;
}

export interface ConnectionOpening {
  readonly id: number;
  readonly input: Uint8Array;
  /** Returns whether to go on reading. */
  readonly onChunk: (bytes: number) => boolean;
  readonly tick: number;
}
