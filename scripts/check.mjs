/**
 * `npm run check`: everything about the tree that needs no running: types, style, layers, dead code, the generated
 * header, and clang-tidy on the native part where it is installed. Changes nothing. All checks run, even if one fails;
 * the output of those that failed is shown. Exit status 0 only if none did.
 *
 *   node scripts/check.mjs [NAME...]   all, or those named
 *
 * With HENGE_RESULTS=FILE the sum is also written there as JSON: { passed, failed }.
 */
import { spawn } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installNpmPackages, isOnPath } from './setup.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Each returns { isPassed, output }, or { skipped: reason }. */
const CHECKS = {
  types: () => npx('tsc', '--noEmit', '-p', 'tsconfig.json'),
  style: () => npx('biome', 'check', '--error-on-warnings', '--colors=off'),
  layers: () => npx('depcruise', '--config', '.dependency-cruiser.cjs', 'src', 'bench', 'demo', 'test'),
  dead: () => npx('knip', '--no-progress'),
  header: () => run(process.execPath, 'scripts/protocol-header.mjs', '--check'),
  native: checkNative,
};

/** bugprone-easily-swappable-parameters objects to every function of two integers: names do that work here. */
const TIDY_CHECKS = '-*,bugprone-*,performance-*,-bugprone-easily-swappable-parameters';
/** clang-tidy at once: the smallest machine we build on has two cores. */
const TIDY_JOBS = 2;

process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1;

async function main(names) {
  const unknown = names.filter((name) => !(name in CHECKS));
  if (unknown.length > 0) {
    console.error(`No check is called ${unknown.join(' or ')}; there are ${Object.keys(CHECKS).join(', ')}`);
    return false;
  }
  const sum = { passed: 0, failed: 0 };
  if (installNpmPackages()) await runChecks(names.length > 0 ? names : Object.keys(CHECKS), sum);
  else sum.failed += 1;
  if (process.env.HENGE_RESULTS) await writeFile(process.env.HENGE_RESULTS, JSON.stringify(sum));
  console.log(`checks: ${sum.passed} passed, ${sum.failed} failed`);
  return sum.failed === 0;
}

async function runChecks(names, sum) {
  for (const name of names) {
    const startedMs = performance.now();
    const { isPassed, output, skipped } = await CHECKS[name]();
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    if (skipped !== undefined) {
      console.log(`skipped ${name}: ${skipped}`);
    } else if (isPassed) {
      sum.passed += 1;
      console.log(`ok      ${name} (${seconds} s)`);
    } else {
      sum.failed += 1;
      console.log(`FAILED  ${name} (${seconds} s)\n${output.trimEnd()}\n`);
    }
  }
}

async function checkNative() {
  if (!isOnPath('clang-tidy'))
    return { skipped: 'clang-tidy is not installed (on Debian: apt-get install clang-tidy)' };
  const nodeHeaders = createRequire(import.meta.url)('node-api-headers').include_dir;
  const flags = ['-std=c++17', `-isystem${nodeHeaders}`, ...(process.arch === 'x64' ? ['-march=x86-64-v2'] : [])];
  const entries = await readdir(join(ROOT, 'native'), { recursive: true });
  const sources = entries.filter((path) => path.endsWith('.cc') && !path.startsWith('build')).sort();
  const failures = [];
  const tidyNext = async () => {
    for (let source = sources.shift(); source !== undefined; source = sources.shift()) {
      const tidy = ['--quiet', `--checks=${TIDY_CHECKS}`, '--warnings-as-errors=*', '--header-filter=native/'];
      const { isPassed, output } = await run('clang-tidy', ...tidy, `native/${source}`, '--', ...flags);
      if (!isPassed) failures.push(output);
    }
  };
  await Promise.all(Array.from({ length: TIDY_JOBS }, tidyNext));
  return { isPassed: failures.length === 0, output: failures.join('\n') };
}

/** Runs a command that a package of ours installed. */
function npx(command, ...commandArguments) {
  return run(join(ROOT, 'node_modules/.bin', command), ...commandArguments);
}

function run(command, ...commandArguments) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, commandArguments, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (bytes) => {
      output += bytes;
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', reject);
    child.on('close', (status) => resolve({ isPassed: status === 0, output }));
  });
}
