/** `henge set KEY VALUE`: stores a value, given on the command line or on standard input. */
import { buffer } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import {
  type ClusterOptions,
  clusterOptions,
  examples,
  Failure,
  jsonOption,
  parseDuration,
  print,
  printJson,
  quietOption,
} from './command.js';
import { withCluster } from './session.js';
import { VALUE_TYPES, type ValueType, valueFrom } from './value.js';

interface Options extends ClusterOptions {
  readonly type?: ValueType;
  readonly ttl?: number;
  readonly keepTtl?: boolean;
  readonly ifAbsent?: boolean;
  readonly ifVersion?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function addSet(program: Command): void {
  const command = program
    .command('set')
    .description('store a value')
    .argument('<key>')
    .argument('<value>', 'the value; - reads it from standard input')
    .addOption(
      new Option('-t, --type <type>', 'how to read the value (default: string; bytes from standard input)').choices(
        VALUE_TYPES,
      ),
    )
    .addOption(new Option('--ttl <duration>', 'time to live: 500ms, 90s, 5m, 1h, 2d').argParser(parseDuration))
    .addOption(new Option('--keep-ttl', 'leave the time to live of an existing key as it is').conflicts('ttl'))
    .addOption(new Option('--if-absent', 'only if there is no such key').conflicts('ifVersion'))
    .option('--if-version <version>', 'only if the key has exactly this version (from `henge get --json`)')
    .addOption(jsonOption())
    .addOption(quietOption());
  clusterOptions(command).action(set);
  examples(command, [
    "henge set greeting 'good morning' --ttl 1h",
    `henge set user:42 '{"name":"Ada"}' --type json`,
    'henge set logo.png - < logo.png',
    'henge set lock:report me --if-absent --ttl 30s || echo taken',
  ]);
}

async function set(key: string, text: string, options: Options): Promise<void> {
  const input = text === '-' ? await buffer(process.stdin) : Buffer.from(text);
  const value = valueFrom(input, options.type ?? (text === '-' ? 'bytes' : 'string'));
  const result = await withCluster(options, (cluster) =>
    cluster.set(key, value, {
      ...(options.ttl === undefined ? {} : { ttl: options.ttl }),
      ...(options.keepTtl ? { keepTtl: true } : {}),
      ...(options.ifAbsent ? { ifAbsent: true } : {}),
      ...(options.ifVersion === undefined ? {} : { ifVersion: options.ifVersion }),
    }),
  );
  if (!result) throw new Failure(options.ifAbsent ? `'${key}' exists already.` : `'${key}' has another version.`);
  if (options.quiet) return;
  if (options.json) printJson({ key, stored: true });
  else print('stored');
}
