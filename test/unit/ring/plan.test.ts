/**
 * The movement plan between two tables, and how little a change moves.
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildSlotTable, planMovement, SLOTS } from '../../../src/ring/index.js';
import { arbitraryMembers, equalMembers, rowsOf } from './members.js';

const RUNS = { numRuns: 25 };

/** Copies that a join of one more equal member moves, divided by the share that the newcomer ought to have. */
function joinRatio(count: number, rf: number, prefix: string): number {
  const before = buildSlotTable(equalMembers(count, { prefix }), rf);
  const after = buildSlotTable(equalMembers(count + 1, { prefix }), rf);
  return planMovement(before, after).copiesMoved / ((SLOTS * rf) / (count + 1));
}

function slotsHolding(name: string, rows: readonly string[][]): Set<number> {
  return new Set(rows.flatMap((row, slot) => (row.includes(name) ? [slot] : [])));
}

function meanJoinRatio(count: number, rf: number): number {
  const prefixes = ['node', 'cache', 'stone', 'web'];
  return prefixes.reduce((sum, prefix) => sum + joinRatio(count, rf, prefix), 0) / prefixes.length;
}

describe('a movement plan', () => {
  it('turns what each member holds in the one table into what it holds in the other', () => {
    fc.assert(
      fc.property(arbitraryMembers, arbitraryMembers, fc.integer({ min: 1, max: 3 }), (old, young, rf) => {
        const [from, to] = [buildSlotTable(old, rf), buildSlotTable(young, rf)];
        const [rowsBefore, rowsAfter] = [rowsOf(from), rowsOf(to)];
        for (const { name, gains, loses, copiesBefore, copiesAfter } of planMovement(from, to).members) {
          const before = slotsHolding(name, rowsBefore);
          const after = slotsHolding(name, rowsAfter);
          expect([copiesBefore, copiesAfter]).toEqual([before.size, after.size]);
          expect(gains.every((slot) => after.has(slot) && !before.has(slot))).toBe(true);
          expect(loses.every((slot) => before.has(slot) && !after.has(slot))).toBe(true);
          expect(new Set(gains).size - new Set(loses).size).toBe(after.size - before.size);
        }
      }),
      RUNS,
    );
  });

  it('moves nothing between equal tables', () => {
    const plan = planMovement(buildSlotTable(equalMembers(5), 2), buildSlotTable(equalMembers(5).reverse(), 2));
    expect(plan).toMatchObject({ copiesMoved: 0, copiesMovedIdeal: 0, primariesMoved: 0 });
    expect(plan.members.every(({ gains, loses }) => gains.length === 0 && loses.length === 0)).toBe(true);
  });

  it('knows members by name, not by their place in a table', () => {
    const from = buildSlotTable([{ name: 'b' }], 1);
    const to = buildSlotTable([{ name: 'a', weight: 0.01 }, { name: 'b' }], 1);
    const plan = planMovement(from, to);
    const [a, b] = plan.members;
    expect(a).toMatchObject({ name: 'a', copiesBefore: 0, leadsBefore: 0 });
    expect(plan.copiesMoved).toBe(a?.gains.length);
    expect(b?.loses).toEqual(a?.gains);
    expect(plan.primariesMoved).toBe(a?.leadsAfter);
  });

  it('counts a change of rank as a change of primary, but not as a copy that moves', () => {
    const members = ['a', 'b'];
    const rows = (primary: number) =>
      Uint16Array.from({ length: SLOTS * 2 }, (_, at) => (at % 2 === 0 ? primary : 1 - primary));
    const plan = planMovement({ rf: 2, members, rows: rows(0) }, { rf: 2, members, rows: rows(1) });
    expect(plan).toMatchObject({ copiesMoved: 0, primariesMoved: SLOTS });
  });

  it('gives all of a departed member away, and its slots a primary', () => {
    const from = buildSlotTable(equalMembers(4), 2);
    const plan = planMovement(from, buildSlotTable(equalMembers(3), 2));
    expect(plan.members.find(({ name }) => name === 'node-3')).toMatchObject({ copiesAfter: 0, leadsAfter: 0 });
    expect(plan.members.reduce((sum, { leadsAfter }) => sum + leadsAfter, 0)).toBe(SLOTS);
    expect(plan.copiesMoved).toBeGreaterThanOrEqual(plan.copiesMovedIdeal);
  });

  it('is refused between tables of different numbers of copies', () => {
    const members = equalMembers(3);
    expect(() => planMovement(buildSlotTable(members, 1), buildSlotTable(members, 2))).toThrow('1 and of 2 copies');
  });
});

describe('a join of one more equal member', () => {
  it.each([4, 8, 16, 32])('moves at most 1.08 times the ideal when there are %i', (count) => {
    for (const rf of [1, 2]) expect(meanJoinRatio(count, rf)).toBeLessThanOrEqual(1.08);
  });

  it('moves at most 1.5 times the ideal when there are 100', () => {
    expect(joinRatio(100, 2, 'node')).toBeLessThanOrEqual(1.5);
  });
});
