/** The rows of an epoch in which the list of members changes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildRows, combineRows, NO_NODE, NO_OVERLAY, RowMark, RowRole, roleOf } from '../../../src/ring/index.js';
import { equalMembers } from './members.js';

const SLOTS_FEW = 256;

/** The names and entries of every row. */
function entriesOf(table: ReturnType<typeof buildRows>): { name: string; entry: number }[][] {
  return Array.from({ length: SLOTS_FEW }, (_, slot) => {
    const at = slot * table.width;
    return [...table.rows.subarray(at, at + table.width)]
      .map((member, rank) => ({ member, entry: table.roles[at + rank] as number }))
      .filter(({ member }) => member !== NO_NODE)
      .map(({ member, entry }) => ({ name: table.members[member] as string, entry }));
  });
}

describe('rows of a change', () => {
  it('begin with the row that goes, add who is to come, and name one to hand over and one to take it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 9 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 510 }),
        fc.integer({ min: 1, max: 510 }),
        fc.boolean(),
        (count, rf, goingMask, comingMask, isCancelled) => {
          const all = equalMembers(count);
          const isIn = (mask: number) => (_: unknown, i: number) => ((mask >> i) & 1) === 1;
          const [going, coming] = [all.filter(isIn(goingMask)), all.filter(isIn(comingMask))];
          if (going.length === 0 || coming.length === 0) return;
          const [current, next] = [going, coming].map((list) => buildRows(list, rf, NO_OVERLAY, SLOTS_FEW));
          const rows = entriesOf(combineRows(current as never, next as never, isCancelled));
          const [before, after] = [entriesOf(current as never), entriesOf(next as never)];
          rows.forEach((row, slot) => {
            const names = row.map(({ name }) => name);
            const [old, fresh] = [before[slot] ?? [], after[slot] ?? []].map((one) => one.map(({ name }) => name));
            expect(new Set(names).size).toBe(names.length);
            expect(names.slice(0, old?.length)).toEqual(old);
            const marked = (mark: number) => row.filter(({ entry }) => (entry & mark) !== 0).map(({ name }) => name);
            expect(new Set(marked(RowMark.NEXT))).toEqual(new Set(fresh));
            expect(row.filter(({ entry }) => roleOf(entry) === RowRole.RECEIVER).map(({ name }) => name)).toEqual(
              fresh?.filter((name) => !old?.includes(name)),
            );
            expect(marked(RowMark.HOME)).toEqual(old?.slice(0, 1));
            const stays = old?.[0] === fresh?.[0];
            const [former, goal] = isCancelled ? [fresh?.[0], old?.[0]] : [old?.[0], fresh?.[0]];
            expect(marked(RowMark.FORMER)).toEqual(stays ? [] : [former]);
            expect(marked(RowMark.GOAL)).toEqual(stays ? [] : [goal]);
          });
        },
      ),
    );
  });
});
