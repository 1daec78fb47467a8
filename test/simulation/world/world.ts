/**
 * The world of one run: time, chance, a network, a registry and the nodes, all from one seed. Whatever happens is noted
 * in a trace, whose hash says whether two runs were the same, event for event.
 */
import { createHash, type Hash } from 'node:crypto';
import type { ProbeResult } from '../../../src/cluster/control/index.js';
import {
  type BaseMember,
  type MemberRecord,
  memberKey,
  participantsOf,
  TopologyRecord,
  type TopologyView,
  topologyView,
} from '../../../src/cluster/index.js';
import {
  frameBytes,
  helloExtras,
  Opcode,
  Role,
  readResponse,
  requestFrame,
  Status,
} from '../../../src/protocol/index.js';
import type { Mutations } from './mutations.js';
import { Network } from './network.js';
import { SimNode } from './node.js';
import type { SimWorld, WorldOptions } from './parts.js';
import { Random } from './random.js';
import { RegistryModel } from './registry.js';
import { Schedule } from './schedule.js';

/** Lines of the trace kept for showing. */
const NOTES_MAX = 400;

export class World implements SimWorld {
  readonly random: Random;
  readonly schedule: Schedule;
  readonly network: Network;
  readonly registry: RegistryModel;
  readonly nodes: readonly SimNode[];
  /** Named states that this run reached. */
  readonly reached = new Set<string>();
  readonly mutations: Mutations;
  /** Epochs in which the list of members changed. */
  readonly changes = new Set<number>();
  /** Slots of which a node said that acknowledged writes may be missing. */
  readonly reportedLosses = new Set<number>();
  /** What must never happen, and did. */
  readonly violations: string[] = [];
  readonly #wanted = new Map<string, 'in' | 'drain'>();
  readonly #trace: Hash = createHash('sha256');
  readonly #notes: string[] = [];
  #current: TopologyRecord['current'];

  constructor(
    readonly seed: number,
    readonly options: WorldOptions,
    mutations: Mutations = new Set(),
  ) {
    this.mutations = mutations;
    this.random = new Random(seed);
    this.schedule = new Schedule(this.random.fork());
    this.network = new Network(this.schedule, this.random.fork());
    this.registry = new RegistryModel(this.schedule, this.random.fork());
    const base = Array.from({ length: options.nodes }, (_, index): BaseMember => {
      return { name: `n${index + 1}`, number: index + 1, zone: `z${index % options.zones}`, weight: 1 };
    });
    this.#current = this.#found(base);
    this.registry.watchAll((key, value) => {
      if (key !== 'topology') return;
      const topology = TopologyRecord.parse(value);
      if (topology.current.next !== undefined) this.changes.add(topology.current.epoch);
      this.sometimes(topology.current.isCancelled, 'a change was called off');
      this.sometimes(topology.current.base.length < this.#current.base.length, 'a member has left');
      this.#topologyChanged(topology);
    });
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
    const topology = TopologyRecord.parse(this.registry.peek('topology')?.value);
    const members = participantsOf(topology.current).map(({ name }): [string, MemberRecord] => {
      return [name, this.registry.peek(memberKey(name))?.value as MemberRecord];
    });
    return topologyView(topology, this.options.rf, new Map(members));
  }

  /** What an operator does: asks a member to leave, or to stay. */
  want(name: string, wanted: 'in' | 'drain'): void {
    this.#wanted.set(name, wanted);
    const record = this.registry.peek(memberKey(name));
    if (record === undefined) return;
    const value = { ...(record.value as MemberRecord), wanted };
    this.registry.put('operator', { key: memberKey(name), value, revision: record.revision }, (outcome) => {
      const newest = this.#wanted.get(name) as 'in' | 'drain';
      if (outcome.kind !== 'put' && newest === wanted) this.want(name, newest);
    });
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
  #topologyChanged({ current }: TopologyRecord): void {
    const before = this.#current;
    this.#current = current;
    if (current.epoch > before.epoch || JSON.stringify(current) === JSON.stringify(before)) return;
    this.violation(`epoch ${before.epoch} was followed by another epoch ${current.epoch}`);
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
