/**
 * The data path of a worker: chunk of a socket in, one native call, answers out.
 *
 *   socket ─▶ shared input buffer ─▶ execute() ─▶ shared output buffer ─▶ send(2)
 *                                        ├─▶ control frames ─▶ control.ts, or the core (cluster/worker/)
 *                                        └─▶ what other connections are owed: nextOutput() ─▶ send(2)
 *
 * JavaScript touches chunks, never single operations. Connections to other nodes (links, which this node opened) and
 * from them are connections like all others; of a link what comes in are answers. What a chunk of writes is to send to
 * a copy comes out as one buffer, so a copy costs one more system call a chunk. Everything here is bounded:
 * connections, unsent bytes of one connection and of all, time without a hello, time without a word, time without
 * reading.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Opcode } from '../protocol/index.js';
import type { ControlFrame, NativeWorker } from '../store/index.js';
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
/** Opcodes from here on are the nodes' among themselves. */
const FIRST_PEER_OPCODE = 0x40;
/** How long closing connections may take to send what they owe. */
const DRAIN_MS_MAX = 5_000;

/** Who is told what concerns other nodes: the worker's core, which does not begin before the data plane stands. */
export interface ClusterSide {
  onControl(frame: ControlFrame): Buffer | undefined;
  onAnswers(): void;
  onBehind(epoch: number, nodeNumber: number): void;
  lost(connection: number): void;
  inboundLost(nodeNumber: number): void;
  tick(): void;
}

export interface DataPlaneOptions {
  readonly native: NativeWorker;
  readonly control: Control;
  readonly installedEpoch: () => number;
  readonly connectionsMax: number;
  /** 0: never. */
  readonly idleTimeoutMs: number;
}

export interface Link {
  readonly id: number;
  readonly onChunk: (bytes: number) => boolean;
}

export class DataPlane {
  readonly #native: NativeWorker;
  readonly #flags: Uint32Array;
  readonly #control: Control;
  readonly #installedEpoch: () => number;
  #cluster: ClusterSide | undefined;
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

