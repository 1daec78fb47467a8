/** `henge serve`: runs a node until it is told to end. */
import { type Command, Option } from 'commander';
import { ConfigError, describeConfig, flagOf, loadConfig, OPTIONS, runNode } from '../daemon/index.js';
import { examples } from './command.js';
import { UsageError } from './usage.js';

export function addServe(program: Command): void {
  const command = program.command('serve').description('run a node of the cluster');
  for (const { name, argument, help } of OPTIONS) {
    command.addOption(new Option(argument === undefined ? flagOf(name) : `${flagOf(name)} <${argument}>`, help));
  }
  command
    .option('--config <FILE>', 'read options from this YAML or JSON file; names as in "maxValue: 4mb"')
    .option('--print-config', 'print the effective configuration with the source of each value, and end')
    .action(serve);
  examples(command, [
    'henge serve --memory 2gb',
    'henge serve --name a --listen 127.0.0.1:7411 --arena /dev/shm/henge-a',
    'HENGE_MEMORY=512mb henge serve --config /etc/henge.yaml --print-config',
  ]).addHelpText(
    'after',
    '\nEvery option is also a variable, HENGE_MAX_VALUE for --max-value; a flag counts before it, the file after it.',
  );
}

async function serve(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const input = { flags, environment: process.env };
  try {
    const loaded = loadConfig(input);
    if (flags.printConfig === true) process.stdout.write(describeConfig(loaded));
    else await runNode(loaded, input);
  } catch (error) {
    throw error instanceof ConfigError ? new UsageError(error.message) : error;
  }
}
