/**
 * Requests that wait for another try, by slot. While a slot has one waiting, later requests to it queue behind it, so
 * that one client's writes to a key are never turned round; they leave together when nothing they wait for is left.
 */

import type { Slot } from '../ring/index.js';
import type { Call } from './call.js';
import { HengeError } from './errors.js';

/** Past this many, requests fail: as many as one node may have in flight. */
const HELD_MAX = 65_536;

interface Queue {
  readonly calls: Call[];
  /** Pauses and fetches that the queue waits for. */
  reasons: number;
}

export class HeldCalls {
  readonly #queues = new Map<Slot, Queue>();
  #count = 0;

  /** `release` gets the calls that wait no longer, in their order. */
  constructor(private readonly release: (calls: readonly Call[]) => void) {}

  get count(): number {
    return this.#count;
  }

  has(slot: Slot): boolean {
    return this.#queues.has(slot);
  }

  /** Puts the call at the end of its slot's queue, and makes the queue wait for the reason, if there is one. */
  add(slot: Slot, call: Call, reason?: Promise<unknown>): void {
    if (this.#count >= HELD_MAX) {
      call.fail(new HengeError('QUEUE_FULL', `over ${HELD_MAX} requests wait for another try`));
      return;
    }
    const queue = this.#queues.get(slot) ?? { calls: [], reasons: 0 };
    queue.calls.push(call);
    this.#queues.set(slot, queue);
    this.#count++;
    if (reason === undefined) return;
    queue.reasons++;
    void reason.then(() => this.#settle(slot, queue));
  }

  expire(nowMs: number): void {
    for (const { calls } of this.#queues.values()) {
      for (const call of calls) {
        if (call.deadlineAt <= nowMs)
          call.fail(new HengeError('MOVED', 'no node took the request within the deadline'));
      }
    }
  }

  failAll(error: HengeError): void {
    for (const { calls } of this.#queues.values()) for (const call of calls) call.fail(error);
    this.#queues.clear();
    this.#count = 0;
  }

  #settle(slot: Slot, queue: Queue): void {
    if (--queue.reasons > 0 || this.#queues.get(slot) !== queue) return;
    this.#queues.delete(slot);
    this.#count -= queue.calls.length;
    this.release(queue.calls.filter((call) => !call.isSettled));
  }
}
