/** `henge dev`: a whole cluster on this machine, until Ctrl-C. */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { DevCluster } from '../daemon/index.js';
import { examples, Failure, parseCount, print } from './command.js';
import { paintFor, screenOf, table } from './terminal.js';

interface DevOptions {
  readonly nodes: number;
  readonly basePort: number;
  readonly baseHttpPort: number;
  readonly dir?: string;
  readonly memory: string;
  readonly workers: number;
}

export function addDev(program: Command): void {
  const command = program
    .command('dev')
    .description('run a cluster of several nodes on this machine')
    .addOption(new Option('-n, --nodes <N>', 'number of nodes').default(3).argParser(parseCount))
    .addOption(new Option('--base-port <PORT>', 'data port of the first node').default(7411).argParser(parseCount))
    .addOption(new Option('--base-http-port <PORT>', 'its HTTP port').default(7480).argParser(parseCount))
    .option('--dir <FOLDER>', 'where registry, secret and logs are kept (default: a new temporary folder)')
    .option('--memory <SIZE>', 'memory of each node', '256mb')
    .addOption(new Option('--workers <N>', 'worker processes of each node').default(1).argParser(parseCount))
    .action(dev);
  examples(command, ['henge dev', 'henge dev --nodes 5 --memory 64mb', 'henge dev --dir ./cluster --base-port 9411']);
}

async function dev(options: DevOptions): Promise<void> {
  const { nodes, basePort, baseHttpPort, dir, memory, workers } = options;
  if (dir !== undefined) await mkdir(dir, { recursive: true });
  const cluster = await DevCluster.start({
    nodes,
    basePort,
    baseHttpPort,
    ...(dir !== undefined && { folder: resolve(dir) }),
    serveArguments: [`--memory=${memory}`, `--workers=${workers}`],
  });
  const columns = [{ title: 'node' }, { title: 'data' }, { title: 'dashboard' }, { title: 'log' }];
  const rows = cluster.nodes.map(({ name, address, http, log }) => [name, address, `http://${http}/`, log]);
  for (const line of table(columns, rows, paintFor(screenOf(process.stdout)))) print(line);
  print('\nCtrl-C stops them all.');

  const failure = await Promise.race([cluster.failure(), signalled()]);
  await cluster.stop();
  if (failure !== undefined) throw new Failure(failure);
}

function signalled(): Promise<undefined> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(undefined));
  });
}
