/** Sets of slots as bits: slot s is bit s & 7 of byte s >> 3, in memory as on the wire. */
import type { SlotBits } from '../../store/index.js';

export const noSlots = (slots: number): SlotBits => new Uint8Array(Math.ceil(slots / 8));

export const hasSlot = (bits: SlotBits, slot: number): boolean =>
  ((bits[slot >> 3] as number) & (1 << (slot & 7))) !== 0;

export function addSlot(bits: SlotBits, slot: number): void {
  bits[slot >> 3] = (bits[slot >> 3] as number) | (1 << (slot & 7));
}

/** The slots of which `isIn` is true. */
export function slotsWhere(slots: number, isIn: (slot: number) => boolean): SlotBits {
  const bits = noSlots(slots);
  for (let slot = 0; slot < slots; slot++) if (isIn(slot)) addSlot(bits, slot);
  return bits;
}

/** Those of the slots whose numbers are below `end`. */
export function slotsBelow(slots: SlotBits, end: number): SlotBits {
  const below = slots.slice();
  below.fill(0, Math.ceil(end / 8));
  if ((end & 7) !== 0 && end >> 3 < below.length)
    below[end >> 3] = (below[end >> 3] as number) & ((1 << (end & 7)) - 1);
  return below;
}

export function* slotsOf(bits: SlotBits): Generator<number> {
  for (let at = 0; at < bits.length; at++) {
    if (bits[at] === 0) continue;
    for (let bit = 0; bit < 8; bit++) if (((bits[at] as number) & (1 << bit)) !== 0) yield at * 8 + bit;
  }
}

export function isNoSlot(bits: SlotBits): boolean {
  for (let at = 0; at < bits.length; at++) if (bits[at] !== 0) return false;
  return true;
}

export function countSlots(bits: SlotBits): number {
  let count = 0;
  for (let byte of bits) for (; byte !== 0; byte &= byte - 1) count++;
  return count;
}

export function bothBits(a: SlotBits, b: SlotBits): SlotBits {
  const both = new Uint8Array(a.length);
  for (let at = 0; at < a.length; at++) both[at] = (a[at] as number) & (b[at] ?? 0);
  return both;
}

export function eitherBits(a: SlotBits, b: SlotBits): SlotBits {
  const either = new Uint8Array(a.length);
  for (let at = 0; at < a.length; at++) either[at] = (a[at] as number) | (b[at] ?? 0);
  return either;
}

export function withoutBits(a: SlotBits, b: SlotBits): SlotBits {
  const left = new Uint8Array(a.length);
  for (let at = 0; at < a.length; at++) left[at] = (a[at] as number) & ~(b[at] ?? 0);
  return left;
}

/** Bit i: the segment's i-th slot. */
export function segmentMask(bits: SlotBits, segment: number, slotsPerSegment: number): number {
  let mask = 0;
  for (let i = 0; i < slotsPerSegment; i++) if (hasSlot(bits, segment * slotsPerSegment + i)) mask |= 1 << i;
  return mask;
}

/** The lowest of the values that these slots have, at most `most`. */
export function lowestOf(bits: SlotBits, values: Float64Array, most: number): number {
  let lowest = most;
  for (const slot of slotsOf(bits)) lowest = Math.min(lowest, values[slot] as number);
  return lowest;
}
