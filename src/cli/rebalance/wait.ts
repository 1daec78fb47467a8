/** Waits for the end of a change that was asked for, with a bar on a terminal. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Henge, Topology } from '../../client/index.js';
import { Failure } from '../command.js';
import { readProgress } from '../operator.js';
import { screenOf } from '../terminal.js';
import { watchProgress } from './progress.js';

/** The coordinator takes up a wish within a moment, and the bar is not to begin with "nothing moves". */
const FIRST_LOOK_MS = 250;

/** @throws Failure when it is not over after `waitMs` */
export async function waitUntil(
  cluster: Henge,
  isOver: (topology: Topology) => boolean,
  waitMs: number,
): Promise<void> {
  const deadlineMs = performance.now() + waitMs;
  await sleep(FIRST_LOOK_MS);
  const { isTerminal } = screenOf(process.stdout);
  await watchProgress({
    // The bar is for people, and waiting does not depend on it.
    look: async () => (isTerminal ? readProgress(await cluster.topology()).catch(() => undefined) : undefined),
    isDone: async () => {
      if (isOver(await cluster.topology())) return true;
      if (performance.now() > deadlineMs) throw new Failure('it is still on its way; nothing was called off');
      return false;
    },
  });
}

export const isQuiet = ({ next }: Topology): boolean => next === undefined;
