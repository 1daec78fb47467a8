/** `henge where KEY`: the slot of a key and the node that leads it. */
import type { Command } from 'commander';
import { type ClusterOptions, clusterOptions, examples, jsonOption, print, printJson } from './command.js';
import { whereIs } from './report.js';
import { withCluster } from './session.js';
import { paintFor, screenOf, table } from './terminal.js';

interface Options extends ClusterOptions {
  readonly json?: boolean;
}

export function addWhere(program: Command): void {
  const command = program
    .command('where')
    .description('show the slot of a key, and the node that leads it, whether the key is there or not')
    .argument('<key...>')
    .addOption(jsonOption());
  clusterOptions(command).action(where);
  examples(command, [
    'henge where user:42',
    "henge where 'cart:{42}' 'orders:{42}'   # the same {tag}: the same slot",
    'henge where user:42 --json              # [{ "key", "slot", "node", "address", "replicas" }]',
  ]);
}

async function where(keys: readonly string[], options: Options): Promise<void> {
  const places = await withCluster(options, (cluster) => whereIs(cluster, keys));
  if (options.json) {
    printJson(places);
    return;
  }
  const columns = [
    { title: 'key' },
    { title: 'slot', align: 'right' },
    { title: 'node' },
    { title: 'address' },
  ] as const;
  const rows = places.map(({ key, slot, node, address }) => [key, String(slot), node, address]);
  print(table(columns, rows, paintFor(screenOf(process.stdout))).join('\n'));
}
