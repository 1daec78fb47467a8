/** Sets of slots as bits, against sets of numbers. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  addSlot,
  bothBits,
  countSlots,
  eitherBits,
  isNoSlot,
  noSlots,
  slotsBelow,
  slotsOf,
  withoutBits,
} from '../../../src/cluster/worker/slot-bits.js';

const SLOTS = 48;
const some = fc.uniqueArray(fc.nat({ max: SLOTS - 1 }));

function bitsOf(numbers: readonly number[]): Uint8Array {
  const bits = noSlots(SLOTS);
  for (const number of numbers) addSlot(bits, number);
  return bits;
}

const sorted = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);

it('sets of slots are what sets of numbers are', () => {
  fc.assert(
    fc.property(some, some, fc.nat({ max: SLOTS }), (left, right, end) => {
      const [a, b] = [bitsOf(left), bitsOf(right)];
      expect([...slotsOf(a)]).toEqual(sorted(left));
      expect([countSlots(a), isNoSlot(a)]).toEqual([left.length, left.length === 0]);
      expect([...slotsOf(bothBits(a, b))]).toEqual(sorted(left.filter((slot) => right.includes(slot))));
      expect([...slotsOf(eitherBits(a, b))]).toEqual(sorted([...new Set([...left, ...right])]));
      expect([...slotsOf(withoutBits(a, b))]).toEqual(sorted(left.filter((slot) => !right.includes(slot))));
      expect([...slotsOf(slotsBelow(a, end))]).toEqual(sorted(left.filter((slot) => slot < end)));
      expect([...slotsOf(a)]).toEqual(sorted(left));
    }),
  );
});
