/**
 * Hands slots over to those who are to lead them, and settles those that stay and change other copies, while the list
 * of members changes (REPLICATION rules 28 to 34).
 *
 * A slot goes when everybody who has a copy by either list is in sync: then the new leader lacks nothing, and neither
 * do those who go, should the change be called off. Slots go in batches, one for each receiving node at a time: they
 * are sealed, which has writes wait; what is in flight is acknowledged; they are given, which is a promise; and the
 * node that takes them says so. That is a round trip and a half, some milliseconds. A seal that does not drain in time
 * is opened, and tried again.
 *
 *   seal ─▶ give, as soon as nothing is in flight ─▶ HANDOVER ─▶ those it took: yield; the others: unseal
 *
 * What was given and not answered for is offered again until somebody answers, or an epoch says whose it is. All that
 * must be known of it stands in the slots' flags, so another steward goes on from there.
 */
import { Status } from '../../protocol/index.js';
import { type LinkAnswer, type SlotBits, SlotFlag, SlotState } from '../../store/index.js';
import type { Calls } from './calls.js';
import type { WorkerEnv } from './env.js';
import type { Layout } from './layout.js';
import { epochOf, handOverFrame } from './peer-frames.js';
import type { Peers } from './peers.js';
import { bothBits, countSlots, eitherBits, isNoSlot, noSlots, withoutBits } from './slot-bits.js';
import type { Survey } from './survey.js';

/** Slots of a batch: few enough that what is in flight of them drains at once. */
const BATCH_SLOTS_MAX = 64;
/** How long a seal stands that does not drain. */
const SEAL_MS_MAX = 40;
const POLL_MS = 1;

export interface HandOverNews {
  readonly onEpoch: (number: number, epoch: number) => void;
}

interface Batch {
  readonly goal: number;
  readonly layout: Layout;
  readonly sealedAtMs: number;
  /** Sealed, and not given yet. */
  sealed: SlotBits;
  /** Given, and the answer is under way. */
  given: SlotBits;
  /** Some of it was taken, or settled. */
  hasSucceeded: boolean;
}

export class HandOvers {
  readonly #env: WorkerEnv;
  readonly #calls: Calls;
  readonly #peers: Peers;
  readonly #news: HandOverNews;
  /** By receiving node. */
  readonly #batches = new Map<number, Batch>();
  /** By receiving node: slots that are to go to it and were not tried since the last tick. */
  readonly #queues = new Map<number, SlotBits>();
  #isPolling = false;
  #handed = 0;
  #hasHanded = false;

  constructor(env: WorkerEnv, calls: Calls, peers: Peers, news: HandOverNews) {
    this.#env = env;
    this.#calls = calls;
    this.#peers = peers;
    this.#news = news;
  }

