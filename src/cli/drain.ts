/**
 * `henge drain NODE`: asks a node to leave, and waits until others have all it had; the node's daemon then ends by
 * itself. `henge drain NODE --cancel` asks it to stay after all: what was handed over comes back.
 */
import { type Command, Option } from 'commander';
import { type ClusterOptions, clusterOptions, examples, Failure, parseDuration, print } from './command.js';
import { tellAny } from './operator.js';
import { isQuiet, waitUntil } from './rebalance/wait.js';
import { withCluster } from './session.js';

interface Options extends ClusterOptions {
  readonly cancel?: boolean;
  readonly wait: number;
}

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
    await waitUntil(
      cluster,
      isBack ? isQuiet : ({ members }) => !members.some((one) => one.name === name),
      options.wait,
    );
    const seconds = ((performance.now() - startedAtMs) / 1_000).toFixed(1);
    print(isBack ? `${name} stays` : `${name} has left after ${seconds} s`);
  });
}
