/**
 * Virtual time: a heap of what is to happen, ordered by (time, random tie-break, sequence). Things due at the same
 * moment happen in an order that the seed draws, for no real machine promises one.
 */
import type { Random } from './random.js';

/** Of FNV-1a, 32 bits. */
const HASH_PRIME = 16_777_619;

export interface Event {
  readonly atMs: number;
  readonly tie: number;
  readonly sequence: number;
  readonly run: () => void;
  isCancelled: boolean;
}

export class Schedule {
  /** Milliseconds of true time since the world began. */
  nowMs = 0;
  /** Events run so far, and a hash of which they were and when. */
  steps = 0;
  hash = 0;
  readonly #heap: Event[] = [];
  #sequence = 0;

  constructor(private readonly random: Random) {}

  after(delayMs: number, run: () => void): Event {
    return this.at(this.nowMs + Math.max(0, delayMs), run);
  }

  at(atMs: number, run: () => void): Event {
    const event: Event = { atMs, tie: this.random.word(), sequence: this.#sequence++, run, isCancelled: false };
    this.#push(event);
    return event;
  }

  /** Runs everything due until `endMs`, or until `isDone` says so after an event; time stands at the end then. */
  runUntil(endMs: number, isDone: () => boolean = () => false): boolean {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#pop();
      if (next.isCancelled) continue;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      this.steps++;
      this.hash = Math.imul(this.hash ^ next.sequence, HASH_PRIME) ^ Math.floor(next.atMs * 1_000);
      next.run();
      if (isDone()) return true;
    }
    this.nowMs = endMs;
    return isDone();
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs;
  return a.tie !== b.tie ? a.tie < b.tie : a.sequence < b.sequence;
}
