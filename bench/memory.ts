/**
 * Memory for an item, all included: a million items of a 20-byte key and a 100-byte value, and how much larger each
 * server has grown for them. Taken from /proc (proportional set size of the process and its children), so headers,
 * index, allocator's slack and half-empty pages all count.
 */
import { fill, load } from './load/native.js';
import type { Measurement } from './report/figure.js';
import { formatNumber } from './report/table.js';
import type { Context, Suite } from './suite.js';
import { installed, start, type TargetName } from './targets/targets.js';

const ITEMS = 1_000_000;
const ITEMS_QUICK = 200_000;

export const memorySuite: Suite = {
  name: 'memory',
  summary: 'bytes of memory for an item, against redis-server and memcached',
  async run(context) {
    const names = await installed(context, ['henge', 'redis-server', 'memcached']);
    const bytes = new Map<TargetName, number>();
    for (const name of names) bytes.set(name, await bytesPerItem(context, name));
    return figures(bytes);
  },
};

async function bytesPerItem(context: Context, name: TargetName): Promise<number> {
  const items = context.isQuick ? ITEMS_QUICK : ITEMS;
  const target = await start(context, name);
  // A first key, and a while of gets: what a server sets up once, for any client, is not charged to the items.
  await fill(target, 1);
  await load(target, { keys: 1, 'set-share': 0, connections: 1, depth: 64, seconds: 1 });
  const before = target.memoryBytes();
  await fill(target, items);
  const bytes = (target.memoryBytes() - before) / items;
  context.note(`${name}: ${formatNumber(bytes)} bytes per item, ${formatNumber(before)} bytes before the first`);
  await target.stop();
  return bytes;
}

function figures(bytes: ReadonlyMap<TargetName, number>): Measurement[] {
  const ours = bytes.get('henge');
  if (ours === undefined) return [];
  const peers = [...bytes].filter(([name]) => name !== 'henge').sort(([, a], [, b]) => a - b);
  if (peers.length === 0) return [{ id: 'memory.item', unit: 'bytes', values: [ours] }];
  // The goal's figure is against the leaner peer.
  return peers.map(([name, theirs], index) => ({
    id: index === 0 ? 'memory.item' : `memory.item.${name}`,
    unit: 'bytes',
    values: [ours],
    against: { name, values: [theirs] },
  }));
}
