/**
 * A machine with one node on it: a memory, a primary process (the control plane) and workers, each of which may die or
 * stop by itself. The memory outlives its processes, unless the machine goes with it.
 */

import { type ControlEnv, type ControlLease, ControlPlane } from '../../../src/cluster/control/index.js';
import {
  type BaseMember,
  type ClusterReport,
  installationOf,
  MemberRecord,
  memberKey,
  type RecordKey,
  type RegistryAbsence,
  type RegistryRecord,
  TopologyRecord,
  type TopologyView,
} from '../../../src/cluster/index.js';
import { loadAddon, type NativeArena, SlotState } from '../../../src/store/index.js';
import type { Machine, SimWorld } from './parts.js';
import type { Random } from './random.js';
import type { Stored } from './registry.js';
import type { Event } from './schedule.js';
import { SimWorker } from './worker.js';

const addon = loadAddon();
const REAP_MS = 30;
const KEEP_ALIVE_PARTS = 3;

export const GEOMETRY = { segments: 16, slotsPerSegment: 4, regionBytes: 8_192, pageBytes: 512 };
export const SLOTS = GEOMETRY.segments * GEOMETRY.slotsPerSegment;

export class SimNode implements Machine {
  arena: NativeArena;
  readonly address: string;
  isUp = false;
  epochsSeen: number[] = [];
  workers: SimWorker[] = [];
  #control: ControlProcess | undefined;
  #incarnations = 0;
  #fenceMs = 0;
  readonly #clock: { offsetMs: number; drift: number };

  constructor(
    readonly world: SimWorld,
    readonly member: BaseMember,
    readonly random: Random,
  ) {
    this.address = `${member.name}:7411`;
    const { clockOffsetMsMax, clockDriftMax } = world.options;
    this.#clock = {
      offsetMs: random.between(-clockOffsetMsMax, clockOffsetMsMax),
      drift: 1 + random.between(-clockDriftMax, clockDriftMax),
    };
    this.arena = this.#makeArena();
  }

  get name(): string {
    return this.member.name;
  }

  get identity(): { name: string; number: number; incarnation: string } {
    return { name: this.name, number: this.member.number, incarnation: this.arena.incarnation };
  }

  get monoMs(): number {
    return 1_000_000 + this.world.schedule.nowMs * this.#clock.drift;
  }

  get wallMs(): number {
    return 1_700_000_000_000 + this.world.schedule.nowMs * this.#clock.drift + this.#clock.offsetMs;
  }

  setClock(): void {
    this.arena.setClock(Math.floor(this.wallMs));
  }

  /** A memory with a clock by hand knows one clock only, so the deadline is carried over to it. */
  setFence(deadlineMs: number): void {
    this.#fenceMs = deadlineMs;
    this.arena.setFence(deadlineMs === 0 ? 0 : Math.floor(this.wallMs + deadlineMs - this.monoMs));
  }

  get isFenced(): boolean {
    return this.#fenceMs !== 0 && this.monoMs >= this.#fenceMs;
  }

  log(event: string, details: Readonly<Record<string, unknown>>): void {
    this.world.sometimes(true, event);
    this.world.note(`${this.name} ${event} ${JSON.stringify(details)}`);
  }

  // ---- processes
  // -----------------------------------------------------------------------------------------------------

  /** Starts the daemon: the primary process, which starts the workers. */
  start(): void {
    this.isUp = true;
    this.setClock();
    this.#control = new ControlProcess(this);
    this.#control.start();
    this.world.network.listen(this.address, (end) => {
      const living = this.workers.filter(({ isDead }) => !isDead);
      if (living.length === 0) {
        end.close();
        return { received: () => {}, lost: () => {} };
      }
      return this.random.pick(living).accept(end);
    });
  }

  startWorkers(view: TopologyView): void {
    while (this.workers.filter(({ isDead }) => !isDead).length < this.world.options.workers) {
      this.workers = [...this.workers.filter(({ isDead }) => !isDead), new SimWorker(this, view)];
    }
  }

  killWorker(): void {
    const living = this.workers.filter(({ isDead }) => !isDead);
    if (living.length === 0) return;
    const victim = this.random.pick(living);
    victim.kill();
    const { arena } = this;
    // The primary process notices, reaps, and starts another.
    this.world.schedule.after(REAP_MS, () => {
      if (this.arena !== arena || !this.isUp) return;
      this.setClock();
      victim.native.abandon();
      this.#control?.replaceWorkers();
    });
  }

  killControl(): void {
    this.#control?.kill();
    this.#control = undefined;
  }

  get hasControl(): boolean {
    return this.#control !== undefined;
  }

  /** A daemon started beside living workers takes them over. */
  restartControl(): void {
    if (this.#control !== undefined || !this.isUp) return;
    this.#control = new ControlProcess(this);
    this.#control.start();
  }

  /** Everything of the node ends at once. */
  crash(losesMemory: boolean): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.world.network.unlisten(this.address);
    this.killControl();
    for (const worker of this.workers) worker.kill();
    for (const worker of this.workers) worker.native.abandon();
    this.workers = [];
    this.world.network.crash(this.name);
    this.world.sometimes(true, 'a node went down');
    this.world.sometimes(losesMemory, 'a memory was lost');
    this.setFence(0);
    if (losesMemory) {
      this.arena.close(false);
      this.arena = this.#makeArena();
    } else {
      this.arena.resume(true);
    }
  }

  pause(): void {
    for (const worker of this.workers) worker.pause();
    this.#control?.pause();
  }

  resume(): void {
    this.#control?.resume();
    for (const worker of this.workers) worker.resume();
  }

  pauseWorker(): SimWorker | undefined {
    const running = this.workers.filter(({ isDead, isPaused }) => !isDead && !isPaused);
    if (running.length === 0) return undefined;
    const worker = this.random.pick(running);
    worker.pause();
    return worker;
  }

  /** Nothing that this node holds waits for anything. */
  isWhole(): boolean {
    const worker = this.workers.find(({ isDead }) => !isDead);
    if (worker === undefined) return false;
    const waits: readonly number[] = [SlotState.JOINING, SlotState.TAKING_OVER];
    return !worker.native.states().some((state) => waits.includes(state));
  }

  // ---- between the processes
  // -----------------------------------------------------------------------------------------

  reported(report: ClusterReport): void {
    this.#control?.reported(report);
  }

  learned(view: TopologyView): void {
    this.#control?.learned(view);
    for (const worker of this.workers) worker.adopt(view);
  }

  adoptAll(view: TopologyView): void {
    for (const worker of this.workers) if (!worker.isPaused) worker.adopt(view);
  }

  #makeArena(): NativeArena {
    this.#incarnations++;
    return addon.create({
      bytes: this.world.options.memoryBytes,
      valueBytesMax: 1_024,
      nodeName: this.name,
      nodeNumber: this.member.number,
      replicated: this.world.options.rf > 1,
      geometry: GEOMETRY,
      clock: 'manual',
      seed: (BigInt(this.world.seed) << 20n) | BigInt(this.member.number << 10) | BigInt(this.#incarnations),
    });
  }
}

