/**
 * The control plane of one node: takes what the registry's watch and the workers tell, keeps the node's own records,
 * and coordinates the cluster while it holds the coordinator's lease.
 *
 *   records ─▶ what is known ─▶ decide() ─▶ probe, publish, renew ─▶ records
 *
 * One thing at a time: while a round of probes or a change of a record is under way nothing else is decided, and after
 * a change whose outcome is unknown the record is read again first. A topology is put only on top of the version it was
 * made from, and only while the coordinator's record is the one this node holds: of two who both believe, one is
 * refused.
 */
import {
  AliveRecord,
  type EpochRecord,
  MemberRecord,
  memberKey,
  participantsOf,
  RebalanceRecord,
  TopologyRecord,
  type TopologyView,
  topologyView,
} from '../records.js';
import type { RecordKey, RegistryAbsence, RegistryRecord } from '../registry.js';
import type { ClusterReport } from '../worker/index.js';
import { decide, type Known } from './coordinator.js';
import type { ControlEnv, ControlLease, PutOutcome, Timer } from './env.js';
import { type Expectation, Leases, Prober } from './failure.js';
import { Member } from './member.js';
import { ChangeProgress, type RebalanceStatus } from './progress.js';

/**
 * Leases' lives for which those are not judged whom this node has not seen yet; members that never started get the
 * grace.
 */
const PATIENCE_LIVES = 2;
/** How often what is due by time is looked for. */
const TICK_MS = 100;

export interface ControlOptions {
  readonly name: string;
  readonly incarnation: string;
  readonly rf: number;
  readonly isFencing: boolean;
  readonly ttlMs: number;
  readonly graceMs: number;
  readonly rejoinWindowMs: number;
}

interface Revised<T> {
  readonly revision: number;
  readonly value: T;
}

export class ControlPlane {
  readonly #env: ControlEnv;
  readonly #options: ControlOptions;
  readonly #member: Member;
  readonly #leases: Leases;
  readonly #prober: Prober;
  readonly #members = new Map<string, Revised<MemberRecord>>();
  readonly #awaySinceMs = new Map<string, number>();
  readonly #progress = new ChangeProgress();
  #topology: Revised<TopologyRecord>;
  #rebalance: Revised<RebalanceRecord> | undefined;
  #epochSinceMs: number;
  /** Learned from a peer, while the registry has not told of it. */
  #peerView: TopologyView | undefined;
  #shownView = '';
  #isChanging = false;
  #timer: Timer | undefined;

  constructor(env: ControlEnv, options: ControlOptions, topology: Revised<TopologyRecord>) {
    this.#env = env;
    this.#options = options;
    this.#topology = topology;
    this.#epochSinceMs = env.monoMs();
    this.#leases = new Leases(env.monoMs());
    this.#prober = new Prober(env);
    this.#member = new Member(env, { ...options, onLease: (stands) => this.#onLease(stands) });
    this.#noteAway(topology.value.current);
  }

  /**
   * Begins to act; records may have been told before. `opened`: a lease with `told`, this node's record, held under it.
   */
  start(opened?: { readonly lease: ControlLease; readonly told: AliveRecord }): void {
    this.#member.begin(opened);
    this.#shownView = JSON.stringify(this.view);
    this.#progress.saw({ view: this.view, alive: this.#leases.alive, nowMs: this.#env.monoMs() });
    this.#tick();
  }

