/** `henge touch KEY TTL`: gives a key another time to live. A missing key exits with 1. */
import type { Command } from 'commander';
import {
  type ClusterOptions,
  clusterOptions,
  examples,
  jsonOption,
  NOTHING,
  parseDuration,
  print,
  printJson,
  quietOption,
} from './command.js';
import { withCluster } from './session.js';

interface Options extends ClusterOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function addTouch(program: Command): void {
  const command = program
    .command('touch')
    .description('give a key another time to live; exits with 1, silently, when there is no such key')
    .argument('<key>')
    .argument('<ttl>', "500ms, 90s, 5m, 1h, 2d, or 'none': it no longer expires", parseTtl)
    .addOption(jsonOption())
    .addOption(quietOption());
  clusterOptions(command).action(touch);
  examples(command, ['henge touch session:7 30m', 'henge touch session:7 none']);
}

/** 0 stands for no expiry, as in the client. */
function parseTtl(text: string): number {
  return text === 'none' ? 0 : parseDuration(text);
}

async function touch(key: string, ttl: number, options: Options): Promise<void> {
  const isThere = await withCluster(options, (cluster) => cluster.touch(key, ttl));
  if (!isThere) throw NOTHING;
  if (options.quiet) return;
  if (options.json) printJson({ key, ttlMs: ttl === 0 ? null : ttl });
  else print('touched');
}
