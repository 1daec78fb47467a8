/** The rows of an epoch as nodes make them, against those that clients make of the same topology. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changingSlots, countLed, rowsOf, type TopologyView } from '../../../src/cluster/index.js';
import {
  buildRows,
  buildSlotTable,
  combineRows,
  NO_NODE,
  RowMark,
  RowRole,
  type RowTable,
} from '../../../src/ring/index.js';
import { ROW_MAX, slotsOfNode, votersBefore } from '../../../src/store/index.js';

const SLOTS_FEW = 256;
const STATES = ['in', 'in', 'in', 'away', 'returning', 'drain'] as const;

interface Part {
  readonly zone: number;
  readonly weight: number;
  readonly nextWeight: number;
  readonly state: number;
  /** 0: stays, 1: joins, 2: leaves. */
  readonly move: number;
}

const parts = fc.array(
  fc.record({
    zone: fc.integer({ min: 0, max: 3 }),
    weight: fc.constantFrom(0.3, 1, 1, 1, 2.5),
    nextWeight: fc.constantFrom(1, 1, 1, 2),
    state: fc.nat({ max: STATES.length - 1 }),
    move: fc.nat({ max: 4 }),
  }),
  { minLength: 1, maxLength: 9 },
);

function viewOf(
  all: readonly Part[],
  options: { rf: number; isChanging: boolean; isCancelled: boolean },
): TopologyView {
  const { rf, isChanging, isCancelled } = options;
  const joins = ({ move }: Part, index: number) => isChanging && move === 1 && index > 0;
  const members = all.map((part, index) => ({
    name: `n${index}`,
    // Not in the order of the names, as in a cluster that has seen nodes come and go.
    number: ((index * 7) % 11) + 1,
    address: `n${index}:1`,
    zone: `z${part.zone}`,
    weight: part.weight,
    state: joins(part, index) ? ('in' as const) : (STATES[part.state] ?? 'in'),
    ...(joins(part, index) && { isJoining: true }),
  }));
  const next = all.flatMap(({ move, nextWeight, zone }, index) =>
    move === 2 && index > 0 ? [] : [{ name: `n${index}`, zone: `z${zone}`, weight: nextWeight }],
  );
  return { epoch: 3, rf, members, ...(isChanging && { next, isCancelled }) };
}

/** What a client makes of it (client/router.ts). */
function clientRows({ members, next, rf, isCancelled }: TopologyView): RowTable {
  const namesIn = (state: string) => members.filter((member) => member.state === state).map(({ name }) => name);
  const overlay = { away: namesIn('away'), returning: namesIn('returning') };
  const base = members.filter(({ isJoining }) => isJoining !== true);
  const current = buildRows(base, rf, overlay, SLOTS_FEW);
  return next === undefined
    ? current
    : combineRows(current, buildRows(next, rf, overlay, SLOTS_FEW), isCancelled === true);
}

const hasSlot = (bits: Uint8Array | undefined, slot: number): boolean =>
  ((bits?.[slot >> 3] ?? 0) & (1 << (slot & 7))) !== 0;

const numberOf = ({ members }: TopologyView, name: string | undefined): number =>
  members.find((member) => member.name === name)?.number ?? 0;

/** Node numbers and roles of every slot. */
function entriesOf(view: TopologyView, { rows, roles, width, members }: RowTable): (readonly [number, number])[][] {
  return Array.from({ length: SLOTS_FEW }, (_, slot) =>
    [...rows.subarray(slot * width, (slot + 1) * width)].flatMap((member, rank) =>
      member === NO_NODE ? [] : [[numberOf(view, members[member]), roles[slot * width + rank] as number] as const],
    ),
  );
}

