/**
 * Sends a node's items of some slots to another node: for a copy that must catch up, or that asked (PULL).
 *
 * A walk, segment by segment, collects what was written at or after a given moment and packs it into batches of 32 to
 * 64 KiB, whatever the size of the segments. Some batches are under way at a time, so the link is busy and neither side
 * holds more than half a megabyte for it. Items are applied by version, so sending one twice does no harm.
 *
 * Requests are served by the same thread, so the walk goes on for a millisecond and then lets them have their turn. A
 * stream with a pace (pace.ts) rests besides.
 */
import { Status } from '../../protocol/index.js';
import type { LinkAnswer, SlotBits } from '../../store/index.js';
import { type Calls, LINK_LOST } from './calls.js';
import type { WorkerEnv } from './env.js';
import type { Pace } from './pace.js';
import { epochOf, itemsFrame } from './peer-frames.js';
import { segmentMask } from './slot-bits.js';

const BATCH_BYTES = 64 * 1024;
const WINDOW_BATCHES = 8;
/** Of the walk in one go: what a request may have to wait for it. */
const GO_MS_MAX = 1;
/** Where time stands still in between, as it does in the simulator. */
const STEPS_MAX = 1_000;
/** A limit that is changed holds from then on at the latest. */
const REST_MS_MAX = 1_000;
/** A receiver answers BUSY while a lock is held or its memory is short: a tenth of a second later it may not. */
const BUSY_ANSWERS_MAX = 50;

/** Slots of which everything is sent that was written at `sinceMs` or later. */
export interface Portion {
  readonly slots: SlotBits;
  readonly sinceMs: number;
}

export type StreamEnd =
  | { readonly kind: 'done' }
  | { readonly kind: 'lost' }
  /** The receiver is in another epoch, or takes us for a stranger there. */
  | { readonly kind: 'stale'; readonly epoch: number }
  | { readonly kind: 'refused'; readonly status: number };

export interface StreamOptions {
  readonly connection: number;
  readonly epoch: number;
  readonly portions: readonly Portion[];
  /** Of these, only items with hits. */
  readonly isHotOnly?: boolean;
  /** Missing: as fast as can be. */
  readonly pace?: Pace;
  readonly onEnd: (end: StreamEnd) => void;
}

export class ItemStream {
  readonly #env: WorkerEnv;
  readonly #calls: Calls;
  readonly #options: StreamOptions;
  /** Where the walk stands: the segment, which portion of it, and the native cursor. */
  #segment = 0;
  #portion = 0;
  #cursor = 0;
  #collected: Buffer[] = [];
  #collectedBytes = 0;
  #underWay = 0;
  #busy: Buffer[] = [];
  #busyAnswers = 0;
  #isEnded = false;
  /** A stream that rests goes on then. */
  #restsUntilMs = 0;
  #isResting = false;
  bytes = 0;
  items = 0;

