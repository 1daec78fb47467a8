/**
 * A small world for control planes: virtual time, a registry by the rules of src/cluster/registry.ts, and nodes that
 * are killed, stopped, restarted with or without their memory, and cut off from the registry. Everything follows from a
 * seed.
 *
 * What the registry accepts is checked as it comes: no epoch is ever published that breaks a rule.
 */
import assert from 'node:assert';
import {
  type ControlEnv,
  type ControlLease,
  ControlPlane,
  type ProbeResult,
  type PutOutcome,
} from '../../src/cluster/control/index.js';
import {
  type AliveRecord,
  aliveKey,
  type Guard,
  type MemberRecord,
  memberKey,
  NO_REPORT,
  type RecordKey,
  type RegistryAbsence,
  type RegistryRecord,
  TopologyRecord,
  type TopologyView,
} from '../../src/cluster/index.js';

export const TTL_MS = 3_000;
export const GRACE_MS = 30_000;
/** The longest that a message, or a registry's answer, takes. */
const DELAY_MS_MAX = 20;
const SYNC_MS_MAX = 1_000;
const KEEPALIVE_MS = TTL_MS / 3;

interface Stored {
  readonly revision: number;
  readonly created: number;
  readonly value: unknown;
  readonly lease?: LeaseState;
}

interface LeaseState {
  expiresAtMs: number;
  isRevoked: boolean;
}

export interface WorldOptions {
  readonly nodes: number;
  readonly seed: number;
  readonly isFencing?: boolean;
  /** One in fifty answers of the registry is lost, after it did what it was asked. */
  readonly losesAnswers?: boolean;
}

export class ControlWorld {
  nowMs = 1_000;
  readonly nodes: readonly WorldNode[];
  /** Every version of the topology, oldest first. */
  readonly history: TopologyRecord[] = [];
  isRegistryUp = true;
  readonly losesAnswers: boolean;
  readonly records = new Map<RecordKey, Stored>();
  readonly #events: { atMs: number; order: number; run: () => void }[] = [];
  #random: number;
  #order = 0;
  #revision = 0;

  constructor({ nodes, seed, isFencing = false, losesAnswers = false }: WorldOptions) {
    this.losesAnswers = losesAnswers;
    this.#random = seed | 1;
    const names = Array.from({ length: nodes }, (_, index) => `n${index + 1}`);
    const base = names.map((name, index) => ({ name, number: index + 1, zone: '', weight: 1 }));
    this.write('topology', TopologyRecord.parse({ counter: 1, current: { epoch: 1, base } }));
    for (const member of base) this.write(memberKey(member.name), memberRecordOf(member, ''));
    this.nodes = names.map((name) => new WorldNode(this, { name, isFencing }));
    for (const node of this.nodes) node.start('new memory');
  }

  get topology(): TopologyRecord {
    return this.history.at(-1) as TopologyRecord;
  }

  node(name: string): WorldNode {
    return this.nodes.find((candidate) => candidate.name === name) as WorldNode;
  }

  /** Runs until so much time has passed. */
  run(forMs: number): void {
    const untilMs = this.nowMs + forMs;
    for (;;) {
      let first = -1;
      this.#events.forEach((event, index) => {
        const other = this.#events[first];
        if (other === undefined || event.atMs < other.atMs || (event.atMs === other.atMs && event.order < other.order))
          first = index;
      });
      const event = this.#events[first];
      if (event === undefined || event.atMs > untilMs) break;
      this.#events.splice(first, 1);
      this.nowMs = event.atMs;
      this.#expire();
      event.run();
    }
    this.nowMs = untilMs;
  }

  at(delayMs: number, run: () => void): void {
    this.#events.push({ atMs: this.nowMs + delayMs, order: this.#order++, run });
  }

  /** Xorshift: from 0 to below `below`. */
  draw(below: number): number {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return (this.#random >>> 0) % below;
  }

  delay(): number {
    return 1 + this.draw(DELAY_MS_MAX);
  }

  read(key: RecordKey): RegistryRecord | undefined {
    const stored = this.records.get(key);
    return stored && { key, revision: stored.revision, value: stored.value };
  }

  put(key: RecordKey, value: unknown, revision: number, guard?: Guard): PutOutcome {
    const isAsExpected = (expected: Guard) => (this.records.get(expected.key)?.revision ?? 0) === expected.revision;
    if (!isAsExpected({ key, revision }) || (guard && !isAsExpected(guard))) return { kind: 'refused' };
    return { kind: 'done', revision: this.write(key, value) };
  }

  write(key: RecordKey, value: unknown, lease?: LeaseState): number {
    const revision = ++this.#revision;
    const created = this.records.get(key)?.created ?? revision;
    if (key === 'topology') this.#check(value);
    // Records are JSON, and nobody shares an object with the registry.
    const copy: unknown = JSON.parse(JSON.stringify(value));
    this.records.set(key, { revision, created, value: copy, ...(lease && { lease }) });
    this.#tell({ key, revision, value: copy });
    return revision;
  }

  remove(key: RecordKey): void {
    this.records.delete(key);
    this.#tell({ key, revision: ++this.#revision, value: undefined });
  }

  /** Ends the leases of living processes, as etcd does after some stalls. */
  revoke(name: string): void {
    const lease = this.records.get(aliveKey(name))?.lease;
    if (lease) lease.isRevoked = true;
    this.#expire();
  }

  #expire(): void {
    if (!this.isRegistryUp) return;
    for (const [key, { lease }] of this.records) {
      if (lease && (lease.isRevoked || lease.expiresAtMs < this.nowMs)) this.remove(key);
    }
  }

  #tell(told: RegistryRecord | RegistryAbsence): void {
    for (const node of this.nodes ?? []) node.hear(told);
  }

  #check(value: unknown): void {
    const next = TopologyRecord.parse(value);
    const before = this.history.at(-1);
    const { epoch, base, away, returning } = next.current;
    const names = base.map(({ name }) => name);
    assert(before === undefined || next.counter > before.counter, 'the counter grows');
    assert(before === undefined || epoch === before.current.epoch + 1, 'epochs grow by one');
    assert(
      [...away, ...returning].every((name) => names.includes(name)),
      'only members are away or returning',
    );
    assert(!away.some((name) => returning.includes(name)), 'nobody is both away and returning');
    assert(new Set([...away, ...returning]).size === away.length + returning.length, 'nobody is named twice');
    this.history.push(next);
  }
}