  /** Ends, and gives the lease up. */
  close(done: () => void): void {
    if (this.#timer !== undefined) this.#env.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#member.close(done);
  }

  get view(): TopologyView {
    const records = new Map([...this.#members].map(([name, { value }]) => [name, value]));
    const view = topologyView(this.#topology.value, this.#options.rf, records, this.#rebalance?.value);
    return this.#peerView !== undefined && this.#peerView.epoch > view.epoch ? this.#peerView : view;
  }

  /** What others are to be told of this node. */
  get aliveRecord(): AliveRecord {
    return this.#member.aliveRecord();
  }

  /** How far a change of the list of members is, by what the nodes say of themselves. */
  get rebalance(): RebalanceStatus {
    return this.#progress.status({ view: this.view, alive: this.#leases.alive, nowMs: this.#env.monoMs() });
  }

  get isCoordinator(): boolean {
    return this.#member.coordinatorRevision !== undefined;
  }

  /** The node is about to stop: others are to lead what it leads. */
  rest(): void {
    this.#member.rest();
  }

  /** Whether another node serves, and is not about to stop too. */
  get hasOthers(): boolean {
    const { name: self } = this.#options;
    return this.view.members.some(
      ({ name, state, isJoining }) =>
        name !== self && state !== 'away' && isJoining !== true && this.#leases.alive.get(name)?.isResting === false,
    );
  }

  /** The lease that was handed to start() is lost. */
  readonly onLeaseLost = (): void => this.#member.onLost();

  onReport(report: ClusterReport): void {
    this.#member.report(report);
  }

  /** A worker learned of an epoch from a peer, which may know of it before the registry tells, or in its absence. */
  onPeerView(view: TopologyView): void {
    if (view.epoch <= this.view.epoch) return;
    this.#peerView = view;
    this.#show();
  }

  /**
   * What the registry's watch tells. Records of another release, or of a hand, are left alone: what was known stays.
   */
  onRecord(told: RegistryRecord | RegistryAbsence): void {
    const { key, value } = told;
    if (key === 'topology') this.#onTopology(told);
    else if (key === 'rebalance') this.#onRebalance(told);
    else if (key === 'coordinator') this.#member.coordinated(value !== undefined);
    else if (key.startsWith('members/')) this.#onMember(told);
    else if (key.startsWith('alive/')) this.#onAlive(key.slice('alive/'.length), value);
    this.#show();
    this.#step();
  }

  #onTopology({ value, revision }: RegistryRecord | RegistryAbsence): void {
    const parsed = TopologyRecord.safeParse(value);
    if (!parsed.success || parsed.data.counter <= this.#topology.value.counter) return;
    this.#takeTopology({ value: parsed.data, revision });
  }

  #takeTopology(topology: Revised<TopologyRecord>): void {
    if (topology.value.current.epoch > this.#topology.value.current.epoch) this.#epochSinceMs = this.#env.monoMs();
    this.#topology = topology;
    this.#noteAway(topology.value.current);
  }

  #noteAway({ away }: EpochRecord): void {
    for (const name of this.#awaySinceMs.keys()) if (!away.includes(name)) this.#awaySinceMs.delete(name);
    for (const name of away) {
      if (!this.#awaySinceMs.has(name)) this.#awaySinceMs.set(name, this.#env.monoMs());
    }
  }

  #onRebalance({ value, revision }: RegistryRecord | RegistryAbsence): void {
    const parsed = RebalanceRecord.safeParse(value);
    if (!parsed.success || revision <= (this.#rebalance?.revision ?? 0)) return;
    this.#rebalance = { value: parsed.data, revision };
  }

  #onMember({ value, revision }: RegistryRecord | RegistryAbsence): void {
    const parsed = MemberRecord.safeParse(value);
    if (!parsed.success || revision <= (this.#members.get(parsed.data.name)?.revision ?? 0)) return;
    this.#members.set(parsed.data.name, { value: parsed.data, revision });
  }

  #onAlive(name: string, value: unknown): void {
    const parsed = AliveRecord.safeParse(value);
    if (parsed.success) this.#leases.stands(parsed.data, this.#env.monoMs());
    else if (value === undefined) this.#leases.lapsed(name, this.#env.monoMs());
  }

  #onLease(stands: boolean): void {
    this.#leases.reset(this.#env.monoMs());
    this.#prober.forget();
    this.#env.log(stands ? 'lease' : 'no-lease', {});
  }

  #tick(): void {
    this.#member.step();
    this.#step();
    this.#timer = this.#env.setTimer(TICK_MS, () => this.#tick());
  }

  /** Tells the workers if there is something new to see: an epoch, where a member is, how fast data is to move. */
  #show(): void {
    const { view } = this;
    const text = JSON.stringify(view);
    if (text === this.#shownView) return;
    this.#shownView = text;
    this.#progress.saw({ view, alive: this.#leases.alive, nowMs: this.#env.monoMs() });
    this.#env.adopt(view);
  }

  #step(): void {
    if (!this.isCoordinator || this.#isChanging || this.#prober.isRunning) return;
    const nowMs = this.#env.monoMs();
    const decision = decide(this.#known(nowMs), nowMs);
    if (decision.kind === 'probe') {
      this.#prober.start(
        decision.names.flatMap((name) => this.#expectationOf(name)),
        () => this.#step(),
      );
    } else if (decision.kind === 'publish') {
      this.#publish(decision.epoch);
    } else if (decision.kind === 'renew') {
      this.#renew(decision.member);
    }
  }

  #known(nowMs: number): Known {
    const { name: self, isFencing, ttlMs, graceMs, rejoinWindowMs } = this.#options;
    const lapsed = participantsOf(this.#topology.value.current).flatMap(({ name }) => {
      const isExpected = (this.#members.get(name)?.value.incarnation ?? '') === '';
      const sinceMs = this.#leases.lapsedAtMs(name, nowMs, isExpected ? graceMs : PATIENCE_LIVES * ttlMs);
      return sinceMs === undefined ? [] : [[name, sinceMs] as const];
    });
    return {
      self,
      isFencing,
      ttlMs,
      graceMs,
      rejoinWindowMs,
      topology: this.#topology.value,
      members: new Map([...this.#members].map(([name, { value }]) => [name, value])),
      alive: this.#leases.alive,
      lapsedAtMs: new Map(lapsed),
      leasesChangedAtMs: this.#leases.changedAtMs,
      awaySinceMs: this.#awaySinceMs,
      round: this.#prober.last,
    };
  }

  #expectationOf(name: string): Expectation[] {
    const { epoch, away } = this.#topology.value.current;
    // A member of the base without a record of its own has never started: it has no address, and so does not answer.
    const founder = participantsOf(this.#topology.value.current).find((member) => member.name === name);
    if (founder === undefined) return [];
    const member = this.#members.get(name)?.value ?? {
      ...founder,
      address: '',
      wanted: 'in',
      incarnation: '',
      hasArena: false,
    };
    return [
      {
        member,
        incarnation: this.#leases.incarnationOf(member),
        epoch: away.includes(name) ? 0 : epoch,
        epochSinceMs: this.#epochSinceMs,
      },
    ];
  }

  #publish(epoch: EpochRecord): void {
    const { counter, current } = this.#topology.value;
    const { away, returning, isFilling, isCancelled } = epoch;
    const names = (members: EpochRecord['next']) => members?.map(({ name }) => name);
    const change = epoch.next === undefined ? {} : { next: names(epoch.next), isCancelled };
    const details = { epoch: epoch.epoch, base: names(epoch.base), away, returning, isFilling, ...change };
    this.#env.log('publish', { ...details, before: current.epoch });
    const value = { ...this.#topology.value, counter: counter + 1, current: epoch };
    this.#change('topology', { value, revision: this.#topology.revision }, (outcome) => {
      if (outcome.kind === 'done') this.#takeTopology({ value, revision: outcome.revision });
    });
  }

  #renew(value: MemberRecord): void {
    const revision = this.#members.get(value.name)?.revision ?? 0;
    this.#change(memberKey(value.name), { value, revision }, (outcome) => {
      if (outcome.kind === 'done') this.#members.set(value.name, { value, revision: outcome.revision });
    });
  }

