/**
 * `npm test`: sets a fresh clone up, builds it, and runs every test: first the native ones under sanitizers, then
 * vitest's. Ends with a line `N passed, N failed`, and with exit status 0 only if something passed and nothing failed.
 *
 * With HENGE_RESULTS=FILE the sum is also written there as JSON: { passed, failed }. Plain Node without dependencies.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installDebianPackages, installNpmPackages } from './setup.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** A step that ends without having said how many failed counts as this. */
const FAILED_WHOLE = { passed: 0, failed: 1 };

/** Enough for the line that sums a run up, however long the run. */
const OUTPUT_KEPT_CHARACTERS = 4_096;

const sum = await testAll();
if (process.env.HENGE_RESULTS) await writeFile(process.env.HENGE_RESULTS, JSON.stringify(sum));
console.log(`\n${sum.passed} passed, ${sum.failed} failed`);
process.exitCode = sum.failed === 0 && sum.passed > 0 ? 0 : 1;

async function testAll() {
  if (!installNpmPackages()) return FAILED_WHOLE;
  installDebianPackages();
  if ((await run(['scripts/build.mjs'])).status !== 0) return FAILED_WHOLE;

  const native = await testNative();
  const typescript = await testTypeScript();
  console.log(`\nnative tests: ${describe(native)}; TypeScript tests: ${describe(typescript)}`);
  return { passed: native.passed + typescript.passed, failed: native.failed + typescript.failed };
}

/** The native tests' own last line says how many there were. */
async function testNative() {
  const { status, output } = await run(['scripts/native.mjs', 'test']);
  const counts = /(\d+) passed, (\d+) failed\s*$/.exec(output);
  if (counts === null) return FAILED_WHOLE;
  return withStatus({ passed: Number(counts[1]), failed: Number(counts[2]) }, status);
}

async function testTypeScript() {
  const folder = await mkdtemp(join(tmpdir(), 'henge-test-'));
  const report = join(folder, 'vitest.json');
  try {
    const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=json'];
    const { status } = await run([...vitest, `--outputFile.json=${report}`]);
    return withStatus(countsOf(JSON.parse(await readFile(report, 'utf8').catch(() => '{}'))), status);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A file that could not be loaded has no tests that could fail, so it counts as one itself. */
function countsOf({ numPassedTests: passed = 0, numFailedTests: failed = 0, testResults = [] }) {
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  );
  return { passed, failed: failed + broken.length };
}

/** A run that failed without a failed test (an unhandled rejection, a crash) counts as one failure. */
function withStatus({ passed, failed }, status) {
  return { passed, failed: status !== 0 && failed === 0 ? 1 : failed };
}

function describe({ passed, failed }) {
  return `${passed} passed, ${failed} failed`;
}

/** Runs a script with this Node; its output is shown as it comes, and its end kept. */
function run(script) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, script, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (bytes) => {
      process.stdout.write(bytes);
      output = (output + bytes).slice(-OUTPUT_KEPT_CHARACTERS);
    });
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });
}
