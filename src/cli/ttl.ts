/** `henge ttl KEY`: prints how long a key still lives. A missing key prints nothing and exits with 1. */
import type { Command } from 'commander';
import { type ClusterOptions, clusterOptions, examples, jsonOption, NOTHING, print, printJson } from './command.js';
import { withCluster } from './session.js';

interface Options extends ClusterOptions {
  readonly json?: boolean;
}

export function addTtl(program: Command): void {
  const command = program
    .command('ttl')
    .description("print the milliseconds that a key still lives, or 'none' when it does not expire")
    .argument('<key>')
    .addOption(jsonOption());
  clusterOptions(command).action(ttl);
  examples(command, [
    'henge ttl session:7',
    'henge ttl session:7 --json   # { "key", "ttlMs" }, null: does not expire',
  ]);
}

async function ttl(key: string, options: Options): Promise<void> {
  const left = await withCluster(options, (cluster) => cluster.ttl(key));
  if (left === undefined) throw NOTHING;
  const expires = Number.isFinite(left);
  if (options.json) printJson({ key, ttlMs: expires ? left : null });
  else print(expires ? String(left) : 'none');
}