function memberRecordOf(member: TopologyRecord['current']['base'][number], incarnation: string): MemberRecord {
  return { ...member, address: `${member.name}:1`, wanted: 'in', incarnation, hasArena: false };
}

export class WorldNode {
  readonly name: string;
  /** Views in the order in which the workers were told. */
  readonly adopted: TopologyView[] = [];
  state: 'runs' | 'stopped' | 'killed' = 'killed';
  isCut = false;
  fenceAtMs = 0;
  plane: ControlPlane | undefined;
  incarnation = '';
  epoch = 0;
  readonly #world: ControlWorld;
  readonly #isFencing: boolean;
  #life = 0;
  #memories = 0;
  /** What happened while the process was stopped, in order. */
  #held: (() => void)[] = [];

  constructor(world: ControlWorld, { name, isFencing }: { name: string; isFencing: boolean }) {
    this.#world = world;
    this.name = name;
    this.#isFencing = isFencing;
  }

  get isFenced(): boolean {
    return this.fenceAtMs !== 0 && this.#world.nowMs >= this.fenceAtMs;
  }

  start(memory: 'new memory' | 'same memory'): void {
    if (this.state !== 'killed') return;
    const world = this.#world;
    if (memory === 'new memory' || this.incarnation === '') this.incarnation = `${this.name}-${++this.#memories}`;
    this.state = 'runs';
    this.#life++;
    const member = world.read(memberKey(this.name))?.value as MemberRecord;
    if (member.incarnation === '') {
      world.write(memberKey(this.name), { ...member, incarnation: this.incarnation });
    }
    const topology = world.read('topology');
    this.plane = new ControlPlane(
      this.#env(),
      {
        name: this.name,
        incarnation: this.incarnation,
        ttlMs: TTL_MS,
        graceMs: GRACE_MS,
        rejoinWindowMs: GRACE_MS,
        rf: 2,
        isFencing: this.#isFencing,
      },
      { value: topology?.value as TopologyRecord, revision: topology?.revision ?? 0 },
    );
    for (const key of world.records.keys()) {
      const record = world.read(key);
      if (record) this.plane.onRecord(record);
    }
    this.plane.start();
    this.#adopt(this.plane.view);
  }

  kill(): void {
    this.state = 'killed';
    this.plane = undefined;
    this.#held = [];
    this.#life++;
  }

  stop(): void {
    if (this.state === 'runs') this.state = 'stopped';
  }

  resume(): void {
    if (this.state !== 'stopped') return;
    this.state = 'runs';
    const held = this.#held;
    this.#held = [];
    for (const run of held) run();
  }

  hear(told: RegistryRecord | RegistryAbsence): void {
    // A watch brings everything in order, after a while; one that is cut off reads it all again later.
    if (this.state === 'killed') return;
    this.#later(this.#world.delay(), () => this.#catchUp(told.key));
  }

  answer(): ProbeResult {
    if (this.state === 'killed') return 'refused';
    if (this.state === 'stopped') return 'silent';
    return { name: this.name, incarnation: this.incarnation, epoch: this.epoch, isFenced: this.isFenced };
  }

