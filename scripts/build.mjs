/**
 * Builds everything that is missing or stale: dist/ from src/ (tsc, and copies of what is not TypeScript), and the
 * native addon. Quick when there is nothing to do, so that `npm start` and `npm test` may always call it.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SOURCE = join(ROOT, 'src');
const TARGET = join(ROOT, 'dist');
/** Holds a hash of everything dist/ was made from. */
const STAMP = join(TARGET, '.built-from');

const isBuilt = (await buildNative()) && (await buildTypeScript());
process.exitCode = isBuilt ? 0 : 1;

async function buildNative() {
  return (await run(join(ROOT, 'scripts/native.mjs'), ['build'])) === 0;
}

async function buildTypeScript() {
  const files = await sourceFiles();
  const hash = await hashOf(files);
  if ((await readFile(STAMP, 'utf8').catch(() => '')) === hash) return true;

  console.log('compiling src/ ...');
  await rm(STAMP, { force: true });
  const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  if ((await run(compiler, ['-p', join(ROOT, 'tsconfig.build.json')])) !== 0) return false;
  await copyAssets(files);
  await markExecutables();
  await writeFile(STAMP, hash);
  return true;
}

/** Every file below src/, relative to it. */
async function sourceFiles() {
  const entries = await readdir(SOURCE, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(SOURCE.length + 1))
    .sort();
}

async function hashOf(files) {
  const hash = createHash('sha256');
  const configuration = ['tsconfig.json', 'tsconfig.build.json', 'package.json'].map((name) => join(ROOT, name));
  for (const path of [...configuration, ...files.map((file) => join(SOURCE, file))]) {
    hash.update(path).update(await readFile(path));
  }
  return hash.digest('hex');
}

/** What tsc leaves behind: pages, styles, scripts for the browser. */
async function copyAssets(files) {
  for (const file of files.filter((name) => extname(name) !== '.ts')) {
    await mkdir(dirname(join(TARGET, file)), { recursive: true });
    await copyFile(join(SOURCE, file), join(TARGET, file));
  }
}

async function markExecutables() {
  const { bin } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  for (const path of Object.values(bin)) await chmod(join(ROOT, path), 0o755);
}

function run(script, scriptArguments) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...scriptArguments], { stdio: 'inherit' });
    child.on('error', reject);
    child.on('close', resolve);
  });
}
