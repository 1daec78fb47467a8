/**
 * What an operator does on a good day, as the demonstration tells it: another node is started and gets its part, an old
 * one is asked to leave and gives its part away. The load goes on, and is not to notice.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { readRing } from '../src/cli/report.js';
import { duration, percent } from '../src/cli/terminal.js';
import type { Topology } from '../src/client/index.js';
import { SLOTS } from '../src/ring/index.js';
import { type Scene, type Tell, topologyWhere } from './fall.js';

/** Between the one and the other, for people to look at. */
const PAUSE_MS = 1_000;
/** The data of a demonstration would be where it belongs before anybody has seen it move. */
const BYTES_PER_SECOND = 512 * 1024;
const SETTLE_MS = 500;

/**
 * Resolves, when a node has joined and another one has left, to the longest that a write took meanwhile. Throws when
 * that does not come about, or `stopped` is aborted.
 */
export async function showChanges(scene: Scene, tell: Tell, stopped: AbortSignal): Promise<number> {
  const { cluster, show, traffic } = scene;
  // Not the first one: its dashboard is the one that was told of.
  const leaving = show.nodeNames[1];
  if (leaving === undefined) throw new Error('there is no second node');
  await cluster.limitRate(BYTES_PER_SECOND);
  traffic.watch(() => true);
  await join(scene, tell, stopped);
  const joinedMs = traffic.longestWriteMs;
  await sleep(PAUSE_MS, undefined, { signal: stopped });
  traffic.watch(() => true);
  const begin = performance.now();
  tell(scene.paint('yellow', '−'), `${leaving} is asked to leave`);
  await cluster.drainNode(leaving);
  await topologyWhere(cluster, stopped, (topology) => isQuiet(topology) && !hasMember(topology, leaving));
  await tellEnd(scene, tell, { what: `${leaving} has left`, begin });
  return Math.max(joinedMs, traffic.longestWriteMs);
}

async function join(scene: Scene, tell: Tell, stopped: AbortSignal): Promise<void> {
  const { cluster, paint } = scene;
  const name = await cluster.addNode();
  const begin = performance.now();
  tell(paint('yellow', '+'), `${name} has been started, and joins`);
  await topologyWhere(cluster, stopped, (topology) => isQuiet(topology) && hasMember(topology, name));
  const ring = await readRing(cluster.client);
  const slots = ring.nodes.find((node) => node.name === name)?.slots ?? 0;
  await tellEnd(scene, tell, { what: `${name} leads ${percent(slots / SLOTS, 1)} of keys`, begin });
}

/** A moment later, when whatever waited has been answered. */
async function tellEnd(
  { traffic, paint }: Scene,
  tell: Tell,
  { what, begin }: { readonly what: string; readonly begin: number },
): Promise<void> {
  const took = duration(performance.now() - begin);
  await sleep(SETTLE_MS);
  tell(paint('green', '✓'), `${what} after ${took}; writes took ${duration(traffic.longestWriteMs)} at most`);
}

const isQuiet = ({ next }: Topology): boolean => next === undefined;

const hasMember = ({ members }: Topology, name: string): boolean => members.some((member) => member.name === name);
