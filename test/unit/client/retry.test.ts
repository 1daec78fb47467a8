import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Budget, judge, type Mishap, reconnectDelayMs, whyNotReady } from '../../../src/client/retry.js';

const mishap = (part: Partial<Mishap>): Mishap => ({
  kind: 'busy',
  isWrite: false,
  canDetour: false,
  attempts: 0,
  msLeft: 1_000,
  ...part,
});
const half = (): number => 0.5;
describe('a request without an answer', () => {
  it('is sent again if it did not run, or is a read', () => {
    for (const kind of ['moved', 'busy', 'lost'] as const) {
      expect(judge(mishap({ kind }), new Budget(), half).kind).toBe('retry');
    }
    for (const kind of ['moved', 'busy'] as const) {
      expect(judge(mishap({ kind, isWrite: true }), new Budget(), half).kind).toBe('retry');
    }
  });

  it('is never sent again if it is a write that may have run', () => {
    expect(judge(mishap({ kind: 'lost', isWrite: true }), new Budget(), half)).toEqual({ kind: 'fail' });
  });

  it('follows the first redirect at once and free of charge, later ones after a pause and from the budget', () => {
    const spent = new Budget();
    while (spent.spend());
    expect(judge(mishap({ kind: 'moved' }), spent, half)).toEqual({ kind: 'retry', delayMs: 0 });
    expect(judge(mishap({ kind: 'lost' }), spent, half)).toEqual({ kind: 'retry', delayMs: 0 });
    expect(judge(mishap({ kind: 'moved', attempts: 1 }), spent, half)).toEqual({ kind: 'fail' });
    expect(judge(mishap({ kind: 'lost', attempts: 1 }), spent, half)).toEqual({ kind: 'fail' });
    expect(judge(mishap({ kind: 'moved', attempts: 1 }), new Budget(), half)).toEqual({
      kind: 'retry',
      delayMs: 5,
    });
  });

  it('waits 5 to 50 ms for a leader that is not ready, or lies behind, free of charge, however often', () => {
    const spent = new Budget();
    while (spent.spend());
    for (const kind of ['notReady', 'behind', 'short'] as const) {
      for (const attempts of [0, 1, 30]) {
        const delays = [0, 0.5, 0.999].map((r) => judge(mishap({ kind, attempts }), spent, () => r));
        expect(delays).toEqual([5, 28, 50].map((delayMs) => ({ kind: 'retry', delayMs })));
      }
    }
    expect(judge(mishap({ kind: 'notReady', msLeft: 14 }), spent, () => 0)).toEqual({ kind: 'fail' });
  });

  it('waits a round trip or two for a slot that is being handed over, and longer each time', () => {
    const spent = new Budget();
    while (spent.spend());
    const delays = [0, 1, 5].map((attempts) =>
      [0, 0.999].map((r) => judge(mishap({ kind: 'sealed', attempts, canDetour: true }), spent, () => r)),
    );
    expect(delays).toEqual(
      [
        [1, 3],
        [1, 5],
        [1, 65],
      ].map((pair) => pair.map((delayMs) => ({ kind: 'retry', delayMs }))),
    );
  });

  it('takes a leader that is not ready for one that hands a slot over, while members change and not for ever', () => {
    expect([0, 5, 6].map((attempts) => whyNotReady(true, attempts))).toEqual(['sealed', 'sealed', 'notReady']);
    expect(whyNotReady(false, 0)).toBe('notReady');
  });

  it('goes round its leader at once where other copies can answer it', () => {
    for (const kind of ['lost', 'notReady'] as const) {
      expect(judge(mishap({ kind, canDetour: true }), new Budget(), half)).toEqual({ kind: 'detour' });
    }
    for (const kind of ['moved', 'behind', 'busy', 'notInSync', 'short'] as const) {
      expect(judge(mishap({ kind, canDetour: true }), new Budget(), half).kind).toBe('retry');
    }
  });

  it('is put to the leader at once, free of charge, when a copy lacks something', () => {
    const spent = new Budget();
    while (spent.spend());
    expect(judge(mishap({ kind: 'notInSync', attempts: 7 }), spent, half)).toEqual({ kind: 'retry', delayMs: 0 });
  });

  it('is not sent again after its deadline', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 40 }),
        fc.nat({ max: 2_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (attempts, msLeft, r) => {
          const verdict = judge(mishap({ attempts, msLeft }), new Budget(), () => r);
          if (verdict.kind === 'retry') expect(verdict.delayMs).toBeLessThan(msLeft);
          if (verdict.kind === 'retry') expect(verdict.delayMs).toBeLessThanOrEqual(250);
        },
      ),
    );
  });

  it('adds at most a tenth to the load of a cluster that refuses everything', () => {
    const budget = new Budget();
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
