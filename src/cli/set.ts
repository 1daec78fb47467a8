/** `henge set KEY VALUE`: stores a value, given on the command line or on standard input. */
import { buffer } from 'node:stream/consumers';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Henge } from '../client/index.js';
import { isVersion, type Version } from '../protocol/index.js';
import {
  type ClusterOptions,
  clusterOptions,
  examples,
  Failure,
  jsonOption,
  NOTHING,
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
  readonly ifVersion?: Version;
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
    .addOption(
      new Option(
        '--if-version <version>',
        'only if the key has exactly this version (from `henge get --json`)',
      ).argParser(parseVersion),
    )
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

function parseVersion(text: string): Version {
  if (!isVersion(text)) throw new InvalidArgumentError('A version is 28 hex digits.');
  return text;
}

async function set(key: string, text: string, options: Options): Promise<void> {
  const input = text === '-' ? await buffer(process.stdin) : Buffer.from(text);
  const value = valueFrom(input, options.type ?? (text === '-' ? 'bytes' : 'string'));
  const isStored = await withCluster(options, (cluster) => store(cluster, key, value, options));
  if (options.json) printJson({ key, stored: isStored });
  else if (isStored && !options.quiet) print('stored');
  if (!isStored) throw options.quiet || options.json ? NOTHING : new Failure(refusal(key, options));
}

/** Whether the value was stored: false when there was a condition and it did not hold. */
async function store(cluster: Henge, key: string, value: unknown, options: Options): Promise<boolean> {
  const { ttl, keepTtl, ifAbsent, ifVersion } = options;
  if (ifAbsent) return (await cluster.set(key, value, { ttl, ifAbsent })) !== undefined;
  if (ifVersion !== undefined) return (await cluster.set(key, value, { ttl, keepTtl, ifVersion })) !== undefined;
  await cluster.set(key, value, { ttl, keepTtl });
  return true;
}

function refusal(key: string, { ifAbsent }: Options): string {
  return ifAbsent
    ? `'${key}' exists already; nothing was stored.`
    : `'${key}' has another version; nothing was stored.`;
}
