import { describe, expect, it } from 'vitest';
import { parseTopology, Routes } from '../../../src/client/router.js';
import { slotOf } from '../../../src/ring/index.js';

const names = ['a', 'b', 'c'];
const topology = (epoch: number) =>
  parseTopology(
    JSON.stringify({
      epoch,
      rf: 1,
      members: names.map((name, index) => ({ name, number: index + 1, address: `h:${index}`, zone: '', weight: 1 })),
    }),
  );

describe('routes', () => {
  it('give every key one of the members, and use all of them', () => {
    const routes = new Routes(topology(1));
    const used = new Set(Array.from({ length: 1_000 }, (_, key) => routes.leaderOf(slotOf(`key:${key}`))));
    expect([...used].sort()).toEqual([0, 1, 2]);
  });

  it('keep their table when only addresses are new', () => {
    const routes = new Routes(topology(1));
    expect(new Routes(topology(1), routes).table).toBe(routes.table);
    expect(new Routes(topology(2), routes).table).not.toBe(routes.table);
  });

  it('are never made of what is no topology', () => {
    for (const json of ['null', '{}', '{"epoch":1,"rf":1}', '{"epoch":1,"rf":1,"members":[{}]}', '"x"']) {
      expect(() => parseTopology(json)).toThrow(TypeError);
    }
  });
});
