/**
 * How a node leaves its cluster: it is asked to, by an operator or because it is about to stop (`--drain-on-stop`);
 * others get all it has; the coordinator's list is without it; its record says so; and then its daemon may end.
 *
 * Who is about to stop waits as long as somebody is there who could take what it has. If nobody is, because it is the
 * last one or all others stop too, it takes its wish back, and stops as a node does that will return.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BaseMember, Registry, TopologyView } from '../cluster/index.js';
import { ConfigError } from './config.js';
import type { Logger } from './log.js';
import { leave, wantMember } from './membership.js';

/** How long a node that has left tells clients so. */
const FAREWELL_MS = 2_000;
const POLL_MS = 100;

export interface LeavingParts {
  readonly registry: Registry;
  readonly self: BaseMember;
  readonly log: Logger;
  /** What this node knows at the moment. */
  readonly view: () => TopologyView;
}

export class Leaving {
  readonly #parts: LeavingParts;
  #wasMember = false;
  /** The node ends whatever becomes of it. */
  #isOver = false;
  #hasLeft = false;
  #onLeft: () => void = () => {};
  /** Resolves when the node was asked to leave, and its slots are others' now. */
  readonly left = new Promise<void>((resolve) => {
    this.#onLeft = resolve;
  });

  constructor(parts: LeavingParts) {
    this.#parts = parts;
  }

  /** Nothing is asked of the registry any more. */
  close(): void {
    this.#isOver = true;
  }

  /** There is another topology. A member that was asked to leave has left when it is in none of its lists. */
  async consider({ members }: TopologyView): Promise<void> {
    const { registry, self, log } = this.#parts;
    const isMember = members.some(({ name }) => name === self.name);
    if (isMember) this.#wasMember = true;
    if (isMember || !this.#wasMember || this.#isOver) return;
    let hasLeft: boolean | undefined;
    while (hasLeft === undefined && !this.#isOver) {
      hasLeft = await leave(registry, self).catch((error: unknown) => {
        log.warn({ event: 'leave-failed', err: error }, 'the registry does not say whether this node may end');
        return undefined;
      });
      if (hasLeft === undefined) await sleep(FAREWELL_MS);
    }
    if (hasLeft !== true) return;
    this.#hasLeft = true;
    log.info({ event: 'left' }, `${self.name} has left the cluster`);
    // Who has not heard yet is still sent on; a connection that closed would fail what is on it.
    await sleep(FAREWELL_MS);
    this.#onLeft();
  }

  /**
   * The node is to stop: leaves first, if it can. Resolves when it has left, when it cannot, or when `signal` says that
   * nobody wants to wait any more.
   */
  async beforeStop(signal: AbortSignal): Promise<void> {
    const { registry, self, log } = this.#parts;
    try {
      await wantMember(registry, self.name, 'drain');
    } catch (error) {
      const why = error instanceof ConfigError ? { why: error.message } : { err: error };
      log.warn({ event: 'stays', ...why }, `${self.name} stops without leaving the cluster`);
      return;
    }
    log.info({ event: 'leaving' }, `${self.name} leaves the cluster before it stops`);
    const isOver = this.left.then(() => true);
    while (!(await Promise.race([isOver, sleep(POLL_MS, false)]))) {
      if (this.#hasLeft || (!signal.aborted && this.#isAnybodyThere())) continue;
      await this.#stayAfterAll(signal.aborted ? 'it was told again to stop' : 'nobody is there to leave its items to');
      return;
    }
  }

  #isAnybodyThere(): boolean {
    const { view, self } = this.#parts;
    const { members, next } = view();
    const isStaying = (name: string): boolean => next === undefined || next.some((place) => place.name === name);
    return members.some(
      ({ name, state }) => name !== self.name && (state === 'in' || state === 'returning') && isStaying(name),
    );
  }

  async #stayAfterAll(why: string): Promise<void> {
    const { registry, self, log } = this.#parts;
    log.warn({ event: 'stays', why }, `${self.name} stops without leaving the cluster: ${why}`);
    await wantMember(registry, self.name, 'in').catch((error: unknown) => {
      log.warn({ event: 'stays-failed', err: error }, 'the registry still has it that this node is to leave');
    });
  }
}
