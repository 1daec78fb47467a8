/**
 * A node of the cluster that tests keep in one process (copies.ts): an arena, its workers with their cores, and the
 * streams that a worker has to others.
 */
import {
  type ClusterReport,
  DROP_DELAY_MS,
  type TopologyMember,
  type TopologyView,
  WorkerCore,
} from '../../src/cluster/index.js';
import { helloExtras, Opcode, peerHello, Role, requestFrame, responseFrame, Status } from '../../src/protocol/index.js';
import { loadAddon, type NativeArena, type NativeWorker, OutputFlag } from '../../src/store/index.js';

export const SLOTS = 64;
export const SLOTS_PER_SEGMENT = 4;
const INPUT_BYTES = 64 * 1024;
const ARENA_BYTES = 4 * 1024 * 1024;
const VALUE_BYTES_MAX = 64 * 1024;
const addon = loadAddon();

/** What a node sees of the cluster it is in. */
interface CopyWorld {
  readonly nowMs: number;
  readonly onPartition: 'serve' | 'fence';
  seed(): bigint;
  random(): number;
  dial(from: CopyWorker, target: TopologyMember): void;
  later(work: () => void): void;
  /** Until nothing is left to do. */
  run(): void;
}

/** One end of a byte stream. */
export interface Stream {
  other: Stream | undefined;
  receive: (bytes: Buffer) => void;
  end: () => void;
}

export class CopyNode {
  readonly arena: NativeArena;
  readonly number: number;
  workers: CopyWorker[] = [];
  report: ClusterReport | undefined;
  readonly events: { readonly event: string; readonly details: Readonly<Record<string, unknown>> }[] = [];

  constructor(
    readonly world: CopyWorld,
    readonly member: TopologyMember,
    workers: number,
  ) {
    this.number = member.number;
    this.arena = addon.create({
      bytes: ARENA_BYTES,
      valueBytesMax: VALUE_BYTES_MAX,
      nodeName: member.name,
      nodeNumber: member.number,
      replicated: true,
      geometry: {
        segments: SLOTS / SLOTS_PER_SEGMENT,
        slotsPerSegment: SLOTS_PER_SEGMENT,
        regionBytes: 64 * 1024,
        pageBytes: 4096,
      },
      clock: 'manual',
      seed: world.seed(),
      hashSeed: 7n,
    });
    this.arena.setClock(world.nowMs);
    for (let i = 0; i < workers; i++) this.workers.push(new CopyWorker(this));
  }

  /** How often something was logged. */
  count(event: string): number {
    return this.events.filter((line) => line.event === event).length;
  }

  sum(event: string, field: string): number {
    return this.events
      .filter((line) => line.event === event)
      .reduce((sum, { details }) => sum + Number(details[field]), 0);
  }

  /** One worker ends in order, and gives its place back. */
  stopWorker(index: number): void {
    this.workers.splice(index, 1)[0]?.kill();
    this.world.run();
  }

  kill(): void {
    for (const worker of this.workers) worker.kill();
    this.workers = [];
    this.arena.close(false);
  }
}

interface Socket {
  readonly stream: Stream;
  peer: number;
  readonly isLink: boolean;
  epochAwaited: number;
}

export class CopyWorker {
  readonly native: NativeWorker;
  readonly core: WorkerCore;
  isDead = false;
  readonly #sockets = new Map<number, Socket>();
  readonly #input = Buffer.alloc(INPUT_BYTES);
  readonly #output: Buffer;

