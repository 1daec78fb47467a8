/**
 * The data path of a worker: chunk of a socket in, one native call, answers out.
 *
 *   socket ─▶ shared input buffer ─▶ execute() ─▶ shared output buffer ─▶ send(2)
 *                                        └─▶ control frames ─▶ control.ts
 *
 * JavaScript touches chunks, never single operations. Everything here is bounded: connections, unsent bytes of one
 * connection and of all, time without a hello, time without a word, time without reading.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NativeWorker } from '../store/index.js';
import { OutputFlag } from '../store/index.js';
import { Connection } from './connection.js';
import type { Control } from './control.js';
import type { WorkerReport } from './messages.js';

/** What one read may bring: the kernel's receive buffer seldom holds more for a busy connection. */
const INPUT_BYTES = 64 * 1024;
/** Background work of the store, and the grain in which idleness is measured. */
const TICK_MS = 100;
/** A client that connected says hello at once; five seconds cover a lost packet's retransmissions. */
const HELLO_TICKS_MAX = 5_000 / TICK_MS;
/** A peer that has taken nothing for so long is gone or stuck, and holds our memory. */
const BLOCKED_TICKS_MAX = 30_000 / TICK_MS;
/** Unsent bytes of all connections together, past which the one that would add more is closed. */
const UNSENT_BYTES_MAX = 256 * 1024 * 1024;
/**
 * Native calls in a row for one connection whose output is taken as fast as it comes, before others have their turn.
 */
const ROUNDS_MAX = 16;
/** Silence after which TCP itself asks whether the other end is there: finds half-open connections. */
const KEEPALIVE_DELAY_MS = 60_000;
/** How long closing connections may take to send what they owe. */
const DRAIN_MS_MAX = 5_000;

export interface DataPlaneOptions {
  readonly native: NativeWorker;
  readonly control: Control;
  readonly connectionsMax: number;
  /** 0: never. */
  readonly idleTimeoutMs: number;
}

export class DataPlane {
  readonly #native: NativeWorker;
  readonly #flags: Uint32Array;
  readonly #control: Control;
  readonly #connectionsMax: number;
  readonly #idleTicksMax: number;
  readonly #input = Buffer.allocUnsafeSlow(INPUT_BYTES);
  readonly #output: Buffer;
  readonly #connections = new Map<number, Connection>();
  readonly #servers: Server[] = [];
  readonly #timer: NodeJS.Timeout;
  #tick = 1;
  #unsentBytes = 0;
  #accepted = 0;
  #rejected = 0;
  #timedOut = 0;

