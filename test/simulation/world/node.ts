/**
 * A machine with one node on it: a memory, a primary process (the control plane) and workers, each of which may die or
 * stop by itself. The memory outlives its processes, unless the machine goes with it.
 */

import type { BaseMember, ClusterReport, TopologyView } from '../../../src/cluster/index.js';
import { loadAddon, type NativeArena, type NativeWorker, SlotState } from '../../../src/store/index.js';
import { ControlProcess } from './control-process.js';
import { forgetMissed, type InstallOptions } from './mutations.js';
import type { Machine, SimWorld } from './parts.js';
import type { Random } from './random.js';
import { SimWorker } from './worker.js';

const addon = loadAddon();
const REAP_MS = 30;

export const GEOMETRY = { segments: 16, slotsPerSegment: 4, regionBytes: 8_192, pageBytes: 512 };
export const SLOTS = GEOMETRY.segments * GEOMETRY.slotsPerSegment;

export class SimNode implements Machine {
  arena: NativeArena;
  readonly address: string;
  isUp = false;
  /** It was drained, and its daemon has ended. */
  hasLeft = false;
  workers: SimWorker[] = [];
  #control: ControlProcess | undefined;
  #incarnations = 0;
  #fenceMs = 0;
  #epochSeen = 0;
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

  /** Whoever of the node runs next has this time; and whatever ran before, the epoch has not gone back. */
  setClock(): void {
    this.arena.setClock(Math.floor(this.wallMs));
    const epoch = this.arena.epoch();
    if (epoch < this.#epochSeen) this.world.violation(`${this.name} went from epoch ${this.#epochSeen} to ${epoch}`);
    this.world.sometimes(this.#epochSeen > 0 && epoch > this.#epochSeen + 1, 'a node missed an epoch');
    this.#epochSeen = epoch;
  }

  get installOptions(): InstallOptions {
    return { arena: this.arena, self: this.member.number, mutations: this.world.mutations };
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
      this.#reap(victim);
      this.#control?.replaceWorkers();
    });
  }

  #reap(victim: SimWorker): void {
    const steward = this.workers.find(({ isDead }) => !isDead);
    const others = this.world.mutations.has('forgetInFlight') ? this.world.view.members : [];
    const before = others.map(({ number }) => steward?.native.peerBits(number).missed);
    victim.reap();
    others.forEach(({ number }, at) => {
      const missed = before[at];
      if (steward !== undefined && missed !== undefined) forgetMissed(steward.native, number, missed);
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
    this.#end(losesMemory);
    this.world.sometimes(true, 'a node went down');
    this.world.sometimes(losesMemory, 'a memory was lost');
  }

  #end(losesMemory: boolean): void {
    this.isUp = false;
    this.world.moves.forget(this.name);
    this.world.network.unlisten(this.address);
    this.killControl();
    for (const worker of this.workers) worker.kill();
    for (const worker of this.workers) worker.reap();
    this.workers = [];
    this.world.network.crash(this.name);
    this.setFence(0);
    if (losesMemory) {
      this.world.memoryLost();
      this.arena.close(false);
      this.arena = this.#makeArena();
      this.#epochSeen = 0;
    } else {
      this.arena.resume(true);
    }
  }

  /** Its daemon ends, for nothing of the cluster's is here any more. Its memory goes with it. */
  leave(): void {
    this.hasLeft = true;
    this.#control?.close();
    this.#end(true);
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

  /** SlotState of every slot; of a node none of whose workers lives, none. */
  states(): Uint8Array {
    return this.workers.find(({ isDead }) => !isDead)?.native.states() ?? new Uint8Array(SLOTS);
  }

  /** Undefined: none of its workers lives. */
  get walk(): NativeWorker['collect'] | undefined {
    const worker = this.workers.find(({ isDead }) => !isDead);
    return worker && this.world.moves.walkOf(worker.native);
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
      replicated: true,
      geometry: GEOMETRY,
      clock: 'manual',
      seed: (BigInt(this.world.seed) << 20n) | BigInt(this.member.number << 10) | BigInt(this.#incarnations),
    });
  }
}
