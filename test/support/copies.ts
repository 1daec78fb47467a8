/**
 * A small cluster in one process for tests of the worker's core: real arenas on a manual clock, real workers and cores,
 * and between them byte streams without delay that a test may cut. Time moves only when a test says so. What faults do
 * beyond that is the simulator's business (test/simulation/).
 */
import {
  type ClusterReport,
  installationOf,
  type TopologyMember,
  type TopologyView,
  WorkerCore,
} from '../../src/cluster/index.js';
import {
  helloExtras,
  Opcode,
  peerHello,
  Role,
  readResponse,
  requestFrame,
  responseFrame,
  Status,
} from '../../src/protocol/index.js';
import {
  type Installation,
  loadAddon,
  type NativeArena,
  type NativeWorker,
  OutputFlag,
  ROW_MAX,
} from '../../src/store/index.js';

export const SLOTS = 64;
const SLOTS_PER_SEGMENT = 4;
const BEGIN_MS = 1_700_000_000_000;
const TICK_MS = 100;
const INPUT_BYTES = 64 * 1024;
const ARENA_BYTES = 4 * 1024 * 1024;
const VALUE_BYTES_MAX = 64 * 1024;
const addon = loadAddon();

export interface Reply {
  readonly status: number;
  readonly value: string;
}

/** One end of a byte stream. */
interface Stream {
  other: Stream | undefined;
  receive: (bytes: Buffer) => void;
  end: () => void;
}

export class Copies {
  nowMs = BEGIN_MS;
  readonly nodes = new Map<number, CopyNode>();
  view: TopologyView;
  readonly onPartition: 'serve' | 'fence';
  /** Pairs of node numbers, in both orders, between which nothing can be dialled. */
  readonly #cut = new Set<string>();
  #installation: Installation | undefined;
  #work: (() => void)[] = [];
  #random = 1;
  #memories = 0;

  constructor(names: readonly string[], rf: number, { onPartition = 'serve', workers = 2 }: CopiesOptions = {}) {
    this.onPartition = onPartition;
    this.view = {
      epoch: 1,
      rf,
      isFilling: false,
      members: names.map((name, index) => ({
        name,
        number: index + 1,
        address: `${name}:1`,
        zone: '',
        weight: 1,
        state: 'in',
      })),
    };
    for (const { number } of this.view.members) this.start(number, { isFounding: true, workers });
    this.advance(2_000);
  }

  node(number: number): CopyNode {
    return this.nodes.get(number) as CopyNode;
  }

  /** A node with a new, empty memory. */
  start(number: number, { isFounding = false, workers = 2 } = {}): CopyNode {
    const member = this.view.members.find((candidate) => candidate.number === number) as TopologyMember;
    const node = new CopyNode(this, member, workers);
    node.arena.install(installationOf(this.view, isFounding, SLOTS));
    this.nodes.set(number, node);
    for (const worker of node.workers) worker.core.adopt(this.view);
    this.run();
    return node;
  }

  /** The machine is gone. */
  kill(number: number): void {
    this.node(number).kill();
    this.nodes.delete(number);
    this.run();
  }

  /** The next epoch, with these states; told to those nodes only, if some are named. */
  change(
    states: Readonly<Record<number, TopologyMember['state']>>,
    { isFilling = false, told = [...this.nodes.keys()] } = {},
  ): void {
    const members = this.view.members.map((member) => ({ ...member, state: states[member.number] ?? member.state }));
    this.view = { ...this.view, epoch: this.view.epoch + 1, isFilling, members };
    for (const number of told) this.tell(number);
  }

  tell(number: number): void {
    for (const worker of this.node(number).workers) worker.adopt(this.view);
    this.run();
  }

  cut(a: number, b: number): void {
    this.#cut.add(`${a} ${b}`).add(`${b} ${a}`);
    for (const worker of this.node(a).workers) worker.dropStreams(b);
    for (const worker of this.node(b).workers) worker.dropStreams(a);
    this.run();
  }

  heal(): void {
    this.#cut.clear();
  }

