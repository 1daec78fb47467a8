import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  judge,
  type Mishap,
  parseTopology,
  RetryBudget,
  Routes,
  reconnectDelayMs,
} from '../../../src/client/router.js';
import { slotOf } from '../../../src/ring/index.js';

const mishap = (part: Partial<Mishap>): Mishap => ({
  kind: 'busy',
  isWrite: false,
  attempts: 0,
  msLeft: 1_000,
  ...part,
});
const half = (): number => 0.5;
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
    const used = new Set(Array.from({ length: 1_000 }, (_, key) => routes.primaryOf(slotOf(`key:${key}`))));
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

describe('a request without an answer', () => {
  it('is sent again if it did not run, or is a read', () => {
    for (const kind of ['moved', 'busy', 'lost'] as const) {
      expect(judge(mishap({ kind }), new RetryBudget(), half).kind).toBe('retry');
    }
    for (const kind of ['moved', 'busy'] as const) {
      expect(judge(mishap({ kind, isWrite: true }), new RetryBudget(), half).kind).toBe('retry');
    }
  });

  it('is never sent again if it is a write that may have run', () => {
    expect(judge(mishap({ kind: 'lost', isWrite: true }), new RetryBudget(), half)).toEqual({ kind: 'fail' });
  });

  it('follows the first redirect at once and free of charge, later ones after a pause and from the budget', () => {
    const spent = new RetryBudget();
    while (spent.spend());
    expect(judge(mishap({ kind: 'moved' }), spent, half)).toEqual({ kind: 'retry', delayMs: 0 });
    expect(judge(mishap({ kind: 'lost' }), spent, half)).toEqual({ kind: 'retry', delayMs: 0 });
    expect(judge(mishap({ kind: 'moved', attempts: 1 }), spent, half)).toEqual({ kind: 'fail' });
    expect(judge(mishap({ kind: 'lost', attempts: 1 }), spent, half)).toEqual({ kind: 'fail' });
    expect(judge(mishap({ kind: 'moved', attempts: 1 }), new RetryBudget(), half)).toEqual({
      kind: 'retry',
      delayMs: 5,
    });
  });

  it('is not sent again after its deadline', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 40 }),
        fc.nat({ max: 2_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (attempts, msLeft, r) => {
          const verdict = judge(mishap({ attempts, msLeft }), new RetryBudget(), () => r);
          if (verdict.kind === 'retry') expect(verdict.delayMs).toBeLessThan(msLeft);
          if (verdict.kind === 'retry') expect(verdict.delayMs).toBeLessThanOrEqual(250);
        },
      ),
    );
  });

  it('adds at most a tenth to the load of a cluster that refuses everything', () => {
    const budget = new RetryBudget();
    while (budget.spend());
    let retries = 0;
    for (let request = 0; request < 10_000; request++) {
      budget.earn(1);
      if (judge(mishap({}), budget, half).kind === 'retry') retries++;
    }
    expect(retries).toBeGreaterThan(900);
    expect(retries).toBeLessThanOrEqual(1_000);
  });
});

describe('reconnecting', () => {
  it('happens at once the first time, then after growing pauses of at most half a second', () => {
    const delays = Array.from({ length: 20 }, (_, attempt) => reconnectDelayMs(attempt, half));
    expect(delays[0]).toBe(0);
    expect(delays[1]).toBeGreaterThan(0);
    for (let i = 1; i < delays.length; i++) expect(delays[i]).toBeGreaterThanOrEqual(delays[i - 1] as number);
    expect(reconnectDelayMs(1_000, () => 0.999)).toBeLessThanOrEqual(500);
  });

  it('is spread over time, so that clients do not return together', () => {
    expect(reconnectDelayMs(5, () => 0)).toBeLessThan(reconnectDelayMs(5, () => 0.99));
  });
});
