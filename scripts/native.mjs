/**
 * Builds and tests the native part with nothing but a C++ compiler: no node-gyp, no make, no download of headers.
 *
 * What is stale is decided by content: an object file carries a hash of its source, of every header and of the flags.
 * A file is written beside its final name and renamed, so that builds running at once, or a daemon that has the addon
 * loaded, never see half of one.
 *
 *   node scripts/native.mjs build           native/build/henge.node, where missing or stale
 *   node scripts/native.mjs test [NAME...]  native/test/NAME_test.cc (all), under AddressSanitizer and UBSan
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NATIVE = join(ROOT, 'native');
const BUILD = join(NATIVE, 'build');
const COMPILER = process.env.CXX ?? 'g++';
/** Compilers at once: the smallest machine we build on has two cores, and each takes some 300 MB. */
const JOBS = 2;

const NODE_HEADERS = createRequire(import.meta.url)('node-api-headers').include_dir;
/** SSE4.2 and POPCNT on x86: every server since 2009 has them. Arm's baseline has what is used. */
const MACHINE = process.arch === 'x64' ? ['-march=x86-64-v2'] : [];
const COMMON = [
  '-std=c++17',
  '-pthread',
  '-Wall',
  '-Wextra',
  '-Wconversion',
  '-Werror',
  '-fno-exceptions',
  '-fno-rtti',
  '-DNAPI_VERSION=8',
  `-isystem${NODE_HEADERS}`,
  ...MACHINE,
];
const RELEASE = {
  folder: join(BUILD, 'release'),
  compile: [...COMMON, '-O2', '-fPIC', '-fvisibility=hidden'],
  link: ['-shared', '-pthread'],
};
const SANITIZED = {
  folder: join(BUILD, 'sanitized'),
  compile: [
    ...COMMON,
    '-O1',
    '-g',
    '-fno-omit-frame-pointer',
    '-fsanitize=address,undefined',
    '-fno-sanitize=vptr', // needs RTTI
    '-fno-sanitize-recover=all',
  ],
  link: ['-pthread', '-fsanitize=address,undefined'],
};

/** The tests' own files: a failed check leaves its test by an exception. */
const TESTS = { ...SANITIZED, compile: [...SANITIZED.compile, '-fexceptions'] };

class BuildError extends Error {}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [command, ...names] = process.argv.slice(2);
  try {
    if (command === 'build') await buildAddon();
    else if (command === 'test') process.exitCode = await testNative(names);
    else throw new BuildError('Usage: node scripts/native.mjs build | test [NAME...]');
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}

/** Builds native/build/henge.node where it is missing or stale. Says what it does only when it does something. */
export async function buildAddon() {
  const sources = [join(NATIVE, 'addon.cc'), ...(await sourcesIn('addon')), ...(await coreSources())];
  const objects = await compileAll(sources, RELEASE);
  await link(objects, join(BUILD, 'henge.node'), RELEASE);
}

/** Builds and runs the native tests; returns the exit status. */
export async function testNative(names) {
  const core = await compileAll(await coreSources(), SANITIZED);
  const tests = (await sourcesIn('test')).filter((path) => path.endsWith('_test.cc'));
  const chosen = tests.filter((path) => names.length === 0 || names.includes(basename(path, '_test.cc')));
  if (chosen.length === 0) throw new BuildError(`No native test is called ${names.join(' or ')}`);

  const objects = await compileAll(chosen, TESTS);
  const sum = { passed: 0, failed: 0 };
  for (const object of objects) {
    const program = object.path.replace(/\.o$/, '');
    await link([...core, object], program, SANITIZED);
    const result = await runTest(program);
    sum.passed += result.passed;
    sum.failed += result.failed;
  }
  console.log(`${sum.passed} passed, ${sum.failed} failed`);
  return sum.failed === 0 ? 0 : 1;
}

