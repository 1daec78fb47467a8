/**
 * What a movement between two slot tables costs, as far as it can be told beforehand: items and bytes that each member
 * sends and gets, and how even the second table is.
 *
 * A member knows what it holds, not how much of it is in which slot; keys spread evenly, so every copy it holds is
 * taken for an equal part. Few keys, or a few large values under one hash tag, make the estimate worse, never the
 * movement.
 */

import type { MovementPlan } from './plan.js';
import type { RingMember } from './points.js';
import { SLOTS } from './slot.js';
import { boundOf, NO_NODE, primaryOf, type SlotTable } from './table.js';

export interface Amount {
  readonly items: number;
  readonly bytes: number;
}

export interface MemberEstimate {
  readonly name: string;
  /** As primary of slots of which others get a copy: it is the primary that sends. */
  readonly sends: Amount;
  readonly receives: Amount;
  readonly holdsBefore: Amount;
  readonly holdsAfter: Amount;
}

const NOTHING: Amount = { items: 0, bytes: 0 };

/**
 * The costs of `plan`, which leads away from the table `from`, in the order of the plan's members.
 * @param held what members hold, all copies counted; of a member that is left out the mean of the others is assumed
 */
export function estimateMovement(
  from: SlotTable,
  plan: MovementPlan,
  held: ReadonlyMap<string, Amount>,
): readonly MemberEstimate[] {
  const known = plan.members.filter(({ name, copiesBefore }) => copiesBefore > 0 && held.has(name));
  const mean = part(
    known.reduce((sum, { name }) => plus(sum, held.get(name) ?? NOTHING), NOTHING),
    known.reduce((sum, { copiesBefore }) => sum + copiesBefore, 0),
  );
  const copySizes = new Map(
    plan.members.map(({ name, copiesBefore }) => {
      const amount = held.get(name);
      return [name, amount === undefined || copiesBefore === 0 ? mean : part(amount, copiesBefore)];
    }),
  );
  const sizeOf = (name: string) => copySizes.get(name) ?? mean;

  const sent = new Map<string, Amount>();
  const receives = plan.members.map(({ gains }) => {
    let received = NOTHING;
    for (const slot of gains) {
      const source = from.members[primaryOf(from, slot)];
      // Nobody holds anything yet.
      if (source === undefined) continue;
      received = plus(received, sizeOf(source));
      sent.set(source, plus(sent.get(source) ?? NOTHING, sizeOf(source)));
    }
    return received;
  });
  return plan.members.map(({ name, copiesBefore, loses }, index) => {
    const received = receives[index] ?? NOTHING;
    const holdsBefore = times(sizeOf(name), copiesBefore);
    return {
      name,
      sends: rounded(sent.get(name) ?? NOTHING),
      receives: rounded(received),
      holdsBefore: rounded(holdsBefore),
      holdsAfter: rounded(plus(times(sizeOf(name), copiesBefore - loses.length), received)),
    };
  });
}

export interface Balance {
  /** The most that a member holds at any one rank, as a multiple of its weighted share. 1 is even. */
  readonly peak: number;
  /** The member that holds it; undefined when nobody holds anything. */
  readonly fullest: string | undefined;
  /** Copies that members hold above the bound of their share, all ranks together: what zones and weights force. */
  readonly copiesOverBound: number;
  /** Slots with two copies or more in one zone. */
  readonly slotsSharingZone: number;
}

/** How even a table is, and how far its copies are apart. */
export function balanceOf(table: SlotTable, members: readonly RingMember[]): Balance {
  const byName = new Map(members.map((member) => [member.name, member]));
  const weights = table.members.map((name) => byName.get(name)?.weight ?? 1);
  const zones = table.members.map((name) => byName.get(name)?.zone ?? '');
  const weightSum = weights.reduce((sum, weight) => sum + weight, 0);
  const loads = Array.from({ length: table.rf }, () => new Uint32Array(table.members.length));
  let slotsSharingZone = 0;
  for (let slot = 0; slot < SLOTS; slot++) {
    const row = table.rows.subarray(slot * table.rf, (slot + 1) * table.rf).filter((member) => member !== NO_NODE);
    for (const [rank, member] of row.entries()) {
      const load = loads[rank];
      if (load !== undefined) load[member] = (load[member] ?? 0) + 1;
    }
    if (new Set([...row].map((member) => zones[member])).size < row.length) slotsSharingZone++;
  }
  let [peak, fullest, copiesOverBound] = [0, undefined as string | undefined, 0];
  for (const load of loads) {
    for (const [member, weight] of weights.entries()) {
      const [held, share] = [load[member] ?? 0, (SLOTS * weight) / weightSum];
      copiesOverBound += Math.max(0, held - boundOf(share));
      if (held / share > peak) [peak, fullest] = [held / share, table.members[member]];
    }
  }
  return { peak, fullest, copiesOverBound, slotsSharingZone };
}

function plus(left: Amount, right: Amount): Amount {
  return { items: left.items + right.items, bytes: left.bytes + right.bytes };
}

function times({ items, bytes }: Amount, factor: number): Amount {
  return { items: items * factor, bytes: bytes * factor };
}

function part(amount: Amount, parts: number): Amount {
  return parts === 0 ? NOTHING : times(amount, 1 / parts);
}

function rounded({ items, bytes }: Amount): Amount {
  return { items: Math.round(items), bytes: Math.round(bytes) };
}
