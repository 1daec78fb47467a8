/** `henge get KEY`: prints a value. A missing key prints nothing and exits with 1. */
import type { Command } from 'commander';
import { type ClusterOptions, clusterOptions, examples, jsonOption, NOTHING, print, quietOption } from './command.js';
import { withCluster } from './session.js';
import { printable, toJson } from './value.js';

interface Options extends ClusterOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function addGet(program: Command): void {
  const command = program
    .command('get')
    .description('print the value of a key; exits with 1, silently, when there is none')
    .argument('<key>')
    .addOption(jsonOption())
    .addOption(quietOption());
  clusterOptions(command).action(get);
  examples(command, [
    'henge get user:42',
    'henge get logo.png > logo.png   # strings and bytes come out as they went in, other values as JSON',
    'henge get user:42 --json        # { "key", "value", "version", "ttlMs" }',
    'henge get -q user:42 || echo absent',
  ]);
}

async function get(key: string, options: Options): Promise<void> {
  const entry = await withCluster(options, (cluster) => cluster.getEntry(key));
  if (entry === undefined) throw NOTHING;
  if (options.quiet) return;
  if (options.json) {
    print(
      toJson({
        key,
        value: entry.value,
        version: entry.version,
        ttlMs: Number.isFinite(entry.ttlMs) ? entry.ttlMs : null,
      }),
    );
    return;
  }
  const value = printable(entry.value);
  process.stdout.write(value);
  // In a pipe the bytes are the value and nothing else; on a screen the prompt goes below them.
  if (process.stdout.isTTY || !isRaw(entry.value)) process.stdout.write('\n');
}

function isRaw(value: unknown): boolean {
  return typeof value === 'string' || value instanceof Uint8Array;
}
