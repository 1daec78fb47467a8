/**
 * npm run simulate -- --seeds N --start S: runs the simulator on the seeds S to S + N - 1 (CONTRIBUTING.md).
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '50' }, start: { type: 'string', default: '1' } },
});
const env = { ...process.env, SIMULATION_SEEDS: values.seeds, SIMULATION_START: values.start };
const { status } = spawnSync('npx', ['vitest', 'run', 'test/simulation/seeds.test.ts'], { stdio: 'inherit', env });
process.exitCode = status ?? 1;
