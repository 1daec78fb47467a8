#!/usr/bin/env node
/**
 * The `henge` command: a list of subcommands, each a function in a file of its own that adds itself to the program.
 *
 * Exit status: 0 done, 1 failed, 2 wrong usage. A subcommand throws; what a person reads on stderr is made here only.
 */
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { addBench } from './bench.js';
import { addCompletion } from './completion.js';
import { addDelete } from './delete.js';
import { addDev } from './dev.js';
import { addGet } from './get.js';
import { addIncr } from './incr.js';
import { addRing } from './ring.js';
import { addScan } from './scan.js';
import { addServe } from './serve.js';
import { addSet } from './set.js';
import { addStatus } from './status.js';
import { addTop } from './top.js';
import { addTouch } from './touch.js';
import { addTtl } from './ttl.js';
import { UsageError } from './usage.js';
import { addWhere } from './where.js';

const SUBCOMMANDS: readonly ((program: Command) => void)[] = [
  addServe,
  addDev,
  addGet,
  addSet,
  addDelete,
  addIncr,
  addTtl,
  addTouch,
  addScan,
  addStatus,
  addRing,
  addWhere,
  addTop,
  addBench,
  addCompletion,
];

/** Runs the command line `argv` (as process.argv) and resolves to the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
  const program = new Command('henge')
    .description('A sharded, replicated cache cluster')
    .version(version)
    .exitOverride()
    .showHelpAfterError('(henge help shows all commands, henge help COMMAND one of them)');
  for (const add of SUBCOMMANDS) add(program);
  // Subcommands made with program.command() inherit settings at that moment only; these must hold for all of them.
  for (const command of program.commands)
    command.exitOverride().showHelpAfterError(`(see: henge ${command.name()} --help)`);

  try {
    await program.parseAsync(argv);
    return process.exitCode === undefined ? 0 : Number(process.exitCode);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const sentence = error instanceof Error ? error.message : String(error);
    // An empty message is a failure that the exit status tells and nothing else: a key that is not there.
    if (sentence !== '') process.stderr.write(`henge: ${sentence}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

const isEntryPoint = process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
if (isEntryPoint) {
  // A reader that has seen enough (`henge scan | head`) closes the pipe; that is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  process.exitCode = await main(process.argv);
}