  constructor({ native, control, connectionsMax, idleTimeoutMs }: DataPlaneOptions) {
    this.#native = native;
    this.#flags = native.flags;
    this.#control = control;
    this.#connectionsMax = connectionsMax;
    this.#idleTicksMax = idleTimeoutMs === 0 ? Number.POSITIVE_INFINITY : Math.ceil(idleTimeoutMs / TICK_MS);
    this.#output = Buffer.allocUnsafeSlow(native.outputBytesMin);
    native.useInput(this.#input);
    native.useOutput(this.#output);
    this.#timer = setInterval(() => this.#onTick(), TICK_MS);
  }

  /** A server whose connections are served here, not yet listening. */
  server(): Server {
    const options = {
      pauseOnConnect: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_DELAY_MS,
    };
    const server = createServer(options, (socket) => this.#accept(socket));
    this.#servers.push(server);
    return server;
  }

  report(): WorkerReport {
    return {
      connections: this.#connections.size,
      acceptedTotal: this.#accepted,
      rejectedTotal: this.#rejected,
      timedOutTotal: this.#timedOut,
    };
  }

  /** Sends `frame` to every connection that subscribed. */
  publish(frame: Buffer): void {
    for (const connection of this.#connections.values()) {
      if (connection.isSubscribed) this.#queue(connection, frame);
    }
  }

  /** Stops accepting, lets connections take what they are owed, closes them, and gives the native place back. */
  async drain(): Promise<void> {
    for (const server of this.#servers) server.close();
    const deadline = Date.now() + DRAIN_MS_MAX;
    for (const { socket } of this.#connections.values()) socket.end();
    while (this.#unsentBytes > 0 && Date.now() < deadline) await sleep(10);
    for (const { socket } of this.#connections.values()) socket.destroy();
    // Every socket tells of its end in a later turn, and native code must hear of it first.
    while (this.#connections.size > 0) await sleep(1);
    clearInterval(this.#timer);
    this.#native.close();
  }

  #accept(accepted: Socket): void {
    if (this.#connections.size >= this.#connectionsMax) {
      this.#rejected++;
      accepted.destroy();
      return;
    }
    const id = this.#native.connect();
    const connection = Connection.takeOver(accepted, {
      id,
      input: this.#input,
      onChunk: (bytes) => {
        connection !== undefined && this.#run(connection, bytes);
        return connection?.mayRead ?? false;
      },
      tick: this.#tick,
    });
    if (connection === undefined) {
      this.#native.disconnect(id);
      return;
    }
    this.#accepted++;
    this.#connections.set(id, connection);
    // A reset is the usual end of a client that was killed, and 'close' follows.
    connection.socket.on('error', () => {});
    connection.socket.once('close', () => this.#forget(connection));
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection.id);
    this.#native.disconnect(connection.id);
  }

  /**
   * Runs the first `bytes` bytes of the input as the connection's next ones, and sends the answers.
   *
   * HOT: once a chunk; no allocation while the kernel takes what it is given; one system call, send(2).
   */
  #run(connection: Connection, bytes: number): void {
    connection.heardAtTick = this.#tick;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const length = this.#native.execute(connection.id, round === 0 ? bytes : 0);
      const flags = this.#flags[0];
      if (length > 0) this.#send(connection, length);
      if (flags === 0 || flags === undefined) return;
      if (!this.#goOn(connection, flags)) return;
    }
    this.#hold(connection);
    setImmediate(() => this.#release(connection));
  }

  /** Does what the flags of an execute ask for. True: execute again, with nothing new. */
  #goOn(connection: Connection, flags: number): boolean {
    const isAnswered = (flags & OutputFlag.CONTROL) !== 0 && this.#answerControl();
    if (connection.socket.destroyed) return false;
    if ((flags & OutputFlag.CLOSE) !== 0) {
      this.#close(connection);
      return false;
    }
    if ((flags & OutputFlag.MORE) === 0) return isAnswered;
    if (connection.socket.writableLength === 0) return true;
    this.#hold(connection);
    return false;
  }

  #answerControl(): boolean {
    const frames = this.#native.takeControl();
    for (const frame of frames) {
      const connection = this.#connections.get(frame.connection);
      if (connection === undefined) continue;
      const answer = this.#control.answer(frame, connection);
      if (answer.greetAs !== undefined) this.#native.greet(connection.id, answer.greetAs);
      this.#queue(connection, answer.frame);
      if (answer.isLast) this.#close(connection);
    }
    return frames.length > 0;
  }

  #send(connection: Connection, length: number): void {
    let sent = 0;
    // An error counts as nothing sent: the socket meets it at its own write, and closes.
    if (connection.socket.writableLength === 0) sent = this.#native.send(connection.descriptor, length);
    if (sent < length) this.#queue(connection, Buffer.from(this.#output.subarray(sent, length)));
  }

  /** Lets the socket send `bytes`, which belong to it from now on. */
  #queue(connection: Connection, bytes: Buffer): void {
    const { socket } = connection;
    if (socket.destroyed || socket.writableEnded) return;
    if (this.#unsentBytes + bytes.length > UNSENT_BYTES_MAX) {
      this.#rejected++;
      socket.destroy();
      return;
    }
    if (socket.writableLength === 0) connection.blockedAtTick = this.#tick;
    this.#unsentBytes += bytes.length;
    socket.write(bytes, () => {
      this.#unsentBytes -= bytes.length;
      connection.blockedAtTick = this.#tick;
      if (socket.writableLength === 0 && connection.isHeld) this.#release(connection);
      else if (connection.mayRead) socket.resume();
    });
  }

  #hold(connection: Connection): void {
    connection.isHeld = true;
    connection.socket.pause();
  }

  #release(connection: Connection): void {
    const { socket } = connection;
    if (!connection.isHeld || socket.destroyed || socket.writableEnded || socket.writableLength > 0) return;
    connection.isHeld = false;
    this.#run(connection, 0);
    if (connection.mayRead) socket.resume();
  }

  /** After what was queued. The other end may go on sending; nothing of it is read. */
  #close(connection: Connection): void {
    this.#hold(connection);
    connection.socket.end(() => connection.socket.destroy());
  }

  #onTick(): void {
    this.#tick++;
    this.#native.tick();
    // Once a second is often enough for limits of seconds.
    if (this.#tick % (1_000 / TICK_MS) !== 0) return;
    for (const connection of this.#connections.values()) {
      if (!this.#isOverdue(connection)) continue;
      this.#timedOut++;
      connection.socket.destroy();
    }
  }

  #isOverdue({ isGreeted, openedAtTick, heardAtTick, blockedAtTick, socket }: Connection): boolean {
    if (!isGreeted && this.#tick - openedAtTick > HELLO_TICKS_MAX) return true;
    if (socket.writableLength > 0) return this.#tick - blockedAtTick > BLOCKED_TICKS_MAX;
    return this.#tick - heardAtTick > this.#idleTicksMax;
  }
}
