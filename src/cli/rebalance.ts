/**
 * `henge rebalance`: how far a change of the list of members is, and how it is to go on: paused, resumed, at another
 * pace, or back. Which nodes come and go is said elsewhere: `henge serve`, `henge drain`.
 */
import { Argument, type Command } from 'commander';
import type { Henge, Topology } from '../client/index.js';
import type { RebalanceStatus } from '../cluster/index.js';
import { type ClusterOptions, clusterOptions, examples, jsonOption, parseBytes, print, printJson } from './command.js';
import { readProgress, tellAny } from './operator.js';
import { limitOf, progressLines, watchProgress } from './rebalance/progress.js';
import { withCluster } from './session.js';
import { bytes, count, type Paint, paintFor, screenOf, table } from './terminal.js';
import { UsageError } from './usage.js';

const ACTIONS = ['status', 'pause', 'resume', 'cancel', 'rate'] as const;
type Action = (typeof ACTIONS)[number];

interface Options extends ClusterOptions {
  readonly watch?: boolean;
  readonly json?: boolean;
}

export function addRebalance(program: Command): void {
  const command = program
    .command('rebalance')
    .description('watch data move while nodes join or leave; pause, resume or pace it, or call the change off')
    .addArgument(new Argument('[action]', 'without one: watch until nothing moves').choices(ACTIONS))
    .argument('[size]', "for rate: bytes a second that each node sends; 0: no limit; 'default': as each is configured")
    .option('-w, --watch', 'watch until nothing moves, with any action')
    .addOption(jsonOption());
  clusterOptions(command).action(rebalance);
  examples(command, [
    'henge rebalance                        # watch until nothing moves',
    'henge rebalance rate 16mb              # each node sends at most 16 MiB a second, from now on',
    'henge rebalance pause                  # nothing moves, in this change and the next ones, until resume',
    'henge rebalance cancel --watch         # back to the members that stood before, and wait until all is back',
    'henge rebalance status --json | jq .etaMs',
  ]);
}

async function rebalance(action: Action | undefined, size: string | undefined, options: Options): Promise<void> {
  if ((action === 'rate') !== (size !== undefined)) {
    throw new UsageError(
      action === 'rate' ? 'Say at which rate: rate 16mb, rate 0, rate default.' : `What is '${size}'?`,
    );
  }
  const path = pathOf(action ?? 'status', size);
  await withCluster(options, async (cluster) => {
    const topology = await cluster.topology();
    if (path !== undefined) {
      const status = (await tellAny(topology, path)) as RebalanceStatus;
      if (options.json) printJson(status);
      else print(sentenceFor(action, status));
    }
    if (action === undefined || options.watch) await watch(cluster, options);
    else if (path === undefined) await show(topology, options);
  });
}

/** What is to be told, undefined when nothing is. */
function pathOf(action: Action, size: string | undefined): string | undefined {
  if (action === 'status') return undefined;
  return `/v1/rebalance/${action}${action === 'rate' ? `?bytes-per-second=${parseRate(size ?? '')}` : ''}`;
}

function parseRate(text: string): number | 'default' {
  if (text === 'default') return text;
  try {
    return text === '0' ? 0 : parseBytes(text);
  } catch (error) {
    throw new UsageError(`'${text}' is no rate. ${(error as Error).message}`);
  }
}

function sentenceFor(action: Action | undefined, { state, bytesPerSecond }: RebalanceStatus): string {
  const isIdle = state === 'idle';
  switch (action) {
    case 'pause':
      return isIdle ? 'paused: nothing moves now, and the next change will wait' : 'paused';
    case 'resume':
      return isIdle ? 'nothing is held back any more' : 'data moves again';
    case 'cancel':
      return 'called off: what was handed over goes back';
    default:
      return bytesPerSecond === null
        ? 'each node sends as it is configured (--rebalance-rate)'
        : limitOf(bytesPerSecond);
  }
}

async function watch(cluster: Henge, { json }: Options): Promise<void> {
  await watchProgress({
    look: async () => readProgress(await cluster.topology()),
    isDone: (status) => status?.state === 'idle',
    isJson: json === true,
  });
}

async function show(topology: Topology, { json }: Options): Promise<void> {
  const status = await readProgress(topology);
  if (json) printJson(status);
  else print(draw(status, paintFor(screenOf(process.stdout))).join('\n'));
}

const COLUMNS = [
  { title: 'node' },
  { title: 'slots to hand over', align: 'right' },
  { title: 'sent', align: 'right' },
  { title: 'to send', align: 'right' },
] as const;

function draw(status: RebalanceStatus, paint: Paint): string[] {
  if (status.state === 'idle') return progressLines(status, paint);
  const rows = status.nodes.map(({ name, epoch, handOvers, movedBytes, toMoveBytes }) =>
    epoch === status.epoch ? [name, count(handOvers), bytes(movedBytes), bytes(toMoveBytes)] : [name, 'not known yet'],
  );
  return [...progressLines(status, paint), '', ...table(COLUMNS, rows, paint)];
}
