/**
 * Sends a node's items of some slots to another node: for a copy that must catch up, or that asked (PULL).
 *
 * A walk, segment by segment, collects what was written at or after a given moment and packs it into batches of 32 to
 * 64 KiB, whatever the size of the segments. Four batches are under way at a time, so the link is busy and neither side
 * holds more than a quarter of a megabyte for it. Items are applied by version, so sending one twice does no harm. The walk
 * yields after some hundred steps, since foreground requests are served by the same thread.
 */
import { Status } from '../../protocol/index.js';
import type { LinkAnswer, SlotBits } from '../../store/index.js';
import { type Calls, LINK_LOST } from './calls.js';
import type { WorkerEnv } from './env.js';
import { epochOf, itemsFrame } from './peer-frames.js';
import { segmentMask } from './slot-bits.js';

const BATCH_BYTES = 64 * 1024;
const WINDOW_BATCHES = 4;
/** Steps of the walk in one go: an empty segment takes a microsecond or two, a full batch some hundred. */
const STEPS_MAX = 256;
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

  /** Goes on as far as the window lets it. Called to begin, and then from time to time: an empty stretch has no answers. */
  pump(): void {
    for (let steps = 0; !this.#isEnded && this.#underWay < WINDOW_BATCHES && steps < STEPS_MAX; steps++) {
      const waiting = this.#busy.pop();
      if (waiting !== undefined) this.#send(waiting);
      else if (this.#isWalked()) break;
      else this.#step();
    }
    if (this.#isWalked() && this.#collectedBytes > 0 && this.#underWay < WINDOW_BATCHES) this.#sendCollected();
    if (this.#isWalked() && this.#collectedBytes + this.#underWay + this.#busy.length === 0)
      this.#end({ kind: 'done' });
  }

  /** Ends without a word. */
  stop(): void {
    this.#isEnded = true;
  }

  #isWalked(): boolean {
    return this.#segment * this.#env.slotsPerSegment >= this.#env.slots;
  }

  #step(): void {
    const portion = this.#options.portions[this.#portion];
    if (portion === undefined) {
      this.#portion = 0;
      this.#segment++;
      return;
    }
    const mask = segmentMask(portion.slots, this.#segment, this.#env.slotsPerSegment);
    if (mask === 0) {
      this.#portion++;
      return;
    }
    const room = BATCH_BYTES - this.#collectedBytes;
    const collected = this.#env.native.collect(this.#segment, mask, this.#cursor, portion.sinceMs, room);
    this.#cursor = collected.next;
    if (collected.next === 0) this.#portion++;
    this.items += collected.items;
    if (collected.bytes.length === 0) return;
    // One item may be larger than all the room: then it travels alone, for a frame has a limit too.
    if (collected.bytes.length > room && this.#collectedBytes > 0) this.#sendCollected();
    this.#collected.push(collected.bytes);
    this.#collectedBytes += collected.bytes.length;
    if (this.#collectedBytes >= BATCH_BYTES / 2) this.#sendCollected();
  }

  #sendCollected(): void {
    const records = Buffer.concat(this.#collected);
    this.#collected = [];
    this.#collectedBytes = 0;
    this.bytes += records.length;
    this.#send(records);
  }

  #send(records: Buffer): void {
    this.#underWay++;
    this.#calls.send(this.#options.connection, itemsFrame(this.#options.epoch, records), (answer) =>
      this.#onAnswer(records, answer),
    );
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
