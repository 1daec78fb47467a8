/**
 * A change of the list of members as the nodes tell it: begun when an epoch with a list to come is published, done when
 * that list is the base.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Henge } from '../../src/index.js';
import { keyOf } from '../load/closed.js';
import { VALUE_BYTES } from '../load/driver.js';
import type { Context } from '../suite.js';
import { BenchCluster, type ClusterOptions, type LogLine } from '../targets/cluster.js';

/** A change that takes longer has got stuck. */
const CHANGE_MS_MAX = 60_000;
const POLL_MS = 5;
const KEYS_AT_ONCE = 20_000;

/** A cluster with so many items of 100 bytes in it, and a client of it. */
export async function filledCluster(
  context: Context,
  options: ClusterOptions,
  keys: number,
): Promise<{ readonly cluster: BenchCluster; readonly client: Henge }> {
  const cluster = await BenchCluster.start(context, options);
  const client = await Henge.connect({ seeds: [...cluster.seeds], deadlineMs: 30_000 });
  context.defer(() => client.close());
  // Nodes that were founded together hear of each other's addresses a little later than they serve.
  while ((await client.topology()).members.some(({ address }) => address === '')) await sleep(POLL_MS);
  const value = 'v'.repeat(VALUE_BYTES);
  for (let from = 0; from < keys; from += KEYS_AT_ONCE) {
    const count = Math.min(KEYS_AT_ONCE, keys - from);
    await client.setMany(Array.from({ length: count }, (_, index) => [keyOf(from + index), value] as const));
  }
  return { cluster, client };
}

/** Resolves, to its moment, when a change that began after `sinceMs` is seen. */
export function begun(cluster: BenchCluster, sinceMs: number): Promise<number> {
  return published(cluster, (line) => line.readAtMs >= sinceMs && line.next !== undefined);
}

/** Resolves, to its moment, when these members are the base, and no other list is to come. */
export function ended(cluster: BenchCluster, sinceMs: number, names: string): Promise<number> {
  const isBase = ({ base }: LogLine) => [...(base as string[])].sort().join('') === names;
  return published(cluster, (line) => line.readAtMs >= sinceMs && line.next === undefined && isBase(line));
}

async function published(cluster: BenchCluster, isMeant: (line: LogLine) => boolean): Promise<number> {
  const untilMs = performance.now() + CHANGE_MS_MAX;
  while (performance.now() < untilMs) {
    for (const { log } of cluster.nodes) {
      const line = log.find((candidate) => candidate.event === 'publish' && isMeant(candidate));
      if (line !== undefined) return line.readAtMs;
    }
    await sleep(POLL_MS);
  }
  throw new Error(`the change of members was not there after ${CHANGE_MS_MAX} ms: ${lastWords(cluster)}`);
}

/** For whoever has to find out why. */
const lastWords = ({ nodes }: BenchCluster): string =>
  nodes.map(({ name, log }) => `${name}: ${JSON.stringify(log.at(-1))}`).join('; ');
