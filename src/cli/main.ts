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
import { UsageError } from './usage.js';

/** In the order of the help. Loaded when needed: `henge get` must not wait for the daemon's code. */
const SUBCOMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  serve: async () => (await import('./serve.js')).addServe,
  dev: async () => (await import('./dev.js')).addDev,
  get: async () => (await import('./get.js')).addGet,
  set: async () => (await import('./set.js')).addSet,
  delete: async () => (await import('./delete.js')).addDelete,
  incr: async () => (await import('./incr.js')).addIncr,
  ttl: async () => (await import('./ttl.js')).addTtl,
  touch: async () => (await import('./touch.js')).addTouch,
  scan: async () => (await import('./scan.js')).addScan,
  status: async () => (await import('./status.js')).addStatus,
  ring: async () => (await import('./ring.js')).addRing,
  where: async () => (await import('./where.js')).addWhere,
  top: async () => (await import('./top.js')).addTop,
  drain: async () => (await import('./drain.js')).addDrain,
  weight: async () => (await import('./weight.js')).addWeight,
  rebalance: async () => (await import('./rebalance.js')).addRebalance,
  plan: async () => (await import('./plan.js')).addPlan,
  verify: async () => (await import('./verify.js')).addVerify,
  bench: async () => (await import('./bench.js')).addBench,
  completion: async () => (await import('./completion.js')).addCompletion,
};

/** Subcommands that the words may need: the one they name, or all of them for help, completion and suggestions. */
async function subcommandsFor(words: readonly string[]): Promise<((program: Command) => void)[]> {
  const [name = ''] = words;
  const isEnough = Object.hasOwn(SUBCOMMANDS, name) && name !== 'completion';
  const needed = Object.entries(SUBCOMMANDS).filter(([each]) => !isEnough || each === name);
  return Promise.all(needed.map(([, load]) => load()));
}

/** Runs the command line `argv` (as process.argv) and resolves to the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
  const program = new Command('henge')
    .description('A sharded, replicated cache cluster')
    .version(version)
    .exitOverride()
    .showHelpAfterError('(henge help shows all commands, henge help COMMAND one of them)');
  for (const add of await subcommandsFor(argv.slice(2))) add(program);
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
