/**
 * `henge weight NODE WEIGHT`: gives a node another share of the slots, and waits until the data is where it belongs.
 * `henge plan --weight` tells beforehand what that moves. The node's next start goes by its own configuration again.
 */
import { type Command, Option } from 'commander';
import {
  type ClusterOptions,
  clusterOptions,
  examples,
  Failure,
  parseDuration,
  parseNumber,
  print,
} from './command.js';
import { tellAny } from './operator.js';
import { isQuiet, waitUntil } from './rebalance/wait.js';
import { withCluster } from './session.js';

interface Options extends ClusterOptions {
  readonly wait: number;
}

const WAIT_MS = 3_600_000;

export function addWeight(program: Command): void {
  const command = program
    .command('weight')
    .description('give a node another share of the slots, and wait until the data is where it belongs')
    .argument('<node>')
    .argument('<weight>', 'relative to other nodes, whose weight is 1 unless they were given another', parseNumber)
    .addOption(
      new Option('--wait <duration>', 'give up waiting after').default(WAIT_MS, '1h').argParser(parseDuration),
    );
  clusterOptions(command).action(weigh);
  examples(command, ['henge plan --weight node-2=2    # what that would move', 'henge weight node-2 2']);
}

async function weigh(name: string, weight: number, options: Options): Promise<void> {
  await withCluster(options, async (cluster) => {
    const topology = await cluster.topology();
    if (!topology.members.some((member) => member.name === name)) throw new Failure(`there is no node ${name}`);
    await tellAny(topology, `/v1/members/${encodeURIComponent(name)}/weight?value=${weight}`);
    const startedAtMs = performance.now();
    const hasWeight = ({ members }: typeof topology) =>
      members.some((member) => member.name === name && member.weight === weight);
    await waitUntil(cluster, (now) => isQuiet(now) && hasWeight(now), options.wait);
    print(`${name} has the weight ${weight} after ${((performance.now() - startedAtMs) / 1_000).toFixed(1)} s`);
  });
}
