/**
 * Sends a node's items of some slots to another node: for a copy that must catch up, or that asked (PULL).
 *
 * A walk, segment by segment, collects what was written at or after a given moment and packs it into batches of 32 to
 * 64 KiB, whatever the size of the segments. Four batches are under way at a time, so the link is busy and neither side
 * holds more than a quarter of a megabyte for it. Items are applied by version, so sending one twice does no harm.
 *
 * The walk yields after some milliseconds, since foreground requests are served by the same thread. Where it has found
 * nothing by then an empty batch goes out, whose answer has it go on: so it never runs faster than the two nodes can.
 */
import { Status } from '../../protocol/index.js';
import type { LinkAnswer, SlotBits } from '../../store/index.js';
import { type Calls, LINK_LOST } from './calls.js';
import type { WorkerEnv } from './env.js';
import { epochOf, itemsFrame } from './peer-frames.js';
import { segmentMask } from './slot-bits.js';

const BATCH_BYTES = 64 * 1024;
const WINDOW_BATCHES = 4;
/** Of the walk in one go: what a request may have to wait for it. */
const GO_MS_MAX = 4;
/** Where time stands still in between, as it does in the simulator. */
const STEPS_MAX = 1_000;
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

  /**
   * Goes on as far as the window lets it. Called to begin, and then from time to time: an empty stretch has no answers.
   */
  pump(): void {
    const untilMs = this.#env.monoMs() + GO_MS_MAX;
    const mayGoOn = (steps: number): boolean => steps < STEPS_MAX && this.#env.monoMs() <= untilMs;
    for (let steps = 0; !this.#isEnded && this.#underWay < WINDOW_BATCHES && mayGoOn(steps); steps++) {
      const waiting = this.#busy.pop();
      if (waiting !== undefined) this.#send(waiting);
      else if (this.#isWalked()) break;
      else this.#step();
    }
    if (!this.#isEnded && !this.#isWalked() && this.#underWay === 0) this.#sendCollected();
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

  /** Collects once. */
  #step(): void {
    const { portions } = this.#options;
    const portion = portions[this.#portion];
    const mask = portion === undefined ? 0 : segmentMask(portion.slots, this.#segment, this.#env.slotsPerSegment);
    if (portion === undefined || mask === 0) {
      this.#nextPortion();
      return;
    }
    const room = BATCH_BYTES - this.#collectedBytes;
    const collected = this.#env.native.collect(this.#segment, mask, this.#cursor, portion.sinceMs, room);
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
