/**
 * What happens to slots while the list of members changes, as an onlooker sees it who stands beside every worker: when
 * a slot is sealed, given and open again, and which phase of the change a node is in. Nothing is changed by looking.
 *
 * In runs of planned changes alone a slot takes writes again within 50 ms, and that is checked here: from the seal to
 * the moment at which this node takes writes again, or knows that the other one does.
 */

import type { TopologyView } from '../../../src/cluster/index.js';
import { isNoSlot, slotsOf } from '../../../src/cluster/worker/slot-bits.js';
import { type NativeWorker, SlotFlag, SlotState } from '../../../src/store/index.js';
import type { Schedule } from './schedule.js';

/** REPLICATION.md section 1: what a hand-over may have a write wait. */
export const WAIT_MS_MAX = 50;

/** `doubling`: the change was published. `streaming`: items go out. `ending`: all but one node are done. */
export const PHASES = ['doubling', 'streaming', 'sealed', 'given', 'ending'] as const;
export type Phase = (typeof PHASES)[number];

/** Between whom. */
export interface Moment {
  readonly phase: Phase;
  readonly source: string;
  readonly receiver: string;
}

/** What an onlooker asks of the world. */
interface Watched {
  readonly schedule: Schedule;
  readonly view: TopologyView;
  /** The name of the node that a slot is to be handed to. */
  goalOf(slot: number): string;
  note(text: string): void;
  violation(text: string): void;
}

interface Named {
  readonly name: string;
}

export class Moves {
  /** The longest that a slot was sealed. */
  longestMs = 0;
  readonly #walks = new WeakMap<NativeWorker, NativeWorker['collect']>();
  readonly #sealed = new Map<string, Map<number, number>>();
  #told: (moment: Moment) => void = () => {};

  constructor(
    private readonly world: Watched,
    /** Nothing but planned changes happens. */
    private readonly isQuiet: boolean,
  ) {}

  /** Whoever waits for a phase is told of each one. */
  onPhase(told: (moment: Moment) => void): void {
    this.#told = told;
  }

  tell(moment: Moment): void {
    this.#told(moment);
  }

  /** Looks on while this worker works. */
  watch(node: Named, native: NativeWorker): void {
    const [seal, give, collect] = [native.seal, native.give, native.collect].map((one) => one.bind(native)) as [
      NativeWorker['seal'],
      NativeWorker['give'],
      NativeWorker['collect'],
    ];
    this.#walks.set(native, collect);
    native.seal = (goal, slots, slotsMax) => {
      const sealed = seal(goal, slots, slotsMax);
      if (isNoSlot(sealed)) return sealed;
      const { nowMs } = this.world.schedule;
      const known = this.#sealed.get(node.name) ?? new Map<number, number>();
      this.#sealed.set(node.name, known);
      for (const slot of slotsOf(sealed)) if (!known.has(slot)) known.set(slot, nowMs);
      this.tell({ phase: 'sealed', source: node.name, receiver: this.#nameOf(goal) });
      return sealed;
    };
    native.give = (slots) => {
      const given = give(slots);
      if (!isNoSlot(given)) this.tell({ phase: 'given', source: node.name, receiver: this.#goalOf(given) });
      return given;
    };
    native.collect = (...wanted) => {
      const collected = collect(...wanted);
      if (collected.items > 0 && this.world.view.next !== undefined) {
        this.tell({ phase: 'streaming', source: node.name, receiver: this.#newcomer(node.name) });
      }
      return collected;
    };
  }

  /** A look at what is in a worker's memory, of which nobody is told. */
  walkOf(native: NativeWorker): NativeWorker['collect'] | undefined {
    return this.#walks.get(native);
  }

  /** Which of the sealed slots are open again. */
  look({ name }: Named, native: NativeWorker): void {
    const known = this.#sealed.get(name);
    if (known === undefined) return;
    const [states, flags] = [native.states(), native.slotFlags()];
    for (const [slot, sinceMs] of known) {
      const isShut = states[slot] === SlotState.PRIMARY && ((flags[slot] as number) & SlotFlag.SEALED) !== 0;
      if (isShut) continue;
      known.delete(slot);
      this.#opened(name, slot, sinceMs);
    }
    if (known.size === 0) this.#sealed.delete(name);
  }

  /** The node is gone, and with it whoever waits for it. */
  forget(name: string): void {
    this.#sealed.delete(name);
  }

  #opened(name: string, slot: number, sinceMs: number): void {
    const tookMs = this.world.schedule.nowMs - sinceMs;
    this.world.note(`opened ${name} ${slot} ${tookMs}`);
    this.longestMs = Math.max(this.longestMs, tookMs);
    if (this.isQuiet && tookMs > WAIT_MS_MAX) {
      this.world.violation(`slot ${slot} of ${name} was sealed for ${tookMs.toFixed(1)} ms`);
    }
  }

  #nameOf(number: number): string {
    return this.world.view.members.find((member) => member.number === number)?.name ?? '';
  }

  #goalOf(slots: Uint8Array): string {
    const slot = slotsOf(slots).next().value ?? 0;
    return this.world.goalOf(slot);
  }

  /** Somebody who is to have more than he has. */
  #newcomer(source: string): string {
    const { members, next = [] } = this.world.view;
    const joining = members.find(({ isJoining }) => isJoining === true)?.name;
    return joining ?? next.find(({ name }) => name !== source)?.name ?? '';
  }
}
