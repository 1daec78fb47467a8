/**
 * Member lists for the ring's tests: clusters of equal nodes under several names, and arbitrary ones for properties.
 */

import fc from 'fast-check';
import { NO_NODE, type RingMember, SLOTS, type SlotTable } from '../../../src/ring/index.js';

/** `count` members of weight 1, `prefix-0`, `prefix-1` and so on, dealt out to `zones` zones if that is not 0. */
export function equalMembers(count: number, { prefix = 'node', zones = 0 } = {}): RingMember[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `${prefix}-${index}`,
    ...(zones > 0 && { zone: `zone-${index % zones}` }),
  }));
}

/** One to eight members with odd names, zones and weights. */
export const arbitraryMembers: fc.Arbitrary<RingMember[]> = fc.uniqueArray(
  fc.record(
    {
      name: fc.oneof(
        fc.stringMatching(/^[a-z0-9.:-]{1,12}$/),
        fc.constantFrom('constructor', 'toString', '10', '9', 'größe'),
      ),
      zone: fc.constantFrom('east', 'west', 'north'),
      weight: fc.constantFrom(0.5, 1, 2, 3),
    },
    { requiredKeys: ['name'] },
  ),
  { minLength: 1, maxLength: 8, selector: ({ name }) => name },
);

/** The names in a slot's row, its primary first. */
export function rowOf({ rf, members, rows }: SlotTable, slot: number): string[] {
  const row = rows.subarray(slot * rf, (slot + 1) * rf);
  return [...row].filter((member) => member !== NO_NODE).map((member) => members[member] ?? `no member ${member}`);
}

/** All rows of a table, by name. */
export function rowsOf(table: SlotTable): string[][] {
  return Array.from({ length: SLOTS }, (_, slot) => rowOf(table, slot));
}

/** How many slots each member holds at one rank (0: leads). */
export function loadsAt(table: SlotTable, rank: number): Map<string, number> {
  const loads = new Map(table.members.map((name) => [name, 0]));
  for (const row of rowsOf(table)) {
    const name = row[rank];
    if (name !== undefined) loads.set(name, (loads.get(name) ?? 0) + 1);
  }
  return loads;
}
