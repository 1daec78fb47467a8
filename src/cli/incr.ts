/** `henge incr KEY [DELTA]`: adds to a counter and prints its new value. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type ClusterOptions,
  clusterOptions,
  examples,
  jsonOption,
  parseDuration,
  print,
  printJson,
  quietOption,
} from './command.js';
import { withCluster } from './session.js';

interface Options extends ClusterOptions {
  readonly initial?: number;
  readonly ttl?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function addIncr(program: Command): void {
  const command = program
    .command('incr')
    .description('add to a counter (made when there is none) and print its new value')
    .argument('<key>')
    .argument('[delta]', 'what to add; put -- before a negative number', parseInteger, 1)
    .addOption(new Option('--initial <number>', 'value that a new counter begins with').argParser(parseInteger))
    .addOption(new Option('--ttl <duration>', 'time to live of a new counter').argParser(parseDuration))
    .addOption(jsonOption())
    .addOption(quietOption());
  clusterOptions(command).action(increment);
  examples(command, ['henge incr visits', 'henge incr visits 10 --ttl 1h', 'henge incr stock:lamp -- -1']);
}

function parseInteger(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value)) throw new InvalidArgumentError('Give a whole number.');
  return value;
}

async function increment(key: string, delta: number, options: Options): Promise<void> {
  const value = await withCluster(options, (cluster) =>
    cluster.increment(key, delta, {
      initial: options.initial,
      ttl: options.ttl,
    }),
  );
  if (options.quiet) return;
  if (options.json) printJson({ key, value });
  else print(String(value));
}
