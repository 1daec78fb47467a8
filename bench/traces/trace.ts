/**
 * A trace: which item was asked for, in order, and how large each item is. Read from files people have, or made up from
 * a seed.
 *
 * Files of a folder, gzip-compressed or not, by the end of the name: `.u32be` big-endian 32-bit ids, `.csv` lines of
 * `size,id`. An id keeps one size: the largest it was seen with. Traces without sizes get them from the id, half to one
 * and a half times VALUE_BYTES_MEAN, so that both sides meet items of different sizes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';

export interface Trace {
  readonly name: string;
  /** Items by number, 0 to `valueBytes.length` - 1. */
  readonly items: Uint32Array;
  /** Size of each item's value. */
  readonly valueBytes: Uint32Array;
}

/**
 * Mean size of a value where the trace does not say: large enough that a thousandth of a trace is not too small a
 * cache.
 */
const VALUE_BYTES_MEAN = 8_192;

/** The traces of a folder, of each the first `requestsMax` requests. */
export function readTraces(folder: string, requestsMax: number): Trace[] {
  return readdirSync(folder)
    .filter((name) => /\.(u32be|csv)(\.gz)?$/.test(name))
    .sort()
    .map((name) => readTrace(join(folder, name), requestsMax));
}

function readTrace(file: string, requestsMax: number): Trace {
  const isCompressed = file.endsWith('.gz');
  const bytes = isCompressed ? gunzipSync(readFileSync(file)) : readFileSync(file);
  const [name = '', kind] = basename(file, isCompressed ? '.gz' : '').split(/\.(?=[^.]+$)/);
  return kind === 'csv' ? parseCsv(name, bytes.toString('latin1'), requestsMax) : parseIds(name, bytes, requestsMax);
}

function parseIds(name: string, bytes: Buffer, requestsMax: number): Trace {
  const ids = Array.from({ length: Math.min(bytes.length >> 2, requestsMax) }, (_, index) =>
    bytes.readUInt32BE(index * 4),
  );
  return traceOf(name, ids);
}

function parseCsv(name: string, text: string, requestsMax: number): Trace {
  const rows = text.split('\n', requestsMax).flatMap((line) => {
    const [size, id] = line.split(',').map(Number);
    return size === undefined || id === undefined || Number.isNaN(size) || Number.isNaN(id) ? [] : [{ size, id }];
  });
  const largest = new Map<number, number>();
  for (const { size, id } of rows) largest.set(id, Math.max(size, largest.get(id) ?? 1));
  return traceOf(
    name,
    rows.map(({ id }) => id),
    (id) => largest.get(id) ?? 1,
  );
}

/** Numbers the ids in the order in which they first come. */
function traceOf(name: string, ids: readonly number[], sizeOf: (id: number) => number = sizeFromId): Trace {
  const numbers = new Map<number, number>();
  const items = Uint32Array.from(ids, (id) => {
    const known = numbers.get(id) ?? numbers.size;
    numbers.set(id, known);
    return known;
  });
  return { name, items, valueBytes: Uint32Array.from(numbers.keys(), sizeOf) };
}

function sizeFromId(id: number): number {
  const mixed = Math.imul(id ^ (id >>> 16), 0x45d9f3b) >>> 0;
  return Math.round(VALUE_BYTES_MEAN * (0.5 + mixed / 2 ** 32));
}

/**
 * Traffic whose nature is known: popularity by Zipf's law, the same between long scans, and popularity that moves on.
 * No real traces, and no figure is made of them alone; they run wherever the harness does.
 */
export function syntheticTraces(requests: number): Trace[] {
  const items = Math.floor(requests / 8);
  const zipf = zipfDraw(items, 0.9, 1);
  const scanning = zipfDraw(items >> 1, 0.9, 2);
  const drifting = zipfDraw(items >> 1, 1, 3);
  return [
    traceOf('zipf', indices(requests).map(zipf)),
    traceOf('zipf-scans', indices(requests).map(withScans(items, scanning))),
    traceOf(
      'drift',
      indices(requests).map((at) => drifting() + Math.floor((at * items) / requests / 2)),
    ),
  ];
}

function indices(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** Every other eighth of the run reads items in order that are never read again. */
function withScans(items: number, draw: () => number): (at: number) => number {
  return (at) => (at % items < items >> 1 ? draw() : items + at);
}

/** Ranks 0 to `count` - 1 by 1 / (rank + 1)^exponent: the inverse of the cumulative sum, by binary search. */
function zipfDraw(count: number, exponent: number, seed: number): () => number {
  const cumulative = new Float64Array(count);
  let total = 0;
  for (let rank = 0; rank < count; rank++) {
    total += (rank + 1) ** -exponent;
    cumulative[rank] = total;
  }
  const random = uniform(seed);
  return () => {
    const wanted = random() * total;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulative[middle] ?? 0) < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

/** Numbers of [0, 1): Mulberry32. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
