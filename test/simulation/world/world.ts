/**
 * The world of one run: time, chance, a network, a registry and the nodes, all from one seed. Whatever happens is noted
 * in a trace, whose hash says whether two runs were the same, event for event.
 */
import { createHash, type Hash } from 'node:crypto';
import type { ProbeResult } from '../../../src/cluster/control/index.js';
import {
  type AliveRecord,
  aliveKey,
  type BaseMember,
  type MemberRecord,
  memberKey,
  participantsOf,
  TopologyRecord,
  type TopologyView,
  topologyView,
} from '../../../src/cluster/index.js';
import { rowsOf } from '../../../src/cluster/rows.js';
import { Layout } from '../../../src/cluster/worker/layout.js';
import {
  frameBytes,
  helloExtras,
  Opcode,
  Role,
  readResponse,
  requestFrame,
  Status,
} from '../../../src/protocol/index.js';
import { Membership } from './membership.js';
import { Moves } from './moves.js';
import type { Mutations } from './mutations.js';
import { Network } from './network.js';
import { SimNode, SLOTS } from './node.js';
import type { SimWorld, WorldOptions } from './parts.js';
import { Random } from './random.js';
import { RegistryModel } from './registry.js';
import { Schedule } from './schedule.js';

/** Lines of the trace kept for showing. */
const NOTES_MAX = 400;
/** Between a node and a client. */
const CLIENT_BYTES_PER_MS = 100_000;

export class World implements SimWorld {
  readonly random: Random;
  readonly schedule: Schedule;
  readonly network: Network;
  readonly registry: RegistryModel;
  /** Those that are to come are added, those that left stay. */
  readonly nodes: SimNode[];
  readonly membership: Membership;
  readonly moves: Moves;
  /** Named states that this run reached. */
  readonly reached = new Set<string>();
  readonly mutations: Mutations;
  /** Epochs in which the list of members changed. */
  readonly changes = new Set<number>();
  /** Slots of which a node said that acknowledged writes may be missing. */
  readonly reportedLosses = new Set<number>();
  /** What must never happen, and did. */
  readonly violations: string[] = [];
  #viewed: { readonly revision: number; readonly view: TopologyView } | undefined;
  #layout: Layout | undefined;
  #memoryLostAtMs = Number.NEGATIVE_INFINITY;
  readonly #trace: Hash = createHash('sha256');
  readonly #notes: string[] = [];
  #current: TopologyRecord['current'];

  constructor(
    readonly seed: number,
    readonly options: WorldOptions,
    mutations: Mutations = new Set(),
    /** Nothing but planned changes happens. */
    readonly isQuiet: boolean = false,
  ) {
    this.mutations = mutations;
    this.random = new Random(seed);
    this.schedule = new Schedule(this.random.fork());
    this.network = new Network(this.schedule, this.random.fork(), (from, to) =>
      this.#isNode(from) && this.#isNode(to) ? options.linkBytesPerMs : CLIENT_BYTES_PER_MS,
    );
    this.registry = new RegistryModel(this.schedule, this.random.fork());
    const base = Array.from({ length: options.nodes }, (_, index): BaseMember => {
      return { name: `n${index + 1}`, number: index + 1, zone: `z${index % options.zones}`, weight: 1 };
    });
    this.#current = this.#found(base);
    this.registry.watchAll((key, value) => {
      if (key === 'topology') this.#topologyChanged(TopologyRecord.parse(value));
      else if (key.startsWith('alive/')) this.#reported();
    });
    this.moves = new Moves(this, isQuiet);
    this.membership = new Membership(this, this.random.fork());
    this.nodes = base.map((member) => new SimNode(this, member, this.random.fork()));
  }

