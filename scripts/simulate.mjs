/**
 * The simulator beyond what `npm test` runs of it (CONTRIBUTING.md):
 *
 *   npm run simulate -- --seeds N --start S    the seeds S to S + N - 1
 *   npm run simulate -- --mutants [NAME,...]   the planted bugs, all or those named
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: {
    seeds: { type: 'string', default: '500' },
    start: { type: 'string', default: '1' },
    mutants: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const tests = values.mutants
  ? ['test/simulation/mutants.test.ts', '--disable-console-intercept']
  : ['test/simulation/seeds/'];
const chosen = values.mutants
  ? { SIMULATION_MUTANTS: positionals[0] ?? 'all' }
  : { SIMULATION_SEEDS: values.seeds, SIMULATION_START: values.start };
const options = { stdio: 'inherit', env: { ...process.env, ...chosen } };
const { status } = spawnSync('npx', ['vitest', 'run', ...tests], options);
process.exitCode = status ?? 1;