/** The primary process: the control plane on the registry model. */
class ControlProcess {
  readonly #node: SimNode;
  readonly #timers = new Set<Event>();
  readonly #watches: { close(): void }[] = [];
  #plane: ControlPlane | undefined;
  #isDead = false;
  #isPaused = false;

  constructor(node: SimNode) {
    this.#node = node;
  }

  start(): void {
    this.#readTopology();
  }

  kill(): void {
    this.#isDead = true;
    for (const timer of this.#timers) timer.isCancelled = true;
    for (const watch of this.#watches) watch.close();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
  }

  reported(report: ClusterReport): void {
    this.#later(0.1, () => this.#plane?.onReport(report));
  }

  learned(view: TopologyView): void {
    this.#later(0.1, () => this.#plane?.onPeerView(view));
  }

  replaceWorkers(): void {
    if (this.#plane !== undefined) this.#node.startWorkers(this.#plane.view);
  }

  get #registry(): SimWorld['registry'] {
    return this.#node.world.registry;
  }

  #later(delayMs: number, run: () => void): Event {
    const event = this.#node.world.schedule.after(delayMs, () => {
      this.#timers.delete(event);
      if (this.#isDead) return;
      if (this.#isPaused) this.#later(10, run);
      else run();
    });
    this.#timers.add(event);
    return event;
  }

  /** Wraps an answer of the registry: it comes when the process runs, and not to a dead one. */
  #guarded<T>(done: (answer: T) => void): (answer: T) => void {
    return (answer) => void this.#later(0, () => done(answer));
  }

