/**
 * What moves between two slot tables: the copies each member gains and loses, and the leaderships that change hands.
 *
 * Members are matched by name, for an index means another member in another table. A copy moves when a member holds the
 * slot in the second table and not in the first; a change of rank alone moves no data. The plan says what, not how: who
 * sends, how fast and in which order is the rebalancer's affair.
 */

import assert from 'node:assert';
import { SLOTS, type Slot } from './slot.js';
import { primaryOf, type SlotTable } from './table.js';

/** What a change means for one member; the lists of slots are ascending. */
export interface MemberMovement {
  readonly name: string;
  /** Slots of which it gets a copy it does not hold. */
  readonly gains: readonly Slot[];
  /** Slots of which it gives its copy up. */
  readonly loses: readonly Slot[];
  /** Copies held, at any rank. */
  readonly copiesBefore: number;
  readonly copiesAfter: number;
  /** Slots led. */
  readonly leadsBefore: number;
  readonly leadsAfter: number;
}

export interface MovementPlan {
  /** The members of either table, by name. */
  readonly members: readonly MemberMovement[];
  /** Copies that must be sent. */
  readonly copiesMoved: number;
  /** The fewest copies with which the one table's numbers of copies per member can become the other's. */
  readonly copiesMovedIdeal: number;
  /** Slots whose primary changes. */
  readonly primariesMoved: number;
}

/**
 * The movement from one table to another.
 * @throws AssertionError when they differ in the number of copies, which a cluster never changes.
 */
export function planMovement(from: SlotTable, to: SlotTable): MovementPlan {
  assert(from.rf === to.rf, `tables of ${from.rf} and of ${to.rf} copies cannot follow each other`);
  const names = [...new Set([...from.members, ...to.members])].sort();
  const before = holdingsOf(from);
  const after = holdingsOf(to);
  const members = names.map((name) => movementOf(name, before.get(name) ?? NOTHING, after.get(name) ?? NOTHING));
  return {
    members,
    copiesMoved: sumOf(members, ({ gains }) => gains.length),
    copiesMovedIdeal: sumOf(members, ({ copiesBefore, copiesAfter }) => Math.max(0, copiesAfter - copiesBefore)),
    primariesMoved: countSlots((slot) => primaryNameOf(from, slot) !== primaryNameOf(to, slot)),
  };
}

/** What one member holds in one table. */
interface Holding {
  readonly slots: Set<Slot>;
  leads: number;
}

const NOTHING: Holding = { slots: new Set(), leads: 0 };

function holdingsOf({ rf, members, rows }: SlotTable): Map<string, Holding> {
  const holdings = members.map((name): [string, Holding] => [name, { slots: new Set(), leads: 0 }]);
  for (const [at, member] of rows.entries()) {
    const holding = holdings[member]?.[1];
    if (holding === undefined) continue; // NO_NODE: fewer members than copies
    holding.slots.add(Math.floor(at / rf) as Slot);
    if (at % rf === 0) holding.leads += 1;
  }
  return new Map(holdings);
}

function movementOf(name: string, before: Holding, after: Holding): MemberMovement {
  return {
    name,
    gains: [...after.slots].filter((slot) => !before.slots.has(slot)),
    loses: [...before.slots].filter((slot) => !after.slots.has(slot)),
    copiesBefore: before.slots.size,
    copiesAfter: after.slots.size,
    leadsBefore: before.leads,
    leadsAfter: after.leads,
  };
}

/** Undefined when there are no members, whose index no table has. */
function primaryNameOf(table: SlotTable, slot: number): string | undefined {
  return table.members[primaryOf(table, slot)];
}

function sumOf(members: readonly MemberMovement[], of: (member: MemberMovement) => number): number {
  return members.reduce((sum, member) => sum + of(member), 0);
}

function countSlots(matches: (slot: number) => boolean): number {
  let count = 0;
  for (let slot = 0; slot < SLOTS; slot++) if (matches(slot)) count += 1;
  return count;
}