  advance(ms: number): void {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; ) {
      this.nowMs += TICK_MS;
      for (const node of this.nodes.values()) node.arena.setClock(this.nowMs);
      for (const node of this.nodes.values()) for (const worker of node.workers) worker.tick();
      this.run();
    }
  }

  /** Numbers of the nodes in a key's row, the leader first. */
  rowOf(key: string): number[] {
    if (this.#installation?.epoch !== this.view.epoch) this.#installation = installationOf(this.view, false, SLOTS);
    const at = (addon.slotOf(Buffer.from(key)) % SLOTS) * ROW_MAX;
    return [...this.#installation.rows.subarray(at, at + ROW_MAX)].filter((number) => number !== 0);
  }

  leaderOf(key: string): number {
    return this.rowOf(key)[0] as number;
  }

  /** A request to a node, and its answer; undefined while there is none. */
  ask(number: number, frame: Buffer): () => Reply | undefined {
    const answers: Buffer[] = [];
    const worker = this.node(number).workers[0] as CopyWorker;
    const end: Stream = { other: undefined, receive: (bytes) => answers.push(bytes), end: () => {} };
    worker.accept(end);
    end.other?.receive(requestFrame({ opcode: Opcode.HELLO, id: 1, extras: helloExtras(Role.CLIENT, 0) }));
    end.other?.receive(frame);
    this.run();
    return () => {
      const bytes = Buffer.concat(answers);
      const helloBytes = bytes.length < 4 ? 0 : 4 + bytes.readUInt32LE(0);
      if (bytes.length <= helloBytes) return undefined;
      const { status, value } = readResponse(bytes, helloBytes);
      return { status, value: value.toString() };
    };
  }

  set(key: string, value: string, { at = this.leaderOf(key), level = 0 } = {}): number | undefined {
    const parts = { extras: Buffer.alloc(8), key: Buffer.from(key), value: Buffer.from(value) };
    return this.ask(at, requestFrame({ opcode: Opcode.SET, id: 2, flags: level, ...parts }))()?.status;
  }

  /** What a node answers to a read; `level` 3 asks its own copy. */
  get(key: string, { at = this.leaderOf(key), level = 0 } = {}): string | undefined {
    const reply = this.ask(at, requestFrame({ opcode: Opcode.GET, id: 2, flags: level, key: Buffer.from(key) }))();
    if (reply === undefined) return undefined;
    if (reply.status === Status.OK) return reply.value;
    return reply.status === Status.NOT_FOUND ? '' : `status ${reply.status}`;
  }

  later(work: () => void): void {
    this.#work.push(work);
  }

  /** A memory that is made anew is another one. */
  seed(): bigint {
    return BigInt(++this.#memories);
  }

  random(): number {
    this.#random = (this.#random * 48_271) % 2_147_483_647;
    return this.#random / 2_147_483_647;
  }

  dial(from: CopyWorker, { number }: TopologyMember): void {
    this.later(() => {
      const target = this.nodes.get(number);
      const isCut = this.#cut.has(`${from.node.number} ${number}`);
      const worker = target?.workers[from.id % target.workers.length];
      if (worker === undefined || isCut || from.isDead) from.core.dialFailed(number, 'nobody is there');
      else from.linkTo(worker);
    });
  }

  run(): void {
    for (let work = this.#work.shift(); work !== undefined; work = this.#work.shift()) work();
  }

  close(): void {
    for (const node of this.nodes.values()) node.kill();
    this.nodes.clear();
    this.#work = [];
  }
}

export interface CopiesOptions {
  readonly onPartition?: 'serve' | 'fence';
  readonly workers?: number;
}

export class CopyNode {
  readonly arena: NativeArena;
  readonly number: number;
  workers: CopyWorker[] = [];
  report: ClusterReport | undefined;
  readonly events: { readonly event: string; readonly details: Readonly<Record<string, unknown>> }[] = [];

  constructor(
    readonly world: Copies,
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
      native: this.native,
      slots: SLOTS,
      slotsPerSegment: SLOTS_PER_SEGMENT,
      installedEpoch: () => arena.epoch(),
      isFenced: () => false,
      evictions: () => arena.stats().evictions,
      monoMs: () => world.nowMs,
      wallMs: () => world.nowMs,
      random: () => world.random(),
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