  constructor(readonly node: CopyNode) {
    const { arena, member, world } = node;
    this.native = arena.worker();
    this.#output = Buffer.alloc(this.native.outputBytesMin);
    this.native.useInput(this.#input);
    this.native.useOutput(this.#output);
    this.core = new WorkerCore({
      self: { name: member.name, number: member.number, incarnation: arena.incarnation },
      onPartition: world.onPartition,
      rebalanceBytesPerSecond: 0,
      native: this.native,
      slots: SLOTS,
      slotsPerSegment: SLOTS_PER_SEGMENT,
      dropDelayMs: DROP_DELAY_MS,
      installedEpoch: () => arena.epoch(),
      isFenced: () => false,
      requestsServed: () => 0,
      bytesHeld: () => arena.stats().bytes,
      evictions: () => arena.stats().evictions,
      monoMs: () => world.nowMs,
      wallMs: () => world.nowMs,
      random: () => world.random(),
      later: (_, run) => world.later(run),
      dial: (target) => world.dial(this, target),
      hangUp: (connection) => world.later(() => this.#close(connection)),
      answer: (connection, frame) => this.#write(connection, frame),
      flush: () => this.#flush(),
      report: (report) => {
        node.report = report;
      },
      learned: () => this.#release(),
      log: (event, details) => node.events.push({ event, details }),
    });
  }

  get id(): number {
    return this.native.id;
  }

  adopt(view: TopologyView): void {
    this.core.adopt(view);
    this.#release();
  }

  tick(): void {
    this.native.tick();
    this.#attend(this.native.flags[0] as number);
    this.core.tick();
    this.#release();
  }

  accept(stream: Stream): void {
    const connection = this.native.connect();
    this.#attach(connection, stream, { peer: 0, isLink: false });
  }

  linkTo(worker: CopyWorker): void {
    const theirs: Stream = { other: undefined, receive: () => {}, end: () => {} };
    worker.accept(theirs);
    const remote = theirs.other as Stream;
    // The handshake is the daemon's (peer-dial.ts); here its frames are enough for native code.
    const hello = peerHello({ number: this.node.number, nonce: Buffer.alloc(32) });
    remote.receive(requestFrame({ opcode: Opcode.HELLO, id: 1, extras: helloExtras(Role.PEER, 0), value: hello }));
    remote.receive(requestFrame({ opcode: Opcode.AUTHENTICATE, id: 2 }));
    this.node.world.run();
    const connection = this.native.connect();
    const ours: Stream = { other: remote, receive: () => {}, end: () => {} };
    remote.other = ours;
    this.#sockets.set(connection, { stream: ours, peer: worker.node.number, isLink: true, epochAwaited: 0 });
    ours.receive = (bytes) => this.#received(connection, bytes);
    ours.end = () => this.#close(connection);
    this.core.dialed(worker.node.number, connection);
  }

  /** Ends all streams between this worker and a node. */
  dropStreams(peer: number): void {
    for (const [connection, socket] of [...this.#sockets]) if (socket.peer === peer) this.#close(connection);
  }

  kill(): void {
    for (const { stream } of this.#sockets.values()) {
      const { other } = stream;
      if (other !== undefined) this.node.world.later(() => other.end());
    }
    this.#sockets.clear();
    this.isDead = true;
    this.native.close();
  }

  #attach(connection: number, far: Stream, { peer, isLink }: { peer: number; isLink: boolean }): void {
    const near: Stream = {
      other: far,
      receive: (bytes) => this.#received(connection, bytes),
      end: () => this.#close(connection),
    };
    far.other = near;
    this.#sockets.set(connection, { stream: near, peer, isLink, epochAwaited: 0 });
  }

  #received(connection: number, bytes: Buffer): void {
    this.node.world.later(() => {
      for (let at = 0; at < bytes.length && this.#sockets.has(connection); at += INPUT_BYTES) {
        this.#execute(connection, bytes.copy(this.#input, 0, at, Math.min(bytes.length, at + INPUT_BYTES)));
      }
    });
  }

  #execute(connection: number, bytes: number): void {
    for (let taken = bytes; this.#sockets.has(connection); taken = 0) {
      const length = this.native.execute(connection, taken);
      const [flags, , epoch] = this.native.flags as unknown as [number, number, number];
      if (length > 0) this.#write(connection, Buffer.from(this.#output.subarray(0, length)));
      const hasAnswered = this.#attend(flags);
      const socket = this.#sockets.get(connection);
      if (socket !== undefined && (flags & OutputFlag.BEHIND) !== 0) {
        if (!socket.isLink) socket.epochAwaited = epoch;
        this.core.onBehind(epoch, socket.peer);
        return;
      }
      if ((flags & OutputFlag.CLOSE) !== 0) throw new Error('a peer broke the protocol');
      if ((flags & OutputFlag.MORE) === 0 && !hasAnswered) return;
    }
  }

  #attend(flags: number): boolean {
    if ((flags & OutputFlag.OTHERS) !== 0) this.#flush();
    if ((flags & OutputFlag.CONTROL) === 0) return false;
    const frames = this.native.takeControl();
    for (const frame of frames) {
      const socket = this.#sockets.get(frame.connection);
      if (socket === undefined) continue;
      const { opcode, requestId: id } = frame;
      let answer: Buffer | undefined = responseFrame({ status: Status.OK, id });
      if (opcode === Opcode.HELLO) {
        const isPeer = frame.extras[6] === Role.PEER;
        if (isPeer) socket.peer = frame.value.readUInt16LE(0);
        else this.native.greet(frame.connection, Role.CLIENT);
      } else if (opcode === Opcode.AUTHENTICATE) {
        this.native.greet(frame.connection, Role.PEER, socket.peer);
      } else if (opcode === Opcode.TOPOLOGY) {
        answer = responseFrame({ status: Status.OK, id, value: Buffer.from(JSON.stringify(this.core.topology)) });
      } else {
        answer = this.core.onControl(frame);
      }
      if (answer !== undefined) this.#write(frame.connection, answer);
    }
    this.core.onAnswers();
    return frames.length > 0;
  }

  #flush(): void {
    for (let connection = this.native.nextOutput(); connection >= 0; connection = this.native.nextOutput()) {
      this.#write(connection, Buffer.from(this.#output.subarray(0, this.native.flags[1])));
    }
  }

  #release(): void {
    for (const [connection, socket] of this.#sockets) {
      if (socket.epochAwaited === 0 || socket.epochAwaited > this.node.arena.epoch()) continue;
      socket.epochAwaited = 0;
      this.#execute(connection, 0);
    }
  }

  #write(connection: number, bytes: Buffer): void {
    this.#sockets.get(connection)?.stream.other?.receive(bytes);
  }

  #close(connection: number): void {
    const socket = this.#sockets.get(connection);
    if (socket === undefined) return;
    this.#sockets.delete(connection);
    const { other } = socket.stream;
    if (other !== undefined) this.node.world.later(() => other.end());
    this.native.disconnect(connection);
    this.#attend(this.native.flags[0] as number);
    if (socket.isLink) this.core.lost(connection);
    else if (socket.peer !== 0) this.core.inboundLost(socket.peer);
  }
}
