/** The rows of an epoch: what striking members out, standing in and coming back do to the slot table. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildRows, buildSlotTable, leaderOf, NO_NODE, NO_OVERLAY, RowRole } from '../../../src/ring/index.js';
import { equalMembers } from './members.js';

const SLOTS_FEW = 256;

describe('the rows of an epoch', () => {
  it('are the slot table when nobody is away', () => {
    const members = equalMembers(5);
    const rows = buildRows(members, 3, NO_OVERLAY);
    const table = buildSlotTable(members, 3);
    for (let slot = 0; slot < 16_384; slot += 97) {
      expect([...rows.rows.subarray(slot * 6, slot * 6 + 6)]).toEqual([
        ...table.rows.subarray(slot * 3, slot * 3 + 3),
        ...[NO_NODE, NO_NODE, NO_NODE],
      ]);
    }
  });

  it('keep the order of who is left, and name no member twice, whoever is away or returning', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 0, max: 511 }),
        fc.integer({ min: 0, max: 511 }),
        (count, rf, awayMask, returningMask) => {
          const members = equalMembers(count);
          const away = members.filter((_, i) => (awayMask >> i) & 1).map(({ name }) => name);
          const returning = members.filter((_, i) => ~awayMask & returningMask & (1 << i)).map(({ name }) => name);
          const base = buildSlotTable(members, rf, { slots: SLOTS_FEW });
          const table = buildRows(members, rf, { away, returning }, SLOTS_FEW);
          for (let slot = 0; slot < SLOTS_FEW; slot++) {
            const at = slot * table.width;
            const row = [...table.rows.subarray(at, at + table.width)].filter((member) => member !== NO_NODE);
            const roles = [...table.roles.subarray(at, at + row.length)];
            const before = [...base.rows.subarray(slot * rf, (slot + 1) * rf)].filter((member) => member !== NO_NODE);
            const nameOf = (member: number): string => table.members[member] as string;
            expect(new Set(row).size).toBe(row.length);
            expect(row.filter((_, i) => roles[i] === RowRole.MEMBER)).toEqual(
              before.filter((member) => ![...away, ...returning].includes(nameOf(member))),
            );
            expect([...roles].sort()).toEqual(roles);
            const present = roles.filter((role) => role === RowRole.MEMBER || role === RowRole.STAND_IN).length;
            expect(present).toBe(Math.min(rf, count - away.length - returning.length));
          }
        },
      ),
    );
  });

  it('are led by nobody when everybody is away', () => {
    const members = equalMembers(2);
    const table = buildRows(members, 2, { away: members.map(({ name }) => name), returning: [] }, SLOTS_FEW);
    expect(leaderOf(table, 0)).toBe(NO_NODE);
  });
});