  #change(key: RecordKey, { value, revision }: Revised<unknown>, took: (outcome: PutOutcome) => void): void {
    const token = this.#member.coordinatorRevision;
    if (token === undefined) return;
    this.#isChanging = true;
    const guard = { key: 'coordinator', revision: token } as const;
    this.#env.put({ key, value, revision, guard }, (outcome) => {
      took(outcome);
      if (outcome.kind === 'done') this.#goOn();
      else this.#readAgain(key);
    });
  }

  /** Somebody else was first, or nobody knows: what stands decides, after a moment. */
  #readAgain(key: RecordKey): void {
    this.#env.setTimer(TICK_MS, () =>
      this.#env.get(key, (found) => {
        if (found === undefined) return this.#readAgain(key);
        this.#isChanging = false;
        if (key === 'topology') this.#rebase(found.record);
        else if (found.record === undefined) this.#members.delete(key.slice('members/'.length));
        if (found.record !== undefined) this.onRecord(found.record);
      }),
    );
  }

  /**
   * Builds on the version that stands. One that is older than what is known was restored, and is brought up to date.
   */
  #rebase(record: RegistryRecord | undefined): void {
    const parsed = TopologyRecord.safeParse(record?.value);
    if (record !== undefined && !parsed.success) return;
    const { counter, current } = this.#topology.value;
    const counterFound = parsed.data?.counter ?? 0;
    if (counterFound > counter) return;
    this.#topology = { ...this.#topology, revision: record?.revision ?? 0 };
    if (counterFound < counter) this.#publish(current);
  }

  #goOn(): void {
    this.#isChanging = false;
    this.#show();
    this.#step();
  }
}