  #readTopology(): void {
    const { name } = this.#node;
    this.#registry.get(
      name,
      'topology',
      this.#guarded((topology) => {
        if (topology === 'unreachable' || topology === undefined) {
          this.#later(200, () => this.#readTopology());
          return;
        }
        this.#registry.list(
          name,
          'members/',
          this.#guarded((members) => {
            if (members === 'unreachable') this.#later(200, () => this.#readTopology());
            else this.#begin(topology, members);
          }),
        );
      }),
    );
  }

  #begin(topology: Stored, members: [string, Stored][]): void {
    const node = this.#node;
    const own = MemberRecord.parse(members.find(([key]) => key === memberKey(node.name))?.[1].value);
    this.#plane = new ControlPlane(
      this.#env(),
      {
        name: node.name,
        incarnation: node.arena.incarnation,
        rf: node.world.options.rf,
        isFencing: node.world.options.onPartition === 'fence',
        ttlMs: node.world.options.ttlMs,
        graceMs: node.world.options.graceMs,
      },
      { value: TopologyRecord.parse(topology.value), revision: topology.revision },
    );
    for (const [key, stored] of members) this.#plane.onRecord(recordOf(key, stored));
    const isFounding =
      (own.incarnation === '' && this.#plane.view.epoch === 1) || node.world.mutations.coldIsWarm === true;
    node.setClock();
    node.arena.install(installationOf(this.#plane.view, isFounding, SLOTS));
    if (own.incarnation === '') this.#nameMemory(own, members);
    for (const prefix of ['topology', 'coordinator', 'members/', 'alive/']) {
      this.#watches.push(
        this.#registry.watch(
          node.name,
          prefix,
          (key, stored) => void this.#later(0, () => this.#plane?.onRecord(recordOf(key, stored))),
        ),
      );
    }
    this.#plane.start();
    node.startWorkers(this.#plane.view);
  }

  /** The first start of a member says which memory is its. */
  #nameMemory(own: MemberRecord, members: [string, Stored][]): void {
    const revision = members.find(([key]) => key === memberKey(own.name))?.[1].revision ?? 0;
    const value = { ...own, incarnation: this.#node.arena.incarnation };
    this.#registry.put(this.#node.name, { key: memberKey(own.name), value, revision }, () => {});
  }

  #env(): ControlEnv {
    const node = this.#node;
    return {
      monoMs: () => node.monoMs,
      setTimer: (delayMs, run) => this.#later(delayMs, run),
      clearTimer: (timer) => {
        (timer as Event).isCancelled = true;
      },
      get: (key, done) =>
        this.#registry.get(
          node.name,
          key,
          this.#guarded((stored) => {
            if (stored === 'unreachable') done(undefined);
            else done(stored === undefined ? {} : { record: recordOf(key, stored) as RegistryRecord });
          }),
        ),
      put: (request, done) =>
        this.#registry.put(
          node.name,
          request,
          this.#guarded((outcome) =>
            done(outcome.kind === 'put' ? { kind: 'done', revision: outcome.revision } : outcome),
          ),
        ),
      openLease: (ttlMs, lost, done) => this.#openLease(ttlMs, lost, done),
      probe: (member, timeoutMs, done) => node.world.probe(node.name, member, timeoutMs, this.#guarded(done)),
      setFence: (deadlineMs) => node.setFence(deadlineMs),
      adopt: (view) => node.adoptAll(view),
      log: (event, details) => node.log(`control.${event}`, details),
    };
  }

  #openLease(ttlMs: number, lost: () => void, done: (lease: ControlLease | undefined) => void): void {
    const node = this.#node;
    const sentAtMs = node.monoMs;
    this.#registry.openLease(
      node.name,
      ttlMs,
      this.#guarded((id) => {
        if (id === 'unreachable') return done(undefined);
        const held = new Map<RecordKey, number>();
        let validUntilMs = sentAtMs + ttlMs;
        let isOver = false;
        const end = (): void => {
          if (isOver) return;
          isOver = true;
          lost();
        };
        const keepAlive = (): void => {
          if (isOver) return;
          const atMs = node.monoMs;
          this.#registry.keepAlive(
            node.name,
            id,
            this.#guarded((isKept) => {
              if (isKept === true) validUntilMs = Math.max(validUntilMs, atMs + ttlMs);
              if (isKept === false || node.monoMs > validUntilMs) end();
              else this.#later(ttlMs / KEEP_ALIVE_PARTS, keepAlive);
            }),
          );
        };
        this.#later(ttlMs / KEEP_ALIVE_PARTS, keepAlive);
        done({
          hold: (key, value, then) =>
            this.#registry.hold(
              node.name,
              { lease: id, key, value: value as { incarnation?: string } },
              this.#guarded((revision) => {
                if (typeof revision === 'number') held.set(key, revision);
                then(revision === 'unreachable' ? undefined : revision !== false);
              }),
            ),
          heldRevision: (key) => (isOver ? undefined : held.get(key)),
          get validUntilMs() {
            return validUntilMs;
          },
          close: (then) => {
            isOver = true;
            this.#registry.revoke(id);
            then();
          },
        });
      }),
    );
  }
}

function recordOf(key: string, stored: Stored | undefined): RegistryRecord | RegistryAbsence {
  if (stored === undefined) return { key: key as RecordKey, revision: 0, value: undefined };
  return { key: key as RecordKey, revision: stored.revision, value: stored.value };
}
