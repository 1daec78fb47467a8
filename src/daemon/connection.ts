/**
 * One client's connection: the socket, the number native code knows it by, and what must be remembered between chunks.
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
  /** Native code holds back input of this connection until its output has drained. */
  isHeld = false;
  /** In ticks of the data plane. */
  readonly openedAtTick: number;
  heardAtTick: number;
  blockedAtTick = 0;

  private constructor(
    readonly id: number,
    socket: Socket,
    descriptor: number,
    tick: number,
  ) {
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

  get mayRead(): boolean {
    return !this.isHeld && this.socket.writableLength <= UNSENT_BYTES_PAUSE;
  }
}

export interface ConnectionOpening {
  readonly id: number;
  readonly input: Uint8Array;
  /** Returns whether to go on reading. */
  readonly onChunk: (bytes: number) => boolean;
  readonly tick: number;
}
