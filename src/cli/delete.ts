/** `henge delete KEY...`: deletes keys and prints how many there were. */
import type { Command } from 'commander';
import { type ClusterOptions, clusterOptions, examples, jsonOption, print, printJson, quietOption } from './command.js';
import { withCluster } from './session.js';

interface Options extends ClusterOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function addDelete(program: Command): void {
  const command = program
    .command('delete')
    .description('delete keys and print how many of them there were')
    .argument('<key...>')
    .addOption(jsonOption())
    .addOption(quietOption());
  clusterOptions(command).action(remove);
  examples(command, ['henge delete user:42', 'henge delete user:42 user:43 --json   # { "deleted": 2 }']);
}

async function remove(keys: readonly string[], options: Options): Promise<void> {
  const deleted = await withCluster(options, (cluster) => cluster.deleteMany(keys));
  if (options.quiet) return;
  if (options.json) printJson({ deleted });
  else print(String(deleted));
}
