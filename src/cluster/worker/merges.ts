/**
 * Takes in what other nodes may hold alone, while this node leads and serves.
 *
 * A member that is back may have led a slot before, and have acknowledged `one` writes that nobody else got, or, where
 * `serve` let it go on while it was cut off, a great many. They lose every conflict with what was written since, but
 * what does not conflict is not to be thrown away. So before such a member is brought up to date it is asked what it
 * has that is younger than what it was known to have sent when its reign ended.
 *
 * A slot in doubt (POSSIBLE_LOSS) asks every member of its base row for everything. When each has answered, in whatever
 * state, all who could know were asked, and the doubt is over.
 */
import { type LinkAnswer, type SlotBits, SlotFlag, VERSION_MS_MAX } from '../../store/index.js';
import type { Calls } from './calls.js';
import type { WorkerEnv } from './env.js';
import type { Layout } from './layout.js';
import { epochOf, pullFrame, readPullAnswer } from './peer-frames.js';
import type { Peers } from './peers.js';
import {
  bothBits,
  countSlots,
  eitherBits,
  hasSlot,
  isNoSlot,
  lowestOf,
  noSlots,
  slotsWhere,
  withoutBits,
} from './slot-bits.js';
import type { Survey } from './survey.js';

const RETRY_MS = 100;

export interface MergeNews {
  readonly onEpoch: (number: number, epoch: number) => void;
  /** Items as old as this may have come in these slots, which the other copies do not have. */
  readonly onMerged: (slots: SlotBits, sinceMs: number) => void;
}

/** What was taken in from one peer since it was last away. */
interface Merged {
  /** Everything. */
  whole: SlotBits;
  /** What it may have written alone. */
  recent: SlotBits;
  isUnderWay: boolean;
  askAtMs: number;
}

export class Merges {
  readonly #env: WorkerEnv;
  readonly #calls: Calls;
  readonly #peers: Peers;
  readonly #news: MergeNews;
  readonly #merged = new Map<number, Merged>();
  /** Slots in which a returning peer may have been written to before this node, in the epoch of `#layout`. */
  readonly #suspects = new Map<number, SlotBits>();
  #layout: Layout | undefined;

  constructor(env: WorkerEnv, calls: Calls, peers: Peers, news: MergeNews) {
    this.#env = env;
    this.#calls = calls;
    this.#peers = peers;
    this.#news = news;
  }

  reset(): void {
    this.#merged.clear();
    this.#layout = undefined;
  }

  /** A take-over was sent all that a peer has of these slots and that is not older than `sinceMs`. */
  pulled(number: number, slots: SlotBits, sinceMs: number): void {
    const merged = this.#mergedOf(number);
    if (sinceMs > 0) return;
    merged.whole = eitherBits(merged.whole, slots);
    merged.recent = eitherBits(merged.recent, slots);
  }

  /** Asks whom there is to ask, and clears the doubts that are over. */
  tick(survey: Survey): void {
    this.#adopt(survey.layout);
    const doubtful = bothBits(survey.led, survey.sets.flagged(SlotFlag.POSSIBLE_LOSS));
    for (const number of this.#peers.linked) {
      const merged = this.#mergedOf(number);
      if (merged.isUnderWay || this.#env.monoMs() < merged.askAtMs) continue;
      const inBase = (slot: number): boolean => survey.layout.baseRow(slot).includes(number);
      const isAsked = (slot: number): boolean => hasSlot(doubtful, slot) && inBase(slot);
      const whole = withoutBits(isNoSlot(doubtful) ? doubtful : slotsWhere(this.#env.slots, isAsked), merged.whole);
      if (!isNoSlot(whole)) this.#pull(survey.layout, number, whole, 0);
      else this.#pullRecent(survey, number);
    }
    this.#clearDoubts(survey.layout, doubtful);
  }

  /** Slots led here that a peer may have written to alone, and that were not taken in from it yet. */
  unmerged({ layout, led }: Survey, number: number): SlotBits {
    this.#adopt(layout);
    const suspects = this.#suspects.get(number);
    if (suspects === undefined) return noSlots(this.#env.slots);
    return withoutBits(bothBits(led, suspects), this.#mergedOf(number).recent);
  }

  #pullRecent(survey: Survey, number: number): void {
    const { layout } = survey;
    const slots = this.unmerged(survey, number);
    if (isNoSlot(slots)) return;
    // Of others than the one that led before this node there is no telling since when.
    const isKnown = (slot: number): boolean => survey.reigns.leaders[slot] === number;
    const unknown = slotsWhere(this.#env.slots, (slot) => hasSlot(slots, slot) && !isKnown(slot));
    if (!isNoSlot(unknown)) {
      this.#pull(layout, number, unknown, 0);
      return;
    }
    this.#pull(layout, number, slots, lowestOf(slots, survey.reigns.heldUntilMs, VERSION_MS_MAX));
  }

  #pull(layout: Layout, number: number, slots: SlotBits, sinceMs: number): void {
    const connection = this.#peers.linkTo(number);
    if (connection === undefined) return;
    const merged = this.#mergedOf(number);
    merged.isUnderWay = true;
    const frame = pullFrame({ epoch: layout.epoch, sinceMs, slots });
    this.#calls.send(connection, frame, (given: LinkAnswer) => {
      merged.isUnderWay = false;
      if (readPullAnswer(given) === undefined) {
        merged.askAtMs = this.#env.monoMs() + RETRY_MS;
        this.#news.onEpoch(number, epochOf(given.extras));
        return;
      }
      if (sinceMs === 0) merged.whole = eitherBits(merged.whole, slots);
      merged.recent = eitherBits(merged.recent, slots);
      this.#news.onMerged(slots, sinceMs);
      this.#env.log('merged', { peer: number, slots: countSlots(slots), sinceMs });
    });
  }

  #clearDoubts(layout: Layout, doubtful: SlotBits): void {
    if (isNoSlot(doubtful)) return;
    const isTakenIn = (slot: number, number: number): boolean =>
      number === this.#env.self.number || hasSlot(this.#mergedOf(number).whole, slot);
    const settled = slotsWhere(
      this.#env.slots,
      (slot) => hasSlot(doubtful, slot) && layout.baseRow(slot).every((number) => isTakenIn(slot, number)),
    );
    if (isNoSlot(settled)) return;
    this.#env.native.clearFlags(settled, SlotFlag.POSSIBLE_LOSS);
    this.#env.log('all-asked', { slots: countSlots(settled) });
  }

  #adopt(layout: Layout): void {
    if (layout === this.#layout) return;
    this.#layout = layout;
    this.#suspects.clear();
    for (const { number, state } of layout.view.members) {
      if (state === 'away') this.#merged.delete(number);
      if (state !== 'returning' || number === this.#env.self.number) continue;
      const isSuspect = (slot: number): boolean =>
        layout.leaders[slot] === this.#env.self.number && layout.precedes(slot, number, this.#env.self.number);
      this.#suspects.set(number, slotsWhere(this.#env.slots, isSuspect));
    }
  }

  #mergedOf(number: number): Merged {
    let merged = this.#merged.get(number);
    if (merged === undefined) {
      const none = noSlots(this.#env.slots);
      merged = { whole: none, recent: none, isUnderWay: false, askAtMs: 0 };
      this.#merged.set(number, merged);
    }
    return merged;
  }
}
