/**
 * The slot table: which members hold each slot, first its primary, then its replicas. A pure function of the member
 * list.
 *
 * Slot s stands at s << 18 on the circle of points.ts. From there one walks clockwise and takes the first distinct
 * members, those in zones the row does not have yet before others. Loads are bounded (Mirrokni, Thorup, Zadimoghaddam:
 * "Consistent Hashing with Bounded Loads", 2018): a member that already leads its weighted share and a twentieth is
 * passed over, and the same holds for each replica rank. Where the members do not allow all three wishes, the bound
 * yields first, in steps of a twentieth and so no further than it must, then distinct zones, never distinct members.
 *
 * The slots are visited from the last to the first, for then the order in which a walk would meet the members is a
 * move-to-front list: a point one has just passed, walking backwards, is the first that a walk forwards meets. So no
 * walk is ever longer than the member list, however many members are full.
 */

import assert from 'node:assert';
import { type KnownPoints, type Points, pointsOf, type RingMember, sortMembers, vnodesOf } from './points.js';
import { SLOTS } from './slot.js';
import { finish, STEP_SLOTS, type Steps } from './steps.js';

/** An entry of a row beyond the number of members. */
export const NO_NODE = 0xffff;

export interface SlotTable {
  /** Copies of each slot, the primary's included. */
  readonly rf: number;
  /** The members' names, sorted; an entry of `rows` is an index into them. */
  readonly members: readonly string[];
  /** 16,384 rows of `rf` entries: the primary's index first, NO_NODE where there are fewer members than copies. */
  readonly rows: Uint16Array;
}

/** How much of its weighted share a member holds at any one rank, at most, where the members allow it. */
export const LOAD_FACTOR_MAX = 1.05;

/** Slots that a member with this share holds at any one rank, at most, where the members allow it. */
export const boundOf = (share: number, loadFactorMax: number = LOAD_FACTOR_MAX): number =>
  Math.max(Math.ceil(share), Math.floor(loadFactorMax * share));

/** The bound yields by this part of a member's share at a time. */
const YIELD_STEP = 0.05;

/** Positions on the circle: slot s of n stands at s / n of the way round, which for 16,384 is s << 18. */
const POSITIONS = 2 ** 32;

export interface TableOptions {
  /** For comparison only: Infinity gives plain consistent hashing. */
  readonly loadFactorMax?: number;
  /** A power of two, at most SLOTS; fewer only for small worlds in tests. */
  readonly slots?: number;
  /** Points of lists before this one. */
  readonly points?: KnownPoints;
}

/** A list of members as tables are made from it; by index, in the order in which tables number them. */
export interface RingShape {
  readonly names: readonly string[];
  readonly vnodes: Uint32Array;
  /** Zones, counted from 0, and how many there are. */
  readonly zones: Uint16Array;
  readonly zoneCount: number;
  /** Slots that a member holds at any one rank before it is passed over, and by how many that yields at a time. */
  readonly bounds: Float64Array;
  readonly yieldSteps: Float64Array;
}

/** The same with where everybody stands. */
interface Ring extends RingShape {
  readonly points: Points;
}

/** @throws AssertionError when the list makes no ring (see `sortMembers`) */
export function ringShapeOf(
  members: readonly RingMember[],
  { loadFactorMax = LOAD_FACTOR_MAX, slots = SLOTS }: TableOptions = {},
): RingShape {
  const sorted = sortMembers(members);
  const zoneNames = [...new Set(sorted.map(({ zone = '' }) => zone))];
  const weightSum = sorted.reduce((sum, { weight = 1 }) => sum + weight, 0);
  const shares = Float64Array.from(sorted, ({ weight = 1 }) => (slots * weight) / weightSum);
  return {
    names: sorted.map(({ name }) => name),
    vnodes: Uint32Array.from(sorted, ({ weight = 1 }) => vnodesOf(weight)),
    zones: Uint16Array.from(sorted, ({ zone = '' }) => zoneNames.indexOf(zone)),
    zoneCount: zoneNames.length,
    bounds: shares.map((share) => boundOf(share, loadFactorMax)),
    yieldSteps: shares.map((share) => share * YIELD_STEP),
  };
}

/**
 * The table of a member list; the order of the list does not matter.
 *
 * @throws AssertionError when `rf` is not a positive integer, or the list makes no ring (see `sortMembers`).
 */
export function buildSlotTable(members: readonly RingMember[], rf: number, options?: TableOptions): SlotTable {
  return finish(slotTableSteps(members, rf, options));
}

