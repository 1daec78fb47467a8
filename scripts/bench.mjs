/**
 * Runs the benchmark harness, after making what it needs: packages, dist/ and the addon, and the harness itself, which
 * is TypeScript in bench/ compiled into dist-bench/ (Node 20 strips no types).
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NODE = process.execPath;

/** Each step only if those before it worked. */
const STEPS = [
  ...(existsSync(join(ROOT, 'node_modules')) ? [] : [['npm', ['--prefix', ROOT, 'ci']]]),
  [NODE, [join(ROOT, 'scripts/build.mjs')]],
  [NODE, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', join(ROOT, 'tsconfig.bench.json')]],
];

process.exitCode = await main();

async function main() {
  for (const [command, words] of STEPS) {
    // The table and nothing else belongs on standard output.
    const status = await run(command, words, ['ignore', 2, 2]);
    if (status !== 0) return 1;
  }
  return run(NODE, [join(ROOT, 'dist-bench/bench/main.js'), ...process.argv.slice(2)], 'inherit');
}

function run(command, words, stdio) {
  return new Promise((resolve, reject) => {
    // A file named by --json is relative to where npm was called.
    const cwd = process.env.INIT_CWD ?? process.cwd();
    const child = spawn(command, words, { cwd, stdio });
    // Ctrl-C reaches the whole group; this process waits for the harness to clean up.
    process.on('SIGINT', () => {});
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? 1));
  });
}
