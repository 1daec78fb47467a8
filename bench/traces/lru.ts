/**
 * Exact LRU over bytes, by which the others are judged: what a perfect list of all items in order of use would have
 * missed.
 */
import type { Trace } from './trace.js';

/**
 * Misses of a trace. An item takes its value and `overheadBytes`; one that is larger than the whole is never kept.
 * A JavaScript Map keeps the order of insertion, so taking an item out and putting it back makes it the youngest.
 */
export function lruMisses({ items, valueBytes }: Trace, capacityBytes: number, overheadBytes: number): number {
  const cached = new Map<number, number>();
  let usedBytes = 0;
  let misses = 0;
  for (const item of items) {
    const bytes = (valueBytes[item] ?? 0) + overheadBytes;
    if (cached.delete(item)) {
      cached.set(item, bytes);
      continue;
    }
    misses += 1;
    if (bytes > capacityBytes) continue;
    cached.set(item, bytes);
    usedBytes += bytes;
    for (const [oldest, oldestBytes] of cached) {
      if (usedBytes <= capacityBytes) break;
      cached.delete(oldest);
      usedBytes -= oldestBytes;
    }
  }
  return misses;
}