  /** Another epoch, or not this worker's task any more. */
  reset(): void {
    for (const { sealed } of this.#batches.values()) this.#env.native.unseal(sealed, 0);
    this.#batches.clear();
    this.#queues.clear();
  }

  /** A node took slots, and there is no more to do with it. */
  get isDue(): boolean {
    return this.#hasHanded;
  }

  /** `mayBegin`: else only what was begun is ended. */
  tick(survey: Survey, mayBegin: boolean): void {
    this.#hasHanded = false;
    const { layout, sets } = survey;
    if (layout.goals === undefined) return;
    const toGo = bothBits(survey.led, handOversOf(survey, this.#env.self.number));
    const given = bothBits(toGo, sets.flagged(SlotFlag.GIVEN));
    const sealed = withoutBits(bothBits(toGo, sets.flagged(SlotFlag.SEALED)), given);
    this.#takeUp(layout, sealed, given);
    this.#queues.clear();
    if (mayBegin) {
      const open = withoutBits(withoutBits(toGo, given), sealed);
      for (const [goal, slots] of layout.goalSlots) {
        this.#queues.set(goal, bothBits(open, slots));
        this.#begin(layout, goal);
      }
    }
    this.#poll();
  }

  /** What a steward before this one, or a lost link, left half done. */
  #takeUp(layout: Layout, sealed: SlotBits, offered: SlotBits): void {
    let orphans = sealed;
    for (const batch of this.#batches.values()) orphans = withoutBits(orphans, batch.sealed);
    if (!isNoSlot(orphans)) this.#env.native.unseal(orphans, 0);
    for (const [goal, slots] of layout.goalSlots) {
      const given = bothBits(offered, slots);
      if (isNoSlot(given) || this.#batches.has(goal) || this.#peers.linkTo(goal) === undefined) continue;
      const sealed = noSlots(this.#env.slots);
      const batch = { goal, layout, sealedAtMs: this.#env.monoMs(), sealed, given, hasSucceeded: false };
      this.#batches.set(goal, batch);
      this.#offer(batch, given);
    }
  }

  #begin(layout: Layout, goal: number): void {
    const queue = this.#queues.get(goal);
    const isReachable = goal === this.#env.self.number || this.#peers.linkTo(goal) !== undefined;
    if (queue === undefined || isNoSlot(queue) || this.#batches.has(goal) || !isReachable) return;
    const sealed = this.#env.native.seal(goal, queue, BATCH_SLOTS_MAX);
    this.#queues.set(goal, withoutBits(queue, sealed));
    if (isNoSlot(sealed)) return;
    const given = noSlots(this.#env.slots);
    const sealedAtMs = this.#env.monoMs();
    this.#batches.set(goal, { goal, layout, sealedAtMs, sealed, given, hasSucceeded: false });
  }

  #poll(): void {
    const nowMs = this.#env.monoMs();
    for (const batch of [...this.#batches.values()]) {
      if (isNoSlot(batch.sealed)) continue;
      const stays = batch.goal === this.#env.self.number;
      const ended = stays ? this.#env.native.settle(batch.sealed) : this.#env.native.give(batch.sealed);
      batch.sealed = withoutBits(batch.sealed, ended);
      if (stays && !isNoSlot(ended)) batch.hasSucceeded = true;
      if (!stays && !isNoSlot(ended)) this.#offer(batch, ended);
      if (nowMs - batch.sealedAtMs >= SEAL_MS_MAX && !isNoSlot(batch.sealed)) {
        this.#env.native.unseal(batch.sealed, 0);
        batch.sealed = noSlots(this.#env.slots);
      }
      this.#endIfDone(batch);
    }
    const isWaiting = [...this.#batches.values()].some(({ sealed }) => !isNoSlot(sealed));
    if (!isWaiting || this.#isPolling) return;
    this.#isPolling = true;
    this.#env.later(POLL_MS, () => {
      this.#isPolling = false;
      this.#poll();
    });
  }

  #offer(batch: Batch, slots: SlotBits): void {
    batch.given = eitherBits(batch.given, slots);
    const connection = this.#peers.linkTo(batch.goal);
    if (connection === undefined) {
      this.#drop(batch);
      return;
    }
    this.#calls.send(connection, handOverFrame(batch.layout.epoch, slots), (answer) =>
      this.#onAnswer(batch, slots, answer),
    );
    this.#calls.flush();
  }

  #onAnswer(batch: Batch, slots: SlotBits, { status, extras, value }: LinkAnswer): void {
    const { native } = this.#env;
    const { epoch } = batch.layout;
    // Whoever refuses in another epoch has not taken them in this one.
    const isRefused = status === Status.STALE;
    if (status !== Status.OK && !isRefused) {
      this.#drop(batch);
      return;
    }
    const taken = isRefused ? noSlots(this.#env.slots) : bothBits(slots, value);
    native.yield(batch.goal, epoch, taken);
    if (this.#env.installedEpoch() === epoch) native.unseal(withoutBits(slots, taken), 1);
    if (isRefused) this.#news.onEpoch(batch.goal, epochOf(extras));
    this.#handed += countSlots(taken);
    if (!isNoSlot(taken)) batch.hasSucceeded = true;
    batch.given = withoutBits(batch.given, slots);
    this.#endIfDone(batch);
    this.#poll();
  }

  #endIfDone(batch: Batch): void {
    if (!isNoSlot(batch.sealed) || !isNoSlot(batch.given) || this.#batches.get(batch.goal) !== batch) return;
    this.#batches.delete(batch.goal);
    this.#begin(batch.layout, batch.goal);
    if (this.#batches.has(batch.goal)) return;
    // What was refused is tried again with a tick: at once it would be sealed all the while.
    this.#hasHanded = this.#hasHanded || batch.hasSucceeded;
    if (this.#handed > 0) {
      this.#env.log('handed-over', { epoch: batch.layout.epoch, slots: this.#handed });
      this.#handed = 0;
    }
  }

  /** Nobody knows what became of what was given: it is offered again with a later tick. */
  #drop(batch: Batch): void {
    if (this.#batches.get(batch.goal) !== batch) return;
    this.#env.native.unseal(batch.sealed, 0);
    this.#batches.delete(batch.goal);
  }
}

/** Slots that are not yet as they are to be when the change is done, whoever leads them. */
function handOversOf({ layout, sets }: Survey, self: number): SlotBits {
  const staying = layout.goalSlots.get(self) ?? noSlots(layout.slots);
  const unsettled = withoutBits(bothBits(staying, layout.settling), sets.flagged(SlotFlag.SETTLED));
  return eitherBits(withoutBits(layout.changing, staying), unsettled);
}

/** How many of those this node leads. */
export function countHandOvers(survey: Survey, self: number): number {
  const led = eitherBits(survey.led, survey.sets.inState(SlotState.TAKING_OVER));
  return countSlots(bothBits(led, handOversOf(survey, self)));
}