describe('rows that nodes make', () => {
  it('are those that clients make', () => {
    fc.assert(
      fc.property(
        parts,
        fc.integer({ min: 1, max: 5 }),
        fc.boolean(),
        fc.boolean(),
        (all, rf, isChanging, isCancelled) => {
          const view = viewOf(all, { rf, isChanging, isCancelled });
          const { rows, roles, bases } = rowsOf(view, SLOTS_FEW);
          const ours = Array.from({ length: SLOTS_FEW }, (_, slot) =>
            [...rows.subarray(slot * ROW_MAX, (slot + 1) * ROW_MAX)].flatMap((number, rank) =>
              number === 0 ? [] : [[number, roles[slot * ROW_MAX + rank] as number] as const],
            ),
          );
          expect(ours).toEqual(entriesOf(view, clientRows(view)));
          const base = buildSlotTable(
            view.members.filter(({ isJoining }) => isJoining !== true),
            rf,
            { slots: SLOTS_FEW },
          );
          expect([...bases]).toEqual([...base.rows].map((member) => numberOf(view, base.members[member])));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('are those of the circle that clients know, whatever the names and weights', () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(names, fc.double({ min: 0.01, max: 8, noNaN: true }), (all, weight) => {
        const members = all.map((name, index) => ({
          name,
          number: index + 1,
          address: `${index}:1`,
          zone: 'default',
          weight: index === 0 ? weight : 1,
          state: 'in' as const,
        }));
        const table = buildSlotTable(members, 1);
        const { leaders } = rowsOf({ epoch: 1, rf: 1, members });
        const numbers = table.members.map((name) => all.indexOf(name) + 1);
        expect([...leaders]).toEqual([...table.rows].map((member) => numbers[member]));
      }),
      { numRuns: 30 },
    );
  });

  it('say of each slot that changes who leads it in the end, and count it once for who has it to give', () => {
    fc.assert(
      fc.property(parts, fc.integer({ min: 1, max: 3 }), fc.boolean(), (all, rf, isCancelled) => {
        const view = viewOf(all, { rf, isChanging: true, isCancelled });
        const made = rowsOf(view, SLOTS_FEW);
        const counts = new Map<number, number>();
        entriesOf(view, clientRows(view)).forEach((row, slot) => {
          const marked = (mark: number) => row.find(([, entry]) => (entry & mark) !== 0)?.[0];
          const isOther = ([, entry]: readonly [number, number]) =>
            (entry & RowMark.NEXT) === 0 || (entry & 0x0f) === RowRole.RECEIVER;
          const leader = row[0] === undefined || row[0][1] === RowRole.AWAY ? 0 : row[0][0];
          const settles = !isCancelled && row.some(isOther);
          const goal = marked(RowMark.GOAL) ?? (settles ? leader : 0);
          expect(made.goals?.[slot]).toBe(goal);
          expect(made.leaders[slot]).toBe(leader);
          expect(hasSlot(made.settling, slot)).toBe(marked(RowMark.GOAL) === undefined && settles && leader !== 0);
          const giver = marked(RowMark.FORMER) ?? leader;
          if (goal !== 0) counts.set(giver, (counts.get(giver) ?? 0) + 1);
        });
        expect(changingSlots(made)).toEqual(counts);
      }),
    );
  });

  it('tell in which slots a node has which role', () => {
    fc.assert(
      fc.property(parts, fc.integer({ min: 1, max: 3 }), fc.boolean(), (all, rf, isChanging) => {
        const view = viewOf(all, { rf, isChanging, isCancelled: false });
        const made = rowsOf(view, SLOTS_FEW);
        const entries = entriesOf(view, clientRows(view));
        for (const { number } of view.members) {
          slotsOfNode(made, number).forEach((bits, role) => {
            const isIn = entries.map((row) => row.some(([one, entry]) => one === number && (entry & 0x0f) === role));
            expect(isIn.map((_, slot) => hasSlot(bits, slot))).toEqual(isIn);
          });
        }
      }),
    );
  });

  it('tell who could acknowledge before another node led', () => {
    fc.assert(
      fc.property(parts, fc.integer({ min: 1, max: 3 }), fc.nat(), (all, rf, turn) => {
        const options = { rf, isChanging: turn % 2 === 0, isCancelled: false };
        const view = viewOf(all, options);
        const next = viewOf(
          all.map((part, index) => ({ ...part, state: (part.state + index + turn) % STATES.length })),
          options,
        );
        const [before, { leaders: nextLeaders }] = [rowsOf(view, SLOTS_FEW), rowsOf(next, SLOTS_FEW)];
        const known = new Uint16Array(SLOTS_FEW * ROW_MAX).fill(99);
        const voters = votersBefore({ ...before, known, nextLeaders });
        entriesOf(view, clientRows(view)).forEach((row, slot) => {
          const isVoter = ([, entry]: readonly [number, number]) =>
            ![RowRole.AWAY, RowRole.RECEIVER].some((role) => role === (entry & 0x0f));
          const could = row.filter(isVoter).map(([number]) => number);
          const isSame = before.leaders[slot] === nextLeaders[slot];
          const expected = isSame
            ? new Array(ROW_MAX).fill(99)
            : [...could, ...new Array(ROW_MAX - could.length).fill(0)];
          expect([...voters.subarray(slot * ROW_MAX, (slot + 1) * ROW_MAX)]).toEqual(expected);
        });
        expect(() => votersBefore({ ...before, known: known.subarray(1), nextLeaders })).toThrow(RangeError);
      }),
    );
  });

  it('tell how many slots a node leads', () => {
    const view = viewOf(
      [0, 1, 2].map((zone) => ({ zone, weight: 1, nextWeight: 1, state: zone === 1 ? 3 : 0, move: 0 })),
      { rf: 2, isChanging: false, isCancelled: false },
    );
    const rows = rowsOf(view, SLOTS_FEW);
    const led = view.members.map(({ number }) => countLed(rows, number));
    expect(led[1]).toBe(0);
    expect(led[0]).toBeGreaterThan(0);
    expect((led[0] ?? 0) + (led[2] ?? 0)).toBe(SLOTS_FEW);
  });
});
