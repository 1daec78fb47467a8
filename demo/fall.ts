/**
 * The fall of a node, and its return, as the demonstration tells them: what happens is asked of the cluster, how long
 * writes waited of the traffic.
 *
 *   killed ─▶ an epoch without it ─▶ started again by `henge dev` ─▶ returning ─▶ in sync, and in again
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { readRing } from '../src/cli/report.js';
import { count, duration, type Paint, percent } from '../src/cli/terminal.js';
import type { Topology } from '../src/client/index.js';
import { SLOTS, slotOf } from '../src/ring/index.js';
import type { DemoCluster } from './cluster.js';
import type { Show } from './show.js';
import type { Traffic } from './traffic.js';

/** Writes that waited for the epoch are acknowledged soon after it. */
const SETTLE_MS = 1_000;
const POLL_MS = 50;
/** A lease, the pause before the new start, the start, and the time to catch up, on a slow machine. */
const STEP_MS_MAX = 40_000;

export interface Scene {
  readonly cluster: DemoCluster;
  readonly show: Show;
  readonly traffic: Traffic;
  readonly paint: Paint;
}

/**
 * Kills the last node, whole, and tells what becomes of it. Resolves when it is in again, to the longest that a write
 * to its keys took. Throws when it does not return, or `stopped` is aborted.
 */
export async function showFall(scene: Scene, tell: Tell, stopped: AbortSignal): Promise<number> {
  const node = scene.show.nodeNames.at(-1);
  if (node === undefined) throw new Error('no node has answered yet');
  await fall(scene, node, stopped, tell);
  await comeBack(scene, node, stopped, tell);
  return scene.traffic.longestWriteMs;
}

export type Tell = (mark: string, text: string) => void;

async function fall({ cluster, traffic, paint }: Scene, node: string, stopped: AbortSignal, tell: Tell): Promise<void> {
  const ring = await readRing(cluster.client);
  const index = ring.nodes.findIndex(({ name }) => name === node);
  const slots = ring.nodes[index]?.slots ?? 0;
  traffic.watch((key) => ring.primaries[slotOf(Buffer.from(key))] === index);
  const begin = performance.now();
  await cluster.killNode(node);
  tell(paint('red', '✗'), `${node} killed, all its processes: it led ${percent(slots / SLOTS, 1)} of the keys`);
  const { epoch } = await topologyWhere(cluster, stopped, (topology) => stateOf(topology, node) === 'away');
  const others = `epoch ${epoch} after ${duration(performance.now() - begin)}: others lead them`;
  await sleep(SETTLE_MS, undefined, { signal: stopped });
  const { degraded } = traffic.tally;
  tell(paint('green', '✓'), `${others}; writes to them waited ${duration(traffic.longestWriteMs)} at most`);
  if (degraded > 0) tell(paint('green', '✓'), `${count(degraded)} reads were answered by copies meanwhile`);
}

async function comeBack({ cluster, paint }: Scene, node: string, stopped: AbortSignal, tell: Tell): Promise<void> {
  await topologyWhere(cluster, stopped, (topology) => stateOf(topology, node) !== 'away');
  const begin = performance.now();
  tell(paint('yellow', '↻'), `${node} is back, its memory empty: it gets its copies from the others`);
  await topologyWhere(cluster, stopped, (topology) => stateOf(topology, node) === 'in');
  tell(
    paint('green', '✓'),
    `${node} has caught up after ${duration(performance.now() - begin)}, and leads its keys again`,
  );
}

const stateOf = ({ members }: Topology, node: string): string | undefined =>
  members.find(({ name }) => name === node)?.state;

/** Waits for a topology that `isMeant`. Throws when it does not come. */
export async function topologyWhere(
  { client }: DemoCluster,
  stopped: AbortSignal,
  isMeant: (topology: Topology) => boolean,
): Promise<Topology> {
  const end = performance.now() + STEP_MS_MAX;
  while (performance.now() < end) {
    const topology = await client.topology().catch(() => undefined);
    if (topology !== undefined && isMeant(topology)) return topology;
    await sleep(POLL_MS, undefined, { signal: stopped });
  }
  throw new Error(`the cluster was not where it should be after ${duration(STEP_MS_MAX)}`);
}
