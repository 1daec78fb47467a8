/**
 * How often a cache of a given memory misses, on the traffic of traces: the real daemon, redis-server (allkeys-lru) and
 * memcached, each given the same bytes, and an exact LRU that loses nothing to structure.
 *
 * A cell is a trace at a capacity. What a server loses to headers, tables and half-empty pages is its own loss; the LRU
 * is charged, for each item, its key and the header that Henge's record has. The goal counts cells of real traces of at
 * least 64 regions, and compares with the servers from 16 MiB upwards: below that their own tables are most of the
 * memory.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { replay } from './load/native.js';
import { geometricMean, type Measurement } from './report/figure.js';
import { formatNumber } from './report/table.js';
import type { Context, Suite } from './suite.js';
import { installed, start, type TargetName } from './targets/targets.js';
import { lruMisses } from './traces/lru.js';
import { readTraces, syntheticTraces, type Trace } from './traces/trace.js';

const MIB = 1024 * 1024;
/** Of the bytes of all distinct items. */
const SHARES = [0.01, 0.03, 0.1, 0.3] as const;
/** Of a trace, at most: what fits into a run of some minutes. */
const REQUESTS_MAX = 4_000_000;
const SYNTHETIC_REQUESTS = 800_000;
/**
 * The smallest memory a daemon accepts. At 64 KiB a region it has about 64 of them from 4 MiB on, so every cell counts.
 */
const HENGE_BYTES_MIN = 8 * MIB;
const PEER_BYTES_MIN = 16 * MIB;
/** A key of 20 bytes, a record's header of 16, and its 6.4 bytes of index. */
const OVERHEAD_BYTES = 43;

interface Cell {
  readonly trace: Trace;
  readonly capacityBytes: number;
}

/** Misses of one cell, by who missed. */
type Misses = ReadonlyMap<TargetName | 'lru', number>;

export const hitsSuite: Suite = {
  name: 'hits',
  summary:
    'misses on traces at equal bytes, against exact LRU, redis-server and memcached (--traces DIR for real ones)',
  async run(context) {
    const names = await installed(context, ['henge', 'redis-server', 'memcached']);
    const requestsMax = context.isQuick ? 100_000 : REQUESTS_MAX;
    const synthetic = syntheticTraces(Math.min(requestsMax, SYNTHETIC_REQUESTS));
    const real = context.tracesFolder === undefined ? [] : readTraces(context.tracesFolder, requestsMax);
    if (real.length === 0) context.note('no real traces (--traces DIR): hits.misses is skipped, synthetic traces only');
    return [
      ...figures('hits.misses', await measureAll(context, names, real)),
      ...figures('hits.synthetic', await measureAll(context, names, synthetic)),
    ];
  },
};

async function measureAll(context: Context, names: readonly TargetName[], traces: readonly Trace[]): Promise<Misses[]> {
  const folder = await mkdtemp(join(tmpdir(), 'henge-trace-'));
  context.defer(() => rm(folder, { recursive: true, force: true }));
  const results: Misses[] = [];
  for (const trace of traces) {
    const file = join(folder, trace.name);
    await writeFile(file, requestsOf(trace));
    for (const cell of cellsOf(context, trace)) results.push(await measureCell(context, names, cell, file));
  }
  return results;
}

/** Capacities are whole MiB, as memcached wants them. */
function cellsOf(context: Context, trace: Trace): Cell[] {
  const totalBytes = trace.valueBytes.reduce((sum, bytes) => sum + bytes + OVERHEAD_BYTES, 0);
  const shares = context.isQuick ? [0.1] : SHARES;
  return shares
    .map((share) => ({ trace, capacityBytes: Math.round((totalBytes * share) / MIB) * MIB }))
    .filter(({ capacityBytes }) => capacityBytes >= HENGE_BYTES_MIN);
}

async function measureCell(
  context: Context,
  names: readonly TargetName[],
  { trace, capacityBytes }: Cell,
  file: string,
): Promise<Misses> {
  const misses = new Map<TargetName | 'lru', number>([['lru', lruMisses(trace, capacityBytes, OVERHEAD_BYTES)]]);
  for (const name of names) {
    if (name !== 'henge' && capacityBytes < PEER_BYTES_MIN) continue;
    const target = await start(context, name, { memoryBytes: capacityBytes });
    const result = await replay(target, file);
    await target.stop();
    misses.set(name, result.misses);
    if (result.refused > 0) context.note(`${name} refused ${result.refused} sets: ${result.refusal}`);
  }
  const told = [...misses].map(([name, count]) => `${name} ${(count / trace.items.length).toFixed(4)}`);
  context.note(`${trace.name} at ${formatNumber(capacityBytes / MIB)} MiB, miss ratios: ${told.join(', ')}`);
  return misses;
}

/** As bench/native/replay.h wants them: item and size, 4 bytes each. */
function requestsOf({ items, valueBytes }: Trace): Uint8Array {
  const words = new Uint32Array(items.length * 2);
  for (const [index, item] of items.entries()) {
    words[2 * index] = item;
    words[2 * index + 1] = valueBytes[item] ?? 1;
  }
  return new Uint8Array(words.buffer);
}

/**
 * The geometric mean of a cell's ratios, with the misses of all cells together beside it; and the worst cell against
 * LRU.
 */
function figures(id: string, cells: readonly Misses[]): Measurement[] {
  const against = (peer: TargetName | 'lru') =>
    cells.flatMap((cell) => {
      const ours = cell.get('henge');
      const theirs = cell.get(peer);
      return ours === undefined || theirs === undefined ? [] : [ours / theirs];
    });
  const lru = against('lru');
  if (lru.length === 0) return [];
  const peers: TargetName[] = ['redis-server', 'memcached'];
  const ratio = (name: string, value: number, peer: string): Measurement => ({
    id: name,
    unit: 'x misses',
    values: [value],
    against: { name: peer, values: [1] },
  });
  return [
    ratio(id, geometricMean(lru), 'exact LRU'),
    ratio(`${id}.worst`, Math.max(...lru), 'exact LRU'),
    ...peers
      .filter((peer) => against(peer).length > 0)
      .map((peer) => ratio(`${id}.${peer}`, geometricMean(against(peer)), peer)),
  ];
}