  /** Notes an event of the run. */
  note(text: string): void {
    const line = `${this.schedule.nowMs.toFixed(3)} ${text}`;
    this.#trace.update(line).update('\n');
    this.#notes.push(line);
    if (this.#notes.length > 2 * NOTES_MAX) this.#notes.splice(0, NOTES_MAX);
  }

  violation(text: string): void {
    this.note(`VIOLATION ${text}`);
    this.violations.push(text);
  }

  /** "This set of runs must reach such a state": SIMULATION.md's sometimes(). */
  sometimes(condition: boolean, name: string): void {
    if (condition) this.reached.add(name);
  }

  get notes(): readonly string[] {
    return this.#notes.slice(-NOTES_MAX);
  }

  /** Ends the trace. */
  traceHash(): string {
    this.#trace.update(`${this.schedule.steps} ${this.schedule.hash}`);
    return this.#trace.digest('hex').slice(0, 16);
  }

  /** What the registry holds, as clients would be told. */
  get view(): TopologyView {
    const { revision } = this.registry;
    if (this.#viewed?.revision !== revision) this.#viewed = { revision, view: this.#makeView() };
    return this.#viewed.view;
  }

  /** Whose the slots are by the newest epoch. */
  get layout(): Layout {
    const { view } = this;
    if (this.#layout?.epoch !== view.epoch) this.#layout = new Layout(view, rowsOf(view, SLOTS));
    return this.#layout;
  }

  memoryLost(): void {
    this.#memoryLostAtMs = this.schedule.nowMs;
  }

  /** Whether all memories are the same as at that moment. */
  keptMemoriesSince(ms: number): boolean {
    return this.#memoryLostAtMs < ms;
  }

  /** The name of the node that a slot is to be handed to. */
  goalOf(slot: number): string {
    const number = this.layout.goalOf(slot);
    return this.nodes.find(({ member }) => member.number === number)?.name ?? '';
  }

  /** Members that are to be in the list. */
  wantedNames(): string[] {
    return this.nodes.flatMap(({ name }) => (this.#recordOf(name)?.wanted === 'in' ? [name] : []));
  }

  isAskedToGo(name: string): boolean {
    return this.#recordOf(name)?.wanted === 'drain';
  }

  #recordOf(name: string): MemberRecord | undefined {
    return this.registry.peek(memberKey(name))?.value as MemberRecord | undefined;
  }

  /** Its record is there, so its daemon was started once. */
  isEnlisted(name: string): boolean {
    return this.registry.peek(memberKey(name)) !== undefined;
  }

  /** A node that is not in the list of members yet. */
  addNode(zone: string, weight: number): SimNode {
    const number = this.nodes.length + 1;
    const node = new SimNode(this, { name: `n${number}`, number, zone, weight }, this.random.fork());
    this.nodes.push(node);
    return node;
  }

  #isNode(host: string): boolean {
    return this.nodes.some(({ name }) => name === host);
  }

  #makeView(): TopologyView {
    const topology = TopologyRecord.parse(this.registry.peek('topology')?.value);
    const members = participantsOf(topology.current).map(({ name }): [string, MemberRecord] => {
      return [name, this.registry.peek(memberKey(name))?.value as MemberRecord];
    });
    return topologyView(topology, this.options.rf, new Map(members));
  }

  close(): void {
    for (const node of this.nodes) {
      for (const worker of node.workers) worker.native.close();
      node.arena.close(false);
    }
  }

  /** Asks a worker of a node who it is, as the coordinator does. */
  probe(from: string, member: MemberRecord, timeoutMs: number, done: (result: ProbeResult) => void): void {
    let isOver = false;
    let hangUp = (): void => {};
    const end = (result: ProbeResult): void => {
      if (isOver) return;
      isOver = true;
      hangUp();
      attempt.cancel();
      done(result);
    };
    const attempt = this.network.connect(from, member.address, {
      failed: () => end('refused'),
      opened: (connection) => {
        hangUp = () => connection.close();
        const key = Buffer.from(String(this.nodes.find(({ name }) => name === from)?.member.number ?? 0));
        const extras = helloExtras(Role.PEER, 0);
        connection.write(requestFrame({ opcode: Opcode.HELLO, id: 1, extras, key }));
        connection.write(requestFrame({ opcode: Opcode.PROBE, id: 2 }));
        let received = Buffer.alloc(0);
        return {
          received: (bytes) => {
            received = Buffer.concat([received, bytes]);
            for (let length = frameBytes(received, 0); length !== undefined && received.length >= length; ) {
              const answer = readResponse(received, 0);
              if (answer.id === 2 && answer.status === Status.OK) end(JSON.parse(answer.value.toString()));
              received = received.subarray(length);
              length = frameBytes(received, 0);
            }
          },
          lost: () => end('silent'),
        };
      },
    });
    this.schedule.after(timeoutMs, () => end('silent'));
  }

  /** An epoch has one meaning, and the next has a higher number. */
  #topologyChanged(topology: TopologyRecord): void {
    const { current } = topology;
    const before = this.#current;
    this.#current = current;
    if (current.epoch <= before.epoch && JSON.stringify(current) !== JSON.stringify(before)) {
      this.violation(`epoch ${before.epoch} was followed by another epoch ${current.epoch}`);
    }
    const hasBegun = before.next === undefined && current.next !== undefined;
    if (current.next !== undefined) this.changes.add(current.epoch);
    this.sometimes(current.isCancelled, 'a change was called off');
    this.sometimes(current.base.length < before.base.length, 'a member has left');
    this.sometimes(current.base.length > before.base.length, 'a member has joined');
    const isShorter = (current.next?.length ?? Number.POSITIVE_INFINITY) < (before.next?.length ?? 0);
    this.sometimes(isShorter, 'a change shrank');
    this.sometimes(before.next !== undefined && current.away.length > before.away.length, 'a change lost a member');
    if (hasBegun) this.moves.tell({ phase: 'doubling', ...this.#ends(current) });
    this.membership.topologyChanged(topology);
  }

  /** All but one of those who take part in a change say that they are done. */
  #reported(): void {
    const { epoch, next } = this.#current;
    if (next === undefined) return;
    const records = participantsOf(this.#current).map(({ name }) => this.registry.peek(aliveKey(name))?.value);
    const isDone = (value: unknown): boolean => {
      const record = value as AliveRecord | undefined;
      return record?.epoch === epoch && record.syncedEpoch === epoch && record.handOvers === 0;
    };
    if (records.filter(isDone).length >= records.length - 1)
      this.moves.tell({ phase: 'ending', ...this.#ends(this.#current) });
  }

  /** Somebody who gives slots away, and somebody who gets some. */
  #ends({ base, next = [] }: TopologyRecord['current']): { source: string; receiver: string } {
    const isIn = (list: readonly BaseMember[], name: string): boolean => list.some((member) => member.name === name);
    const source = base.find(({ name }) => !isIn(next, name)) ?? base[0];
    const receiver = next.find(({ name }) => !isIn(base, name)) ?? next.find(({ name }) => name !== source?.name);
    return { source: source?.name ?? '', receiver: receiver?.name ?? '' };
  }

  #found(base: readonly BaseMember[]): TopologyRecord['current'] {
    const topology = TopologyRecord.parse({ counter: 1, current: { epoch: 1, base } });
    this.registry.found('topology', topology);
    for (const member of base) {
      this.registry.found(memberKey(member.name), {
        ...member,
        address: `${member.name}:7411`,
        wanted: 'in',
        incarnation: '',
      });
    }
    return topology.current;
  }
}