  #catchUp(key: RecordKey): void {
    if (this.isCut || !this.#world.isRegistryUp) {
      this.#later(200, () => this.#catchUp(key));
      return;
    }
    const { revision, value } = this.#world.read(key) ?? { revision: 0, value: undefined };
    this.plane?.onRecord({ key, revision, value });
  }

  /** Runs in this life of the process only, and not while it is stopped. */
  #later(delayMs: number, run: () => void): void {
    const life = this.#life;
    this.#world.at(delayMs, () => {
      if (this.#life !== life) return;
      if (this.state === 'stopped') this.#held.push(run);
      else run();
    });
  }

  #adopt(view: TopologyView): void {
    this.adopted.push(view);
    this.epoch = view.epoch;
    const report = (syncedEpoch: number) => {
      if (this.epoch === view.epoch) this.plane?.onReport({ ...NO_REPORT, epoch: view.epoch, syncedEpoch });
    };
    // Workers report in order: in sync only after not in sync.
    this.#later(this.#world.delay(), () => {
      report(0);
      this.#later(this.#world.draw(SYNC_MS_MAX), () => report(view.epoch));
    });
  }

  /** A request to the registry: gets there after a while, or not; so does the answer. */
  #ask<T>(run: () => T, done: (answer: T | undefined) => void): void {
    const world = this.#world;
    const life = this.#life;
    world.at(world.delay(), () => {
      const isReached = world.isRegistryUp && !this.isCut;
      const answer = isReached ? run() : undefined;
      const isLost = world.losesAnswers && world.draw(50) === 0;
      if (this.#life === life)
        this.#later(isLost || !isReached ? 500 : world.delay(), () => done(isLost ? undefined : answer));
    });
  }

  #env(): ControlEnv {
    const world = this.#world;
    return {
      monoMs: () => world.nowMs,
      setTimer: (delayMs, run) => {
        const timer = { isSet: true };
        this.#later(delayMs, () => timer.isSet && run());
        return timer;
      },
      clearTimer: (timer) => {
        (timer as { isSet: boolean }).isSet = false;
      },
      get: (key, done) =>
        this.#ask(() => {
          const record = world.read(key);
          return record ? { record } : {};
        }, done),
      put: ({ key, value, revision, guard }, done) =>
        this.#ask(
          () => world.put(key, value, revision, guard),
          (outcome) => done(outcome ?? { kind: 'unknown' }),
        ),
      openLease: (ttlMs, lost, done) =>
        this.#ask(
          (): LeaseState => ({ expiresAtMs: world.nowMs + ttlMs, isRevoked: false }),
          (state) => done(state && this.#lease(state, ttlMs, lost)),
        ),
      probe: (member, timeoutMs, done) => {
        const target = world.node(member.name);
        const result = target.answer();
        this.#later(result === 'silent' ? timeoutMs : world.delay(), () => done(result));
      },
      setFence: (deadlineMs) => {
        this.fenceAtMs = deadlineMs;
      },
      adopt: (view) => this.#adopt(view),
      log: () => {},
    };
  }

  #lease(state: LeaseState, ttlMs: number, lost: () => void): ControlLease {
    const world = this.#world;
    const held = new Map<RecordKey, number>();
    const lease = { validUntilMs: state.expiresAtMs, isLost: false };
    const end = () => {
      if (lease.isLost) return;
      lease.isLost = true;
      held.clear();
      lost();
    };
    const keepAlive = () => {
      if (lease.isLost) return;
      const sentAtMs = world.nowMs;
      const isThere = () => !state.isRevoked && state.expiresAtMs >= world.nowMs;
      this.#ask(
        () => {
          if (isThere()) state.expiresAtMs = world.nowMs + ttlMs;
          return isThere();
        },
        (isKept) => {
          if (isKept) lease.validUntilMs = sentAtMs + ttlMs;
          else if (isKept === false || world.nowMs > lease.validUntilMs) return end();
          this.#later(KEEPALIVE_MS, keepAlive);
        },
      );
    };
    this.#later(KEEPALIVE_MS, keepAlive);
    return {
      get validUntilMs() {
        return lease.validUntilMs;
      },
      heldRevision: (key) => held.get(key),
      hold: (key, value, done) =>
        this.#ask(() => {
          const before = world.records.get(key);
          const isOwn = before?.lease === state;
          const isSame =
            (before?.value as Partial<AliveRecord> | undefined)?.incarnation ===
            (value as Partial<AliveRecord>).incarnation;
          const isTaken = before !== undefined && !isOwn && !(key !== 'coordinator' && isSame);
          if (state.isRevoked || lease.isLost || isTaken) return false;
          if (!isOwn) world.records.delete(key);
          world.write(key, value, state);
          held.set(key, world.records.get(key)?.created ?? 0);
          return true;
        }, done),
      close: (done) => {
        lease.isLost = true;
        state.isRevoked = true;
        done();
      },
    };
  }
}
