/**
 * How a node stops that will return: it says that it is about to (alive/NAME); an epoch comes in which it is away and
 * others lead what it led; they ask it for what they lack, for it still lives; clients that come to it are sent on; and
 * then its daemon may end. So nothing that was acknowledged is lost, and no connection closes with a request on it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlPlane } from '../cluster/index.js';
import type { Logger } from './log.js';

/** Nobody waits longer for a cluster that has no coordinator. */
const EPOCH_MS_MAX = 3_000;
/** Take-overs give the silent a second. */
const FAREWELL_MS = 1_000;
const POLL_MS = 10;

export interface RestParts {
  readonly plane: Pick<ControlPlane, 'rest' | 'view' | 'hasOthers'>;
  readonly log: Logger;
  readonly name: string;
  /** Nobody wants to wait any more. */
  readonly signal: AbortSignal;
}

/** Resolves when the node may end, whatever became of it. */
export async function rest({ plane, log, name, signal }: RestParts): Promise<void> {
  const self = () => plane.view.members.find((member) => member.name === name);
  const found = self();
  if (found === undefined || found.isJoining === true) return;
  const mayWait = (untilMs: number): boolean => !signal.aborted && plane.hasOthers && performance.now() < untilMs;
  plane.rest();
  const askedAtMs = performance.now();
  const isAway = (): boolean => self()?.isResting === true;
  while (!isAway() && mayWait(askedAtMs + EPOCH_MS_MAX)) await sleep(POLL_MS);
  const tookMs = Math.round(performance.now() - askedAtMs);
  if (!isAway()) {
    log.warn({ event: 'unrelieved', tookMs }, 'nobody leads instead of this node yet, it stops all the same');
    return;
  }
  log.info({ event: 'resting', tookMs, epoch: plane.view.epoch }, 'others lead instead of this node');
  const untilMs = performance.now() + FAREWELL_MS;
  while (mayWait(untilMs)) await sleep(POLL_MS);
}