  constructor(env: WorkerEnv, calls: Calls, options: StreamOptions) {
    this.#env = env;
    this.#calls = calls;
    this.#options = options;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /**
   * Goes on as far as the window and the pace let it. Called to begin, and then from time to time: a pause ends without
   * a word.
   */
  pump(): void {
    const nowMs = this.#env.monoMs();
    if (this.#isEnded || this.#rests(nowMs)) return;
    const untilMs = nowMs + GO_MS_MAX;
    const mayGoOn = (steps: number): boolean => steps < STEPS_MAX && this.#env.monoMs() <= untilMs;
    for (let steps = 0; !this.#isEnded && this.#mayBegin() && mayGoOn(steps); steps++) {
      const waiting = this.#busy.pop();
      if (waiting !== undefined) this.#send(waiting);
      else if (this.#isWalked()) break;
      else this.#step();
    }
    if (this.#isEnded) return;
    // A batch that is not full waits for more, but not for nothing.
    const isLast = this.#isWalked() || this.#underWay === 0;
    if (isLast && this.#collectedBytes > 0 && this.#mayBegin()) this.#sendCollected();
    if (!this.#isWalked() && this.#mayBegin()) this.#goOnSoon();
    if (this.#isWalked() && this.#collectedBytes + this.#underWay + this.#busy.length === 0)
      this.#end({ kind: 'done' });
  }

  /** Ends without a word. */
  stop(): void {
    this.#isEnded = true;
  }

  /** Whether one more batch may be under way. While clients are served it is one at a time. */
  #mayBegin(): boolean {
    const nowMs = this.#env.monoMs();
    const { pace } = this.#options;
    if (pace === undefined) return this.#underWay < WINDOW_BATCHES;
    return this.#underWay < (pace.isBusy(nowMs) ? 1 : WINDOW_BATCHES) && !this.#rests(nowMs);
  }

  /** True: not now. It goes on by itself when the pace allows; after a pause, with a tick. */
  #rests(nowMs: number): boolean {
    const waitMs = Math.max(this.#options.pace?.waitMs(nowMs) ?? 0, this.#restsUntilMs - nowMs);
    if (waitMs <= 0) return false;
    if (!this.#isResting && waitMs !== Number.POSITIVE_INFINITY) {
      this.#isResting = true;
      this.#env.later(Math.min(Math.ceil(waitMs), REST_MS_MAX), () => this.#goOn());
    }
    return true;
  }

  /** After whoever else has something to do here. */
  #goOnSoon(): void {
    if (this.#isResting) return;
    this.#isResting = true;
    this.#env.later(0, () => this.#goOn());
  }

  #goOn(): void {
    this.#isResting = false;
    this.pump();
    this.#calls.flush();
  }

  #isWalked(): boolean {
    return this.#segment * this.#env.slotsPerSegment >= this.#env.slots;
  }

  /** Collects once. */
  #step(): void {
    const { portions, isHotOnly } = this.#options;
    const portion = portions[this.#portion];
    const mask = portion === undefined ? 0 : segmentMask(portion.slots, this.#segment, this.#env.slotsPerSegment);
    if (portion === undefined || mask === 0) {
      this.#nextPortion();
      return;
    }
    const room = BATCH_BYTES - this.#collectedBytes;
    const { sinceMs } = portion;
    const collected = this.#env.native.collect(
      this.#segment,
      mask,
      this.#cursor,
      sinceMs,
      room,
      Number(isHotOnly ?? 0),
    );
    this.#cursor = collected.next;
    if (collected.next === 0) this.#nextPortion();
    this.items += collected.items;
    if (collected.bytes.length === 0) return;
    // One item may be larger than all the room: then it travels alone, for a frame has a limit too.
    if (collected.bytes.length > room && this.#collectedBytes > 0) this.#sendCollected();
    this.#collected.push(collected.bytes);
    this.#collectedBytes += collected.bytes.length;
    if (this.#collectedBytes >= BATCH_BYTES / 2) this.#sendCollected();
  }

  #nextPortion(): void {
    this.#portion++;
    if (this.#portion < this.#options.portions.length) return;
    this.#portion = 0;
    this.#segment++;
  }

  #sendCollected(): void {
    const records = Buffer.concat(this.#collected);
    this.#collected = [];
    this.#collectedBytes = 0;
    this.bytes += records.length;
    this.#send(records);
  }

  #send(records: Buffer): void {
    const { connection, epoch, pace } = this.#options;
    const sentAtMs = this.#env.monoMs();
    this.#underWay++;
    pace?.sent(records.length, sentAtMs);
    this.#calls.send(connection, itemsFrame(epoch, records), (answer) => {
      const nowMs = this.#env.monoMs();
      this.#restsUntilMs = nowMs + (pace?.restMs(nowMs - sentAtMs, nowMs) ?? 0);
      this.#onAnswer(records, answer);
    });
  }

  #onAnswer(records: Buffer, { status, extras }: LinkAnswer): void {
    this.#underWay--;
    if (this.#isEnded) return;
    if (status === Status.OK) {
      this.pump();
    } else if (status === Status.BUSY && this.#busyAnswers < BUSY_ANSWERS_MAX) {
      // Sent again by the next pump() that somebody else calls.
      this.#busyAnswers++;
      this.#busy.push(records);
    } else if (status === LINK_LOST) {
      this.#end({ kind: 'lost' });
    } else if (status === Status.STALE) {
      this.#end({ kind: 'stale', epoch: epochOf(extras) });
    } else {
      this.#end({ kind: 'refused', status });
    }
  }

  #end(end: StreamEnd): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#options.onEnd(end);
  }
}