/** The same in steps. */
export function* slotTableSteps(
  members: readonly RingMember[],
  rf: number,
  { slots = SLOTS, ...options }: TableOptions = {},
): Steps<SlotTable> {
  assert(Number.isInteger(rf) && rf >= 1, `a slot has one copy or more, not ${rf}`);
  const points = pointsOf(sortMembers(members), options.points);
  const ring: Ring = { ...ringShapeOf(members, { slots, ...options }), points };
  yield;
  const rows = new Uint16Array(slots * rf).fill(NO_NODE);
  const chooser = new RowChooser(ring, Math.min(rf, ring.names.length));
  const walk = new Walk(ring.points, ring.names.length);
  for (let slot = slots - 1; slot >= 0; slot--) {
    const order = walk.from(slot * (POSITIONS / slots));
    chooser.fill(rows, slot * rf, order);
    if (slot % STEP_SLOTS === 0) yield;
  }
  return { rf, members: ring.names, rows };
}

/** Index of the member that leads a slot, NO_NODE when there are no members. One array read. */
export function primaryOf(table: SlotTable, slot: number): number {
  return table.rows[slot * table.rf] as number;
}

/** The order in which a walk clockwise meets the members, for starting points that only ever move backwards. */
class Walk {
  private readonly points: Points;
  private readonly order: Uint16Array;
  private nextPoint: number;

  constructor(points: Points, memberCount: number) {
    this.points = points;
    this.order = Uint16Array.from({ length: memberCount }, (_, member) => member);
    this.nextPoint = points.owners.length - 1;
    // One full turn first: the last slots' walks go on past the end of the circle.
    for (let point = this.nextPoint; point >= 0; point--) this.moveToFront(point);
  }

  /** Members by first appearance at `position` or after it. The array is valid until the next call. */
  from(position: number): Uint16Array {
    const { positions } = this.points;
    while (this.nextPoint >= 0 && (positions[this.nextPoint] as number) >= position) this.moveToFront(this.nextPoint--);
    return this.order;
  }

  private moveToFront(point: number): void {
    const { order } = this;
    const member = this.points.owners[point] as number;
    let carried = order[0] as number;
    order[0] = member;
    for (let at = 1; carried !== member; at++) {
      const displaced = order[at] as number;
      order[at] = carried;
      carried = displaced;
    }
  }
}

/**
 * Chooses the members of one row after another, and counts what each has at each rank. HOT: some 65,000 choices a
 * table, at a moment when requests wait for it; so no choice allocates anything.
 */
class RowChooser {
  private readonly ring: Ring;
  private readonly copies: number;
  /** The row in which each member, and each zone, was chosen last, counted from 1. */
  private readonly memberRows: Uint32Array;
  private readonly zoneRows: Uint32Array;
  private row = 0;
  /** Slots held so far: `loads[rank][member]`. */
  private readonly loads: readonly Uint16Array[];

  constructor(ring: Ring, copies: number) {
    this.ring = ring;
    this.copies = copies;
    this.memberRows = new Uint32Array(ring.names.length);
    this.zoneRows = new Uint32Array(ring.zoneCount);
    this.loads = Array.from({ length: copies }, () => new Uint16Array(ring.names.length));
  }

  /** Fills the row that begins at `from` with as many copies as there can be, from the members in walking order. */
  fill(rows: Uint16Array, from: number, order: Uint16Array): void {
    this.row++;
    for (let rank = 0; rank < this.copies; rank++) {
      const load = this.loads[rank] as Uint16Array;
      const member = this.choose(order, rank, load);
      rows[from + rank] = member;
      load[member] = (load[member] as number) + 1;
      this.memberRows[member] = this.row;
      this.zoneRows[this.ring.zones[member] as number] = this.row;
    }
  }

  private choose(order: Uint16Array, rank: number, load: Uint16Array): number {
    const { zones, zoneCount } = this.ring;
    // As long as each choice so far took a new zone, there is one left exactly when there are more zones than choices.
    const wantsNewZone = rank < zoneCount;
    let best = NO_NODE;
    let bestSteps = Number.POSITIVE_INFINITY;
    for (let at = 0; at < order.length; at++) {
      const member = order[at] as number;
      if (this.memberRows[member] === this.row) continue;
      if (wantsNewZone && this.zoneRows[zones[member] as number] === this.row) continue;
      const steps = this.stepsOverBound(member, load[member] as number);
      if (steps === 0) return member;
      if (steps < bestSteps) {
        best = member;
        bestSteps = steps;
      }
    }
    return best;
  }

  /** How often the bound would have to yield for this member to take one more slot. */
  private stepsOverBound(member: number, load: number): number {
    const { bounds, yieldSteps } = this.ring;
    const excess = load + 1 - (bounds[member] as number);
    return excess <= 0 ? 0 : Math.ceil(excess / (yieldSteps[member] as number));
  }
}
