/**
 * What all subcommands share: how an invocation ends, where it writes, the options that mean the same everywhere, and
 * the parsing of their arguments.
 *
 * Exit status: 0 done, 1 failed, 2 wrong usage. A command ends well by returning, badly by throwing a Failure (its
 * sentence goes to standard error), and quietly with status 1 by throwing `NOTHING`.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';

/** The command could not do what was asked. The message is one sentence for a person. */
export class Failure extends Error {}

/** Ends a command with status 1 and no message: `henge get` of a key that is not there. */
export const NOTHING = new Failure('');

/** Text on standard output, ended with a newline. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

/** Examples below the options of `--help`. */
export function examples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`);
}

export const SEEDS_DEFAULT = '127.0.0.1:7411';
export const DEADLINE_MS_DEFAULT = 1_000;

export interface ClusterOptions {
  readonly seeds: readonly string[];
  readonly deadline: number;
}

/** Options of every command that talks to a cluster. */
export function clusterOptions(command: Command): Command {
  const seeds = new Option('-s, --seeds <host:port,...>', 'nodes to ask for the topology')
    .default([SEEDS_DEFAULT], SEEDS_DEFAULT)
    .argParser(parseSeeds);
  // A variable that is set to nothing is as good as none.
  if (process.env.HENGE_SEEDS !== '') seeds.env('HENGE_SEEDS');
  return command
    .addOption(seeds)
    .addOption(
      new Option('--deadline <duration>', 'longest time that one request may take')
        .default(DEADLINE_MS_DEFAULT, '1s')
        .argParser(parseDuration),
    );
}

export const jsonOption = () => new Option('--json', 'print JSON, for scripts');
export const quietOption = () => new Option('-q, --quiet', 'print nothing: the exit status says it all');

export function parseSeeds(text: string): readonly string[] {
  const seeds = text
    .split(',')
    .map((seed) => seed.trim())
    .filter((seed) => seed !== '');
  const wrong = seeds.find((seed) => !/^(\[[0-9a-fA-F:.]+\]|[^:[\]]+):\d{1,5}$/.test(seed));
  if (seeds.length === 0) throw new InvalidArgumentError('At least one HOST:PORT is needed.');
  if (wrong !== undefined) throw new InvalidArgumentError(`'${wrong}' is not HOST:PORT.`);
  return seeds;
}

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `500ms`, `90s`, `5m`, `1h`, `2d`, or a bare number of milliseconds, as in the client. Above 0. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  const ms = match === null ? 0 : Math.round(Number(match[1]) * (DURATION_UNITS[match[2] ?? 'ms'] ?? 1));
  if (ms < 1) throw new InvalidArgumentError('Give milliseconds, or a number with a unit: 500ms, 90s, 5m, 1h, 2d.');
  return ms;
}

const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** `100`, `4k`, `16MiB`, `1g`: bytes, in powers of 1,024. Above 0. */
export function parseBytes(text: string): number {
  const match = /^(\d+)(?:([kmg])(?:i?b)?|b)?$/i.exec(text);
  const bytes = match === null ? 0 : Number(match[1]) * (SIZE_UNITS[(match[2] ?? '').toLowerCase()] ?? 1);
  if (bytes < 1) throw new InvalidArgumentError('Give bytes, or a number with a unit: 100, 4k, 16m, 1g.');
  return bytes;
}

export function parseCount(text: string): number {
  const value = Number(text.replaceAll('_', ''));
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('Give a whole number above 0.');
  return value;
}

export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('Give a number.');
  return value;
}