/** A test program ends with a line `N passed, N failed`; one that dies before it has failed once more than it said. */
async function runTest(program) {
  console.log(`# ${relative(ROOT, program)}`);
  const { status, output } = await run(program, [], { isEchoed: true });
  const counts = /(\d+) passed, (\d+) failed\s*$/.exec(output);
  if (counts === null) return { passed: 0, failed: 1 };
  const failed = Number(counts[2]);
  return { passed: Number(counts[1]), failed: status !== 0 && failed === 0 ? 1 : failed };
}

async function coreSources() {
  return [...(await sourcesIn('ring')), ...(await sourcesIn('store')), ...(await sourcesIn('wire'))];
}

async function sourcesIn(folder) {
  const names = await readdir(join(NATIVE, folder)).catch(() => []);
  return names
    .filter((name) => name.endsWith('.cc'))
    .sort()
    .map((name) => join(NATIVE, folder, name));
}

/** Compiles what is stale, JOBS at a time. Returns an object per source, with the hash of what it was made from. */
async function compileAll(sources, variant) {
  const shared = await sharedHash(variant);
  const objects = await Promise.all(sources.map((source) => describeObject(source, variant, shared)));
  const stale = objects.filter((object) => !object.isFresh);
  if (stale.length === 0) return objects;
  await run(COMPILER, ['--version']); // throws one sentence when there is none, before anything else is said
  console.log(`compiling ${stale.length} of ${objects.length} files of native/ ...`);
  await Promise.all(
    Array.from({ length: JOBS }, async () => {
      for (let object = stale.shift(); object !== undefined; object = stale.shift()) await compile(object, variant);
    }),
  );
  return objects;
}

async function describeObject(source, variant, shared) {
  const path = join(variant.folder, relative(NATIVE, source).replace(/\.cc$/, '.o'));
  const hash = sha256(shared, await readFile(source));
  return { source, path, hash, isFresh: await isFresh(path, hash) };
}

async function compile({ source, path, hash }, variant) {
  await mkdir(dirname(path), { recursive: true });
  await produce(path, hash, [...variant.compile, '-c', source]);
}

async function link(objects, target, variant) {
  const hash = sha256(...variant.link, ...objects.map((object) => object.hash));
  if (await isFresh(target, hash)) return;
  await produce(target, hash, [...objects.map((object) => object.path), ...variant.link]);
}

/** Runs the compiler to make `path`, and records what it was made from. */
async function produce(path, hash, compilerArguments) {
  const unfinished = `${path}.${process.pid}`;
  const { status, output } = await run(COMPILER, [...compilerArguments, '-o', unfinished]);
  if (status !== 0) {
    await rm(unfinished, { force: true });
    throw new BuildError(output.trimEnd());
  }
  await rm(hashPath(path), { force: true });
  await rename(unfinished, path);
  await writeFile(hashPath(path), hash);
}

async function isFresh(path, hash) {
  const recorded = await readFile(hashPath(path), 'utf8').catch(() => '');
  return recorded === hash && (await readdir(dirname(path))).includes(basename(path));
}

function hashPath(path) {
  return `${path}.sha256`;
}

/** What every object depends on: flags and all headers. A changed header rebuilds all; there are few files. */
async function sharedHash(variant) {
  const names = await readdir(NATIVE, { recursive: true });
  const headers = names.filter((name) => name.endsWith('.h')).sort();
  const contents = await Promise.all(headers.map((name) => readFile(join(NATIVE, name))));
  return sha256(COMPILER, ...variant.compile, ...headers, ...contents);
}

function sha256(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

function run(command, commandArguments, { isEchoed = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, commandArguments, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = [];
    const keep = (bytes) => {
      output.push(bytes);
      if (isEchoed) process.stdout.write(bytes);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => reject(error.code === 'ENOENT' ? missing(command) : error));
    child.on('close', (status) => resolve({ status, output: Buffer.concat(output).toString() }));
  });
}

function missing(command) {
  return new BuildError(
    `The native store needs a C++ compiler, and ${command} was not found; on Debian: apt-get install g++ make`,
  );
}
