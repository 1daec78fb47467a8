/**
 * How far a change of the list of members is: what the rows say is to change, less what the nodes say is left of it.
 *
 * Every node can tell, for all of them hear what each says with its lease. What a node has not said yet in the epoch
 * that stands counts as not done. The time that is left is that of the bytes that are left, at the mean pace since this
 * node saw the change begin or somebody say how fast it is to go; of the slots, when no bytes are left.
 */
import { SLOTS } from '../../ring/index.js';
import { type AliveRecord, baseOf, type RingPlace, type TopologyView } from '../records.js';
import { changingSlots, rowsOf } from '../rows.js';

/** Sooner than this a pace says nothing. */
const PACE_MS_MIN = 1_000;

/** What `GET /v1/rebalance` and `henge rebalance status --json` give. */
export interface RebalanceStatus {
  readonly state: 'idle' | 'moving' | 'paused';
  readonly epoch: number;
  /**
   * The epoch that ends the change, if nothing comes between: who dies or returns meanwhile makes one too. null: idle.
   */
  readonly next: number | null;
  /** Slots that get another leader or other copies, and those that have them. */
  readonly slotsTotal: number;
  readonly slotsDone: number;
  /** Of items to be sent, as the nodes estimate it; grows with what callers write. */
  readonly bytesTotal: number;
  readonly bytesDone: number;
  /** null: nobody knows yet, or nothing moves. */
  readonly etaMs: number | null;
  /** An operator stopped it; while idle this holds for the change that comes. */
  readonly isPaused: boolean;
  readonly isCancelled: boolean;
  /** What each node may send; 0: as much as it can; null: what its own configuration says. */
  readonly bytesPerSecond: number | null;
  readonly joining: readonly string[];
  readonly leaving: readonly string[];
  /** Members that get another weight or zone. */
  readonly changing: readonly string[];
  readonly nodes: readonly NodeProgress[];
}

/** What a node has said of its own part. */
export interface NodeProgress {
  readonly name: string;
  /** The epoch of which it said so: what it says of an older one is not counted. null: it says nothing. */
  readonly epoch: number | null;
  readonly handOvers: number;
  readonly movedBytes: number;
  readonly toMoveBytes: number;
}

export interface Sight {
  readonly view: TopologyView;
  readonly alive: ReadonlyMap<string, AliveRecord>;
  readonly nowMs: number;
}

interface Amounts {
  readonly slotsTotal: number;
  readonly slotsDone: number;
  readonly bytesTotal: number;
  readonly bytesDone: number;
}

const NOTHING: Amounts = { slotsTotal: 0, slotsDone: 0, bytesTotal: 0, bytesDone: 0 };

/** Where a pace is measured from. */
interface Start {
  readonly change: string;
  readonly sight: Sight;
  /** Once somebody wants to know. */
  amounts: Amounts | undefined;
}

export class ChangeProgress {
  readonly #slots: number;
  #start: Start | undefined;
  /** By node number, how many slots are to change in an epoch. */
  #changing: { readonly epoch: number; readonly slots: ReadonlyMap<number, number> } | undefined;

  /** `slots` is smaller in tests only. */
  constructor(slots: number = SLOTS) {
    this.#slots = slots;
  }

  /** There is another view: of a change that begins, or is to go on in another way, the pace is measured from here. */
  saw(sight: Sight): void {
    const { next, isCancelled, rebalance } = sight.view;
    if (next === undefined) {
      this.#start = undefined;
      this.#changing = undefined;
      return;
    }
    const change = JSON.stringify([next, isCancelled, rebalance]);
    if (this.#start?.change === change) return;
    this.#start = { change, sight: { ...sight, alive: new Map(sight.alive) }, amounts: undefined };
  }

  status(sight: Sight): RebalanceStatus {
    const { view, alive, nowMs } = sight;
    const isMoving = view.next !== undefined;
    const isPaused = view.rebalance?.isPaused === true;
    const amounts = this.#amounts(sight);
    const nodes = view.members.map(({ name }) => nodeProgress(name, alive.get(name)));
    return {
      state: isMoving ? (isPaused ? 'paused' : 'moving') : 'idle',
      epoch: view.epoch,
      next: isMoving ? view.epoch + 1 : null,
      ...amounts,
      etaMs: isMoving && !isPaused ? this.#etaMs(amounts, nowMs) : null,
      isPaused,
      isCancelled: view.isCancelled === true,
      bytesPerSecond: view.rebalance?.bytesPerSecond ?? null,
      ...whoChanges(view),
      nodes,
    };
  }

  #etaMs({ slotsTotal, slotsDone, bytesTotal, bytesDone }: Amounts, nowMs: number): number | null {
    const start = this.#start;
    if (start === undefined || nowMs - start.sight.nowMs < PACE_MS_MIN) return null;
    start.amounts ??= this.#amounts(start.sight);
    const [left, done] =
      bytesDone < bytesTotal
        ? [bytesTotal - bytesDone, bytesDone - start.amounts.bytesDone]
        : [slotsTotal - slotsDone, slotsDone - start.amounts.slotsDone];
    return done > 0 ? Math.round((left * (nowMs - start.sight.nowMs)) / done) : null;
  }

  #amounts({ view, alive }: Sight): Amounts {
    if (view.next === undefined) return NOTHING;
    const changing = this.#changingIn(view);
    const sums = { slotsTotal: 0, slotsLeft: 0, bytesTotal: 0, bytesDone: 0 };
    for (const { name, number } of view.members) {
      const [record, slots] = [alive.get(name), changing.get(number) ?? 0];
      const isCurrent = record?.epoch === view.epoch;
      sums.slotsTotal += slots;
      sums.slotsLeft += isCurrent ? record.handOvers : slots;
      if (!isCurrent) continue;
      sums.bytesDone += record.movedBytes;
      sums.bytesTotal += record.movedBytes + record.toMoveBytes;
    }
    const { slotsTotal, slotsLeft, bytesTotal, bytesDone } = sums;
    return { slotsTotal, slotsDone: Math.max(0, slotsTotal - slotsLeft), bytesTotal, bytesDone };
  }

  #changingIn(view: TopologyView): ReadonlyMap<number, number> {
    if (this.#changing?.epoch === view.epoch) return this.#changing.slots;
    const slots = changingSlots(rowsOf(view, this.#slots));
    this.#changing = { epoch: view.epoch, slots };
    return slots;
  }
}

function nodeProgress(name: string, record: AliveRecord | undefined): NodeProgress {
  if (record === undefined) return { name, epoch: null, handOvers: 0, movedBytes: 0, toMoveBytes: 0 };
  const { epoch, handOvers, movedBytes, toMoveBytes } = record;
  return { name, epoch, handOvers, movedBytes, toMoveBytes };
}

function whoChanges(view: TopologyView): Pick<RebalanceStatus, 'joining' | 'leaving' | 'changing'> {
  const { next } = view;
  if (next === undefined) return { joining: [], leaving: [], changing: [] };
  const base = baseOf(view);
  const isOther = (one: RingPlace, other: RingPlace): boolean => one.weight !== other.weight || one.zone !== other.zone;
  const namesOf = (places: readonly RingPlace[]): readonly string[] => places.map(({ name }) => name);
  return {
    joining: namesOf(next.filter(({ name }) => !base.some((member) => member.name === name))),
    leaving: namesOf(base.filter(({ name }) => !next.some((place) => place.name === name))),
    changing: namesOf(next.filter((place) => base.some((one) => one.name === place.name && isOther(one, place)))),
  };
}
