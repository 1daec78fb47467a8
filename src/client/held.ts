/**
 * Requests that wait for another try, by slot. While a slot has one waiting, later requests to it queue behind it, so
 * that none overtakes it; they leave together, in their order, when nothing they wait for is left. (What was on its way
 * already is not called back: to a caller who awaited neither, two such writes are concurrent.) Reads pass a queue that
 * waits for a leader which is not ready: other copies can answer them.
 */

import { Status } from '../protocol/index.js';
import type { Slot } from '../ring/index.js';
import { errorOf } from './answer.js';
import type { Call } from './call.js';
import { HengeError } from './errors.js';

/** Past this many, requests fail: as many as one node may have in flight. */
const HELD_MAX = 65_536;

interface Queue {
  readonly calls: Call[];
  /** What the newest of its calls was refused with. */
  status: number;
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

  /** Whether a new request to the slot must queue. */
  blocks(slot: Slot, isOrdinaryRead: boolean): boolean {
    const queue = this.#queues.get(slot);
    return queue !== undefined && !(isOrdinaryRead && queue.status === Status.NOT_READY);
  }

  /** Puts a call that was refused at the end of its slot's queue, which waits for the reason from now on. */
  add(slot: Slot, call: Call, status: number, reason: Promise<unknown>): void {
    const queue = this.#queues.get(slot) ?? { calls: [], status, reasons: 0 };
    if (!this.#push(queue, call)) return;
    this.#queues.set(slot, queue);
    queue.status = status;
    queue.reasons++;
    void reason.then(() => this.#settle(slot, queue));
  }

  /** Puts a new call behind those that `blocks` told of. */
  queue(slot: Slot, call: Call): void {
    const queue = this.#queues.get(slot);
    if (queue !== undefined) this.#push(queue, call);
  }

  expire(nowMs: number): void {
    for (const { calls, status } of this.#queues.values()) {
      for (const call of calls) if (call.deadlineAt <= nowMs) call.fail(errorOf(status, '', call));
    }
  }

  failAll(error: HengeError): void {
    for (const { calls } of this.#queues.values()) for (const call of calls) call.fail(error);
    this.#queues.clear();
    this.#count = 0;
  }

  #push(queue: Queue, call: Call): boolean {
    if (this.#count >= HELD_MAX) {
      call.fail(new HengeError('QUEUE_FULL', `over ${HELD_MAX} requests wait for another try`));
      return false;
    }
    queue.calls.push(call);
    this.#count++;
    return true;
  }

  #settle(slot: Slot, queue: Queue): void {
    if (--queue.reasons > 0 || this.#queues.get(slot) !== queue) return;
    this.#queues.delete(slot);
    this.#count -= queue.calls.length;
    this.release(queue.calls.filter((call) => !call.isSettled));
  }
}
