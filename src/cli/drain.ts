/**
 * `henge drain NODE`: asks a node to leave, and waits until others have all it had; the node's daemon then ends by
 * itself. `henge drain NODE --cancel` asks it to stay after all: what was handed over comes back.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { Henge, Topology } from '../client/index.js';
import { type ClusterOptions, clusterOptions, examples, Failure, parseDuration, print } from './command.js';
import { readProgress, tellAny } from './operator.js';
import { watchProgress } from './rebalance/progress.js';
import { withCluster } from './session.js';
import { screenOf } from './terminal.js';

interface Options extends ClusterOptions {
  readonly cancel?: boolean;
  readonly wait: number;
}

/** The coordinator takes up a wish within a moment, and the bar is not to begin with "nothing moves". */
const FIRST_LOOK_MS = 250;
const WAIT_MS = 3_600_000;

export function addDrain(program: Command): void {
  const command = program
    .command('drain')
    .description('ask a node to leave, and wait until others have all it had')
    .argument('<node>')
    .option('--cancel', 'ask it to stay after all')
    .addOption(
      new Option('--wait <duration>', 'give up waiting after').default(WAIT_MS, '1h').argParser(parseDuration),
    );
  clusterOptions(command).action(drain);
  examples(command, ['henge drain node-2', 'henge drain node-2 --cancel']);
}

async function drain(name: string, options: Options): Promise<void> {
  const isBack = options.cancel === true;
  await withCluster(options, async (cluster) => {
    const topology = await cluster.topology();
    if (!topology.members.some((member) => member.name === name)) throw new Failure(`there is no node ${name}`);
    await tellAny(topology, `/v1/members/${encodeURIComponent(name)}/${isBack ? 'keep' : 'drain'}`);
    const startedAtMs = performance.now();
    await wait(cluster, isBack ? isQuiet : ({ members }) => !members.some((one) => one.name === name), options.wait);
    const seconds = ((performance.now() - startedAtMs) / 1_000).toFixed(1);
    print(isBack ? `${name} stays` : `${name} has left after ${seconds} s`);
  });
}

const isQuiet = ({ next }: Topology): boolean => next === undefined;

/** With a bar, on a terminal. A change is not there yet when it has just been asked for. */
async function wait(cluster: Henge, isOver: (topology: Topology) => boolean, waitMs: number): Promise<void> {
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
