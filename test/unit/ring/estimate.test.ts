/** What a movement costs, and how even a table is. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Amount,
  balanceOf,
  buildSlotTable,
  estimateMovement,
  planMovement,
  SLOTS,
} from '../../../src/ring/index.js';
import { arbitraryMembers, equalMembers } from './members.js';

const RF = 2;

/** The same for every copy: one item of ten bytes. */
function evenlyHeld(table: ReturnType<typeof buildSlotTable>): Map<string, Amount> {
  const plan = planMovement(table, table);
  return new Map(plan.members.map(({ name, copiesBefore: items }) => [name, { items, bytes: items * 10 }]));
}

describe('the estimate of a movement', () => {
  it('counts every copy that moves once as sent and once as received', () => {
    fc.assert(
      fc.property(arbitraryMembers, arbitraryMembers, fc.integer({ min: 1, max: 3 }), (old, young, rf) => {
        const [from, to] = [buildSlotTable(old, rf), buildSlotTable(young, rf)];
        const plan = planMovement(from, to);
        const estimates = estimateMovement(from, plan, evenlyHeld(from));
        for (const [index, { name, gains, copiesBefore, copiesAfter }] of plan.members.entries()) {
          expect(estimates[index]).toMatchObject({
            name,
            receives: { items: gains.length, bytes: gains.length * 10 },
            holdsBefore: { items: copiesBefore },
            holdsAfter: { items: copiesAfter },
          });
        }
        expect(estimates.reduce((sum, { sends }) => sum + sends.items, 0)).toBe(plan.copiesMoved);
      }),
      { numRuns: 25 },
    );
  });

  it('lets primaries send, each by the size of its own copies', () => {
    const from = buildSlotTable(equalMembers(2, { prefix: 'n' }), 1);
    const plan = planMovement(from, buildSlotTable(equalMembers(3, { prefix: 'n' }), 1));
    const [first, second] = plan.members;
    const held = new Map([
      ['n-0', { items: first?.copiesBefore ?? 0, bytes: 0 }],
      ['n-1', { items: 0, bytes: (second?.copiesBefore ?? 0) * 7 }],
    ]);
    const [a, b, newcomer] = estimateMovement(from, plan, held);
    expect(a?.sends).toEqual({ items: first?.loses.length, bytes: 0 });
    expect(b?.sends).toEqual({ items: 0, bytes: (second?.loses.length ?? 0) * 7 });
    expect(newcomer?.receives).toEqual({ items: a?.sends.items, bytes: b?.sends.bytes });
    expect(newcomer?.sends).toEqual({ items: 0, bytes: 0 });
  });

  it('assumes of a member that says nothing what the others hold', () => {
    const from = buildSlotTable(equalMembers(3), RF);
    const plan = planMovement(from, buildSlotTable(equalMembers(4), RF));
    const held = evenlyHeld(from);
    const whole = estimateMovement(from, plan, held);
    held.delete('node-1');
    expect(estimateMovement(from, plan, held)).toEqual(whole);
  });

  it('is nothing where nobody holds anything', () => {
    const from = buildSlotTable(equalMembers(3), RF);
    const plan = planMovement(from, buildSlotTable(equalMembers(4), RF));
    for (const { sends, receives } of estimateMovement(from, plan, new Map())) {
      expect([sends, receives]).toEqual([
        { items: 0, bytes: 0 },
        { items: 0, bytes: 0 },
      ]);
    }
  });
});

describe('the balance of a table', () => {
  it('is even within a twentieth for equal members', () => {
    const members = equalMembers(7);
    const { peak } = balanceOf(buildSlotTable(members, RF), members);
    expect(peak).toBeGreaterThan(1);
    expect(peak).toBeLessThanOrEqual(1.05);
  });

  it('is measured against weighted shares', () => {
    const members = [
      { name: 'large', weight: 3 },
      { name: 'small', weight: 1 },
    ];
    // One copy each: three quarters and one quarter are even. Two: each holds every slot, and the small one is full.
    expect(balanceOf(buildSlotTable(members, 1), members).peak).toBeLessThanOrEqual(1.05);
    const even = balanceOf(buildSlotTable(members, 1), members);
    expect(even).toMatchObject({ copiesOverBound: 0 });
    const uneven = balanceOf(buildSlotTable(members, 2), members);
    expect(uneven.peak).toBeGreaterThan(2.5);
    expect(uneven.fullest).toBe('small');
    // The second copy of the large one's three quarters, less the small one's bound of a quarter and a twentieth of it.
    expect(uneven.copiesOverBound).toBeCloseTo(SLOTS * (0.75 - 0.25 * 1.05), -3);
  });

  it('counts slots whose copies share a zone', () => {
    const zoned = ['x', 'y', 'z'].map((zone, index) => ({ name: `node-${index}`, zone }));
    expect(balanceOf(buildSlotTable(zoned, 3), zoned).slotsSharingZone).toBe(0);
    const shared = zoned.map((member, index) => ({ ...member, zone: index === 0 ? 'x' : 'y' }));
    expect(balanceOf(buildSlotTable(shared, 3), shared).slotsSharingZone).toBe(SLOTS);
    expect(balanceOf(buildSlotTable(shared, 2), shared).slotsSharingZone).toBe(0);
  });
});
