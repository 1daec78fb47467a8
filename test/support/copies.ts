/**
 * A small cluster in one process for tests of the worker's core: real arenas on a manual clock, real workers and cores,
 * and between them byte streams without delay that a test may cut. Time moves only when a test says so. What faults do
 * beyond that is the simulator's business (test/simulation/).
 */
import { installationOf, rowsOf, type TopologyMember, type TopologyView } from '../../src/cluster/index.js';
import { helloExtras, Opcode, Role, readResponse, requestFrame, Status } from '../../src/protocol/index.js';
import { type Installation, loadAddon, ROW_MAX } from '../../src/store/index.js';
import { CopyNode, type CopyWorker, SLOTS, type Stream } from './copy-node.js';

const BEGIN_MS = 1_700_000_000_000;
const TICK_MS = 100;
const addon = loadAddon();

export interface Reply {
  readonly status: number;
  readonly value: string;
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
    node.arena.install(installationOf(this.view, isFounding, rowsOf(this.view, SLOTS)));
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
    if (this.#installation?.epoch !== this.view.epoch) {
      this.#installation = installationOf(this.view, false, rowsOf(this.view, SLOTS));
    }
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
