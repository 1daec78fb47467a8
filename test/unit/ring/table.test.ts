/**
 * The slot table: a pure function of the member set, fair, with copies on distinct members and in distinct zones.
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  buildSlotTable,
  LOAD_FACTOR_MAX,
  NO_NODE,
  primaryOf,
  type RingMember,
  SLOTS,
  WEIGHT_MAX,
} from '../../../src/ring/index.js';
import { hashRingOf, pointsOf, sortMembers } from '../../../src/ring/points.js';
import { arbitraryMembers, equalMembers, loadsAt, rowOf, rowsOf } from './members.js';

const RUNS = { numRuns: 25 };
const arbitraryRf = fc.integer({ min: 1, max: 4 });

const zoneOf = (members: readonly RingMember[], name: string) => members.find((member) => member.name === name)?.zone;

function sharesOf(members: readonly RingMember[]): Map<string, number> {
  const weightSum = members.reduce((sum, { weight = 1 }) => sum + weight, 0);
  return new Map(members.map(({ name, weight = 1 }) => [name, (SLOTS * weight) / weightSum]));
}

function boundOf(share: number): number {
  return Math.max(Math.ceil(share), Math.floor(LOAD_FACTOR_MAX * share));
}

describe('a slot table', () => {
  it('is the same whatever the order in which members arrive', () => {
    const shuffled = arbitraryMembers.chain((members) =>
      fc.tuple(
        fc.constant(members),
        fc.shuffledSubarray(members, { minLength: members.length, maxLength: members.length }),
      ),
    );
    fc.assert(
      fc.property(shuffled, arbitraryRf, ([members, others], rf) => {
        const [table, other] = [buildSlotTable(members, rf), buildSlotTable(others, rf)];
        expect(other.members).toEqual(table.members);
        expect(Buffer.from(other.rows.buffer).equals(Buffer.from(table.rows.buffer))).toBe(true);
      }),
      RUNS,
    );
  });

  it('is the same whatever the addresses', () => {
    const at = (host: string) => equalMembers(5).map((member, index) => ({ ...member, address: `${host}:${index}` }));
    expect(buildSlotTable(at('10.0.0.1'), 2)).toEqual(buildSlotTable(at('10.9.9.9'), 2));
  });

  it('names its members in order and every slot a primary', () => {
    const table = buildSlotTable([{ name: 'c' }, { name: 'a' }, { name: 'b' }], 2);
    expect(table.members).toEqual(['a', 'b', 'c']);
    expect(table.rows).toHaveLength(SLOTS * 2);
    for (let slot = 0; slot < SLOTS; slot++) {
      expect(table.members[primaryOf(table, slot)]).toBe(rowOf(table, slot)[0]);
    }
  });

  it('has rows of distinct members, as many as there are up to RF', () => {
    fc.assert(
      fc.property(arbitraryMembers, arbitraryRf, (members, rf) => {
        const rows = rowsOf(buildSlotTable(members, rf));
        return rows.every((row) => row.length === Math.min(rf, members.length) && new Set(row).size === row.length);
      }),
      RUNS,
    );
  });

  it('says "none" at the end of a row when there are fewer members than copies', () => {
    const table = buildSlotTable(equalMembers(2), 3);
    const row = [...table.rows.subarray(0, 3)];
    expect(row.slice(0, 2).sort()).toEqual([0, 1]);
    expect(row[2]).toBe(NO_NODE);
  });

  it('says "none" everywhere when there are no members', () => {
    const table = buildSlotTable([], 2);
    expect(new Set(table.rows)).toEqual(new Set([NO_NODE]));
    expect(primaryOf(table, 7)).toBe(NO_NODE);
  });

  it('spreads each row over as many zones as it can', () => {
    fc.assert(
      fc.property(arbitraryMembers, arbitraryRf, (members, rf) => {
        const zoneCount = new Set(members.map(({ zone }) => zone)).size;
        const zonesWanted = Math.min(rf, zoneCount);
        return rowsOf(buildSlotTable(members, rf)).every(
          (row) => new Set(row.map((name) => zoneOf(members, name))).size === zonesWanted,
        );
      }),
      RUNS,
    );
  });

  it.each([
    ['a member without a name', [{ name: '' }], "cannot be called ''"],
    ['a name that hashring would lose', [{ name: '__proto__' }], "cannot be called '__proto__'"],
    ['a name twice', [{ name: 'a' }, { name: 'b' }, { name: 'a' }], "two members are called 'a'"],
    ['a weight of 0', [{ name: 'a', weight: 0 }], "weight of 'a'"],
    ['a weight that is no number', [{ name: 'a', weight: Number.NaN }], "weight of 'a'"],
    ['a weight above the largest', [{ name: 'a', weight: WEIGHT_MAX + 1 }], "weight of 'a'"],
  ])('is refused for %s', (_, members, message) => {
    expect(() => buildSlotTable(members, 1)).toThrow(message);
  });

  it.each([0, -1, 1.5, Number.NaN])('is refused for %d copies', (rf) => {
    expect(() => buildSlotTable(equalMembers(3), rf)).toThrow('one copy or more');
  });
});

describe('where the bound does not bind', () => {
  const unbounded = (members: readonly RingMember[], rf: number) =>
    buildSlotTable(members, rf, { loadFactorMax: Number.POSITIVE_INFINITY });

  it("each slot's primary is the member that hashring finds at the slot's place", () => {
    fc.assert(
      fc.property(arbitraryMembers, (members) => {
        const ring = hashRingOf(sortMembers(members)) as unknown as {
          ring: readonly { server: string }[];
          find(position: number): number;
        };
        const found = Array.from({ length: SLOTS }, (_, slot) => [ring.ring[ring.find(slot * 2 ** 18)]?.server]);
        expect(rowsOf(unbounded(members, 1))).toEqual(found);
      }),
      RUNS,
    );
  });

  it("each slot's row is the first distinct members of a walk clockwise", () => {
    const members = equalMembers(6);
    const { positions, owners } = pointsOf(sortMembers(members));
    const walkFrom = (position: number) => {
      const start = positions.findIndex((point) => point >= position);
      const clockwise = start === -1 ? [...owners] : [...owners.slice(start), ...owners.slice(0, start)];
      return [...new Set(clockwise)].slice(0, 3);
    };
    const table = unbounded(members, 3);
    for (let slot = 0; slot < SLOTS; slot += 61) {
      expect([...table.rows.subarray(slot * 3, slot * 3 + 3)]).toEqual(walkFrom(slot * 2 ** 18));
    }
  });

  it('a join moves copies to the newcomer only, and a departure from the leaver only', () => {
    fc.assert(
      fc.property(arbitraryMembers, arbitraryRf, (members, rf) => {
        const [newcomer, ...others] = members;
        const without = rowsOf(unbounded(others, rf));
        return rowsOf(unbounded(members, rf)).every((row, slot) =>
          row.every((name) => name === newcomer?.name || without[slot]?.includes(name)),
        );
      }),
      RUNS,
    );
  });

  it('another weight moves slots only to the member that got more, or from the one that got less', () => {
    fc.assert(
      fc.property(arbitraryMembers, fc.constantFrom(0.5, 2, 4), (members, factor) => {
        const [changed, ...others] = members;
        if (changed === undefined) return;
        const heavier = { ...changed, weight: (changed.weight ?? 1) * factor };
        const before = rowsOf(unbounded(members, 1)).flat();
        const after = rowsOf(unbounded([heavier, ...others], 1)).flat();
        const moved = before.flatMap((from, slot) => (from === after[slot] ? [] : [[from, after[slot]]]));
        const end = factor > 1 ? 1 : 0;
        expect(new Set(moved.map((ends) => ends[end]))).toEqual(new Set(moved.length > 0 ? [changed.name] : []));
      }),
      RUNS,
    );
  });
});

describe('bounded loads', () => {
  it.each([4, 5, 7, 16, 32, 64, 100])('hold at every rank of %i equal members', (count) => {
    const table = buildSlotTable(equalMembers(count), 3);
    const bound = boundOf(SLOTS / count);
    for (const rank of [0, 1, 2]) expect(Math.max(...loadsAt(table, rank).values())).toBeLessThanOrEqual(bound);
  });

  it('hold for the copies of each member when zones are equal and as many as copies', () => {
    const members = equalMembers(9, { zones: 3 });
    const table = buildSlotTable(members, 3);
    const copies = [0, 1, 2].map((rank) => loadsAt(table, rank));
    for (const { name } of members) {
      const held = copies.reduce((sum, loads) => sum + (loads.get(name) ?? 0), 0);
      expect(held).toBeLessThanOrEqual(LOAD_FACTOR_MAX * ((3 * SLOTS) / 9));
    }
  });

  it('follow the weights', () => {
    fc.assert(
      fc.property(arbitraryMembers, (members) => {
        const shares = sharesOf(members);
        for (const [name, load] of loadsAt(buildSlotTable(members, 1), 0)) {
          expect(load).toBeLessThanOrEqual(boundOf(shares.get(name) ?? 0));
        }
      }),
      RUNS,
    );
  });

  it('yield before distinct zones do, and no further than they must', () => {
    const crowded = ['a', 'b', 'c', 'd'].map((name) => ({ name, zone: 'east' }));
    const table = buildSlotTable([...crowded, { name: 'lone', zone: 'west' }], 2);
    const leads = loadsAt(table, 0);
    expect(leads.get('lone')).toBeLessThanOrEqual(boundOf(SLOTS / 5));
    expect(loadsAt(table, 1).get('lone')).toBe(SLOTS - (leads.get('lone') ?? 0));
  });

  it('yield evenly: two members that must take more than their share take about the same', () => {
    const crowded = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => ({ name, zone: 'east' }));
    const pair = ['y', 'z'].map((name) => ({ name, zone: 'west' }));
    const replicas = loadsAt(buildSlotTable([...crowded, ...pair], 2), 1);
    const twentieth = SLOTS / 8 / 20;
    expect(Math.abs((replicas.get('y') ?? 0) - (replicas.get('z') ?? 0))).toBeLessThanOrEqual(twentieth + 1);
  });

  it('and zones yield before distinct members do', () => {
    const members = equalMembers(4, { zones: 2 });
    for (const row of rowsOf(buildSlotTable(members, 4))) expect(new Set(row).size).toBe(4);
  });
});
