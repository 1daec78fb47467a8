import { expect, test } from 'vitest';
import { CounterObservation } from '../../../src/daemon/registry/counter.js';

const TTL_MS = 1_000;

/**
 * Looks every 100 ms, each look taking 10 ms, from `fromMs` to `untilMs`; returns when the counter was found lapsed.
 */
function lookOn(observation: CounterObservation, counter: number, fromMs: number, untilMs: number): number | undefined {
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs += 100) {
    if (observation.look(counter, nowMs, nowMs + 10)) return nowMs;
  }
  return undefined;
}

test('a counter that stands still lapses a TTL after the reading that saw it move', () => {
  const observation = new CounterObservation(TTL_MS);
  expect(lookOn(observation, 1, 0, 2_000)).toBe(1_100);
});

test('a counter that moves does not lapse', () => {
  const observation = new CounterObservation(TTL_MS);
  for (let counter = 1; counter < 10; counter++) {
    expect(lookOn(observation, counter, counter * 900, counter * 900 + 800)).toBeUndefined();
  }
});

test('a reading that began before the TTL was over proves nothing, however long it took', () => {
  const observation = new CounterObservation(TTL_MS);
  lookOn(observation, 1, 0, 900);
  expect(observation.look(1, 1_000, 5_000)).toBe(false);
});

test('a reader that was late itself starts anew', () => {
  const observation = new CounterObservation(TTL_MS);
  lookOn(observation, 1, 0, 500);
  expect(lookOn(observation, 1, 5_000, 9_000)).toBe(6_100);
});
