import { describe, expect, it } from 'vitest';
import { parseTopology, Routes } from '../../../src/client/router.js';
import { NO_NODE, SLOTS, slotOf } from '../../../src/ring/index.js';

const NAMES = ['a', 'b', 'c', 'd', 'e'];

interface World {
  readonly epoch?: number;
  readonly rf?: number;
  readonly count?: number;
  readonly away?: readonly string[];
  readonly returning?: readonly string[];
}

function topology({ epoch = 1, rf = 1, count = 3, away = [], returning = [] }: World = {}) {
  const stateOf = (name: string): string =>
    away.includes(name) ? 'away' : returning.includes(name) ? 'returning' : 'in';
  const members = NAMES.slice(0, count).map((name, index) => ({
    name,
    number: index + 1,
    address: `h:${index}`,
    zone: '',
    weight: 1,
    state: stateOf(name),
  }));
  return parseTopology(JSON.stringify({ epoch, rf, members }));
}

const slots = Array.from({ length: SLOTS }, (_, slot) => slot);

describe('routes', () => {
  it('give every key one of the members, and use all of them', () => {
    const routes = Routes.of(topology());
    const used = new Set(Array.from({ length: 1_000 }, (_, key) => routes.leaderOf(slotOf(`key:${key}`))));
    expect([...used].sort()).toEqual([0, 1, 2]);
  });

  it('keep their table when only addresses are new', () => {
    const routes = Routes.of(topology());
    const readdressed = Routes.of(topology(), routes);
    expect([readdressed.table, readdressed.leaders]).toEqual([routes.table, routes.leaders]);
    expect(readdressed.table).toBe(routes.table);
    expect(readdressed.leaders).toBe(routes.leaders);
    expect(Routes.of(topology({ epoch: 2 }), routes).table).not.toBe(routes.table);
  });

  it('are never made of what is no topology', () => {
    for (const json of ['null', '{}', '{"epoch":1,"rf":1}', '{"epoch":1,"rf":1,"members":[{}]}', '"x"']) {
      expect(() => parseTopology(json)).toThrow(TypeError);
    }
  });

  it('pass a member that is away over, and move no other leader', () => {
    const before = Routes.of(topology({ rf: 2 }));
    const after = Routes.of(topology({ rf: 2, epoch: 2, away: ['a'] }), before);
    for (const slot of slots) {
      const [leader, other] = before.copiesOf(slot);
      expect(after.leaderOf(slot)).toBe(leader === 0 ? other : leader);
    }
  });

  it('are the same whether made from those of the epoch before or anew', () => {
    const before = Routes.of(topology({ rf: 2, count: 4 }));
    for (const away of [['a'], ['a', 'b', 'c'], []]) {
      const next = topology({ rf: 2, count: 4, epoch: 2, away });
      expect(Routes.of(next, before).table.rows).toEqual(Routes.of(next).table.rows);
    }
  });

  it('read neither stand-ins nor members that return', () => {
    const routes = Routes.of(topology({ rf: 2, count: 4, epoch: 3, away: ['a'], returning: ['b'] }));
    const base = Routes.of(topology({ rf: 2, count: 4 }));
    for (const slot of slots) {
      const copies = routes.copiesOf(slot);
      const inSync = base.copiesOf(slot).filter((member) => member !== 0 && member !== 1);
      // Where both copies were struck out, a stand-in leads, and is all there is.
      expect(copies).toEqual(inSync.length > 0 ? inSync : [routes.leaderOf(slot)]);
    }
  });

  it('lead to nobody where all members are away', () => {
    const routes = Routes.of(topology({ rf: 1, count: 2, away: ['a', 'b'] }));
    expect(routes.leaderOf(5)).toBe(NO_NODE);
    expect(routes.copiesOf(5)).toEqual([]);
    expect(routes.cheapestCopy(5, () => 0, 0)).toBe(NO_NODE);
  });
});

describe('the cheapest copy', () => {
  const routes = Routes.of(topology({ rf: 3, count: 5 }));
  const copies = routes.copiesOf(77);

  it('is the one that costs least', () => {
    for (const wanted of copies)
      expect(routes.cheapestCopy(77, (member) => (member === wanted ? 1 : 2), 0)).toBe(wanted);
  });

  it('is never one that may not be asked', () => {
    const [first, second] = copies;
    expect(routes.cheapestCopy(77, (member) => (member === second ? 9 : undefined), 0)).toBe(second);
    expect(first).toBe(routes.leaderOf(77));
    expect(routes.cheapestCopy(77, () => undefined, 0)).toBe(NO_NODE);
  });

  it('is each in its turn when all cost the same', () => {
    expect([0, 1, 2, 3].map((turn) => routes.cheapestCopy(77, () => 0, turn))).toEqual([...copies, copies[0]]);
  });
});

describe('the way round a leader', () => {
  it('leads to the other copies, and to the leader last', () => {
    const routes = Routes.of(topology({ rf: 3 }));
    const [leader = NO_NODE, ...others] = routes.copiesOf(5);
    expect(routes.detourOf(5, () => true)).toEqual([...others, leader]);
    expect(routes.detourOf(5, (member) => member !== leader)).toEqual(others);
    expect(routes.detourOf(5, () => false)).toEqual([]);
  });

  it('is not there with one copy', () => {
    expect(Routes.of(topology({ rf: 1 })).detourOf(5, () => true)).toEqual([]);
  });

  it.each([1, 2, 3, 4, 5])('asks so many of %i copies that every quorum is met', (rf) => {
    const quorum = Math.floor(rf / 2) + 1;
    const { detourCopies } = Routes.of(topology({ rf, count: 5 }));
    expect(detourCopies + quorum).toBe(rf + 1);
  });
});