  constructor({ native, control, installedEpoch, connectionsMax, idleTimeoutMs }: DataPlaneOptions) {
    this.#native = native;
    this.#flags = native.flags;
    this.#control = control;
    this.#installedEpoch = installedEpoch;
    this.#connectionsMax = connectionsMax;
    this.#idleTicksMax = idleTimeoutMs === 0 ? Number.POSITIVE_INFINITY : Math.ceil(idleTimeoutMs / TICK_MS);
    this.#output = Buffer.allocUnsafeSlow(native.outputBytesMin);
    native.useInput(this.#input);
    native.useOutput(this.#output);
    this.#timer = setInterval(() => this.#onTick(), TICK_MS);
  }

  /** What sockets of this worker read into. */
  get input(): Uint8Array {
    return this.#input;
  }

  /** From now on what concerns other nodes goes there. */
  begin(cluster: ClusterSide): void {
    this.#cluster = cluster;
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

  /**
   * Takes over a connection that this node opened to another one. Returns the number of the connection and what is to
   * be called with every chunk in the input buffer; undefined if it closed meanwhile.
   */
  addLink(socket: Socket, nodeNumber: number): Link | undefined {
    const id = this.#native.connect();
    const connection = Connection.ofLink(socket, { id, nodeNumber, tick: this.#tick });
    if (connection === undefined) {
      this.#native.disconnect(id);
      return undefined;
    }
    this.#keep(connection);
    const onChunk = (bytes: number): boolean => {
      this.#run(connection, bytes);
      return connection.mayRead;
    };
    return { id, onChunk };
  }

  hangUp(id: number): void {
    this.#connections.get(id)?.socket.destroy();
  }

  /** An answer that took its time. */
  answer(id: number, frame: Buffer): void {
    const connection = this.#connections.get(id);
    if (connection !== undefined) this.#queue(connection, frame);
  }

  /** Sends what native code has for connections. HOT: once a chunk and copy; one system call, send(2). */
  sendOwed(): void {
    for (let id = this.#native.nextOutput(); id !== -1; id = this.#native.nextOutput()) {
      const connection = this.#connections.get(id);
      if (connection !== undefined) this.#send(connection, this.#flags[1] as number);
    }
  }

  /** Another epoch is in place: runs what waited for it. */
  releaseAwaiting(): void {
    const epoch = this.#installedEpoch();
    for (const connection of this.#connections.values()) {
      if (connection.epochAwaited === 0 || connection.epochAwaited > epoch) continue;
      connection.epochAwaited = 0;
      this.#release(connection);
    }
  }

  /** Stops accepting, lets connections take what they are owed, closes them, and gives the native place back. */
  async drain(): Promise<void> {
    this.#cluster = undefined;
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
    this.#keep(connection);
  }

  #keep(connection: Connection): void {
    this.#connections.set(connection.id, connection);
    // A reset is the usual end of a client that was killed, and 'close' follows.
    connection.socket.on('error', () => {});
    connection.socket.once('close', () => this.#forget(connection));
  }

  #forget({ id, isLink, isProbe, nodeNumber }: Connection): void {
    this.#connections.delete(id);
    this.#native.disconnect(id);
    // The end of a link is an answer to those who wait for it.
    this.#attend(this.#flags[0] as number);
    if (isLink) this.#cluster?.lost(id);
    else if (nodeNumber !== 0 && !isProbe) this.#cluster?.inboundLost(nodeNumber);
  }

  /** Does what flags ask for that are not about the connection which was run. True: some connection got an answer. */
  #attend(flags: number): boolean {
    if ((flags & OutputFlag.OTHERS) !== 0) this.sendOwed();
    return (flags & OutputFlag.CONTROL) !== 0 && this.#answerControl();
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
    const epochAhead = this.#flags[2] as number;
    const isAnswered = this.#attend(flags);
    if (connection.socket.destroyed) return false;
    if ((flags & OutputFlag.CLOSE) !== 0) {
      this.#close(connection);
      return false;
    }
    if ((flags & OutputFlag.BEHIND) !== 0) return this.#fallBehind(connection, epochAhead);
    if ((flags & OutputFlag.MORE) === 0) return isAnswered;
    if (connection.socket.writableLength === 0) return true;
    this.#hold(connection);
    return false;
  }

  /** What the other node sent is of an epoch that is not here. Of a link only its answers say so, and nothing waits. */
  #fallBehind(connection: Connection, epoch: number): boolean {
    this.#cluster?.onBehind(epoch, connection.nodeNumber);
    if (connection.isLink) return false;
    if (this.#installedEpoch() >= epoch) return true;
    connection.epochAwaited = epoch;
    this.#hold(connection);
    return false;
  }

  #answerControl(): boolean {
    const frames = this.#native.takeControl();
    for (const frame of frames) {
      const connection = this.#connections.get(frame.connection);
      if (connection === undefined) continue;
      if (frame.opcode < FIRST_PEER_OPCODE) this.#answerOne(frame, connection);
      else {
        if (frame.opcode === Opcode.PROBE) connection.isProbe = true;
        const answer = this.#cluster?.onControl(frame);
        if (answer !== undefined) this.#queue(connection, answer);
      }
    }
    this.#cluster?.onAnswers();
    return frames.length > 0;
  }

  #answerOne(frame: ControlFrame, connection: Connection): void {
    const { frame: answer, greet, isLast } = this.#control.answer(frame, connection);
    if (greet !== undefined) {
      connection.nodeNumber = greet.nodeNumber;
      this.#native.greet(connection.id, greet.role, greet.nodeNumber);
    }
    this.#queue(connection, answer);
    if (isLast) this.#close(connection);
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
    if (!connection.isHeld || connection.epochAwaited !== 0) return;
    if (socket.destroyed || socket.writableEnded || socket.writableLength > 0) return;
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
    this.#attend(this.#flags[0] as number);
    this.#cluster?.tick();
    this.releaseAwaiting();
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
