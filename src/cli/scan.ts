/** `henge scan [PREFIX]`: prints keys, one a line, as the walk over the nodes finds them. */
import { once } from 'node:events';
import { type Command, Option } from 'commander';
import { type ClusterOptions, clusterOptions, examples, parseCount } from './command.js';
import { withCluster } from './session.js';

interface Options extends ClusterOptions {
  readonly limit?: number;
  readonly json?: boolean;
}

export function addScan(program: Command): void {
  const command = program
    .command('scan')
    .description('print the keys that begin with a prefix, in no particular order')
    .argument('[prefix]', 'the beginning of the keys wanted; all keys without it', '')
    .addOption(new Option('-n, --limit <count>', 'stop after so many keys').argParser(parseCount))
    .addOption(new Option('--json', 'print each key as a JSON string, one a line'));
  clusterOptions(command).action(scan);
  examples(command, ['henge scan user: --limit 10', 'henge scan --json | jq -r \'select(startswith("a"))\'']);
}

async function scan(prefix: string, options: Options): Promise<void> {
  const limit = options.limit ?? Number.POSITIVE_INFINITY;
  await withCluster(options, async (cluster) => {
    let printed = 0;
    for await (const key of cluster.scan({ prefix })) {
      const line = options.json ? JSON.stringify(key) : key;
      // A slow reader holds the walk back instead of filling our memory.
      if (!process.stdout.write(`${line}\n`)) await once(process.stdout, 'drain');
      if (++printed >= limit) break;
    }
  });
}
