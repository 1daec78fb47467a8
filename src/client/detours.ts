/**
 * Reads that go round their leader, and reads that are hedged: questions to single copies on behalf of a call. The
 * rules are copy-read.ts and health.ts; here they meet links.
 *
 *   call ──▶ part to a copy ─▶ answer ┐
 *        └─▶ part to a copy ─▶ answer ┴▶ the newest answers the call
 *
 * A part is answered, or fails, once; whoever comes too late for its call is ignored.
 */

import { type Slot, slotOf } from '../ring/index.js';
import { answerWith, copyAnswerOf, markDegraded } from './answer.js';
import { type Call, ReadFlag } from './call.js';
import type { ClusterMap } from './cluster-map.js';
import { CopyRead } from './copy-read.js';
import type { Link } from './link.js';
import { Budget } from './retry.js';

export interface DetourEvents {
  /** A call was answered by other copies than its leader. */
  degraded(): void;
  /** Too few copies answered; nobody has the call now. */
  short(call: Call): void;
}

export class Detours {
  constructor(
    private readonly map: ClusterMap,
    private readonly events: DetourEvents,
  ) {}

  /** The copies that the call can be put to; undefined when they are too few. */
  copiesFor(call: Call): Link[] | undefined {
    return call.isOrdinaryRead ? this.map.detourOf(slotOf(call.key)) : undefined;
  }

  /** Answers the call from these copies, or hands it back as short of them. Nobody else may have the call. */
  begin(call: Call, copies: readonly Link[]): void {
    const read = new CopyRead<Link, Buffer>(copies, this.map.routes?.detourCopies ?? copies.length);
    let isOver = false;
    const advance = (): void => {
      for (let copy = read.next(); copy !== undefined; copy = read.next()) ask(copy);
      if (isOver || read.state === 'waiting') return;
      isOver = true;
      if (call.isSettled) return;
      if (read.newest !== undefined && read.state === 'done') this.#answer(call, read.newest);
      else this.events.short(call);
    };
    const ask = (copy: Link): void => {
      const answered = (frame: unknown): void => {
        read.answered(copyAnswerOf(frame as Buffer));
        advance();
      };
      const failed = (): void => {
        read.failed();
        advance();
      };
      send(copy, call.partFor(ReadFlag.DEGRADED, answered, failed));
    };
    advance();
  }

  #answer(call: Call, frame: Buffer): void {
    markDegraded(frame);
    answerWith(call, frame);
    this.events.degraded();
  }
}

/** Reads that are watched at once; those beyond are not hedged. */
const WATCHED_MAX = 4_096;
/** Beyond a tenth of the reads, a small stock for clients that ask little. */
const HEDGE_STOCK_MAX = 10;

interface Watched {
  readonly call: Call;
  readonly slot: Slot;
  readonly link: Link;
  readonly dueAt: number;
}

/** Asks a second copy when the first takes longer than most of its node's reads do. */
export class Hedges {
  readonly #budget = new Budget(HEDGE_STOCK_MAX);
  #watched: Watched[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly map: ClusterMap,
    private readonly clock: () => number,
  ) {}

  /** The call was just handed to the link. */
  watch(call: Call, slot: Slot, link: Link): void {
    this.#budget.earn(1);
    const usualMs = link.pipeline.vitals.latencies?.percentileMs;
    if (usualMs === undefined || this.#watched.length >= WATCHED_MAX) return;
    // Both ends of a latency are whole milliseconds, so it is up to one longer than it looks.
    const waitMs = usualMs + 1;
    this.#watched.push({ call, slot, link, dueAt: this.clock() + waitMs });
    this.#timer ??= setTimeout(() => this.#look(), waitMs);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#watched = [];
  }

  #look(): void {
    this.#timer = undefined;
    const nowMs = this.clock();
    const waiting = this.#watched.filter(({ call }) => !call.isSettled);
    this.#watched = waiting.filter(({ dueAt }) => dueAt > nowMs);
    for (const watched of waiting) if (watched.dueAt <= nowMs) this.#hedge(watched);
    if (this.#watched.length === 0) return;
    const nextAt = this.#watched.reduce((next, { dueAt }) => Math.min(next, dueAt), Number.POSITIVE_INFINITY);
    this.#timer = setTimeout(() => this.#look(), Math.max(1, nextAt - nowMs));
  }

  #hedge({ call, slot, link }: Watched): void {
    const copy = this.map.copyOf(slot, link);
    if (copy === undefined || !this.#budget.spend()) return;
    const answered = (frame: unknown): void => {
      if (!call.isSettled) answerWith(call, frame as Buffer);
    };
    send(copy, call.partFor(ReadFlag.NEAREST, answered, ignore));
  }
}

function send(copy: Link, part: Call): void {
  try {
    copy.pipeline.adopt(part);
  } catch (error) {
    part.fail(error as Error);
  }
}

/** The first copy still has the call. */
const ignore = (): void => undefined;
