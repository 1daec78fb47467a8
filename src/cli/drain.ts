/**
 * `henge drain NODE`: asks a node to leave, and waits until others have all it had; the node's daemon then ends by
 * itself. `henge drain NODE --cancel` asks it to stay after all: what was handed over comes back.
 */
import { type Command, Option } from 'commander';
import type { Henge, Topology } from '../client/index.js';
import { type ClusterOptions, clusterOptions, examples, Failure, parseDuration, print } from './command.js';
import { withCluster } from './session.js';

interface Options extends ClusterOptions {
  readonly cancel?: boolean;
  readonly wait: number;
}

const POLL_MS = 250;
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
  await withCluster(options, async (cluster) => {
    const topology = await cluster.topology();
    if (!topology.members.some((member) => member.name === name)) throw new Failure(`there is no node ${name}`);
    await ask(topology, name, options.cancel === true ? 'keep' : 'drain');
    const startedAtMs = performance.now();
    const isDone = options.cancel === true ? isQuiet : ({ members }: Topology) => !hasMember(members, name);
    await until(cluster, isDone, options.wait);
    const seconds = ((performance.now() - startedAtMs) / 1_000).toFixed(1);
    print(options.cancel === true ? `${name} stays` : `${name} has left after ${seconds} s`);
  });
}

const hasMember = (members: Topology['members'], name: string): boolean => members.some((one) => one.name === name);
const isQuiet = ({ next }: Topology): boolean => next === undefined;

/** Any node that answers over HTTP can be told. */
async function ask({ members }: Topology, name: string, action: 'drain' | 'keep'): Promise<void> {
  const headers = { 'x-henge-operator': 'henge drain' };
  for (const { http } of members) {
    if (http === undefined) continue;
    const url = `http://${http}/v1/members/${encodeURIComponent(name)}/${action}`;
    const answer = await fetch(url, { method: 'POST', headers }).catch(() => undefined);
    if (answer === undefined) continue;
    if (answer.ok) return;
    const { error } = (await answer.json()) as { readonly error: string };
    throw new Failure(error);
  }
  throw new Failure('no node answers over HTTP (--http): only that way can a node be told to leave');
}

async function until(cluster: Henge, isDone: (topology: Topology) => boolean, waitMs: number): Promise<void> {
  const deadlineMs = performance.now() + waitMs;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (isDone(await cluster.topology())) return;
    if (performance.now() > deadlineMs) throw new Failure('it is still on its way; nothing was called off');
  }
}
