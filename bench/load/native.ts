/**
 * The native load generator (bench/native), built where it is missing or older than its sources, and its answers typed.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BUILD, ROOT } from '../paths.js';
import { pinned, type Target } from '../targets/process.js';
import { CORES, DIALECTS, type TargetName } from '../targets/targets.js';

const run = promisify(execFile);
const PROGRAM = join(BUILD, 'loadgen');
const SOURCES = join(ROOT, 'bench/native');
const FLAGS = ['-std=c++17', '-O2', '-Wall', '-Wextra', '-Wconversion', '-Werror'];

export interface FillResult {
  readonly operations: number;
  readonly seconds: number;
  readonly failed: number;
}

/** Latencies in microseconds. */
export interface LoadResult extends FillResult {
  /** With those of the warm-up, for the server's CPU time per operation. */
  readonly operationsAll: number;
  readonly misses: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface ReplayResult {
  readonly requests: number;
  readonly hits: number;
  readonly misses: number;
  /** Sets that the server did not take. */
  readonly refused: number;
  /** What the server said to the last of them. */
  readonly refusal: string;
  readonly seconds: number;
}

/** Options of the generator, by the names bench/native/main.cc gives them. */
type Options = Readonly<Record<string, string | number>>;

/** Sets keys 0 to `keys` - 1. */
export async function fill(target: Target, keys: number): Promise<void> {
  const { failed } = (await generate('fill', target, { keys })) as FillResult;
  if (failed > 0) throw new Error(`${failed} of ${keys} sets failed while ${target.name} was filled`);
}

export async function load(target: Target, options: Options): Promise<LoadResult> {
  const result = (await generate('load', target, options)) as LoadResult;
  if (result.failed > 0) throw new Error(`${result.failed} requests to ${target.name} failed or were answered wrongly`);
  return result;
}

export async function replay(target: Target, file: string): Promise<ReplayResult> {
  return (await generate('replay', target, { file })) as ReplayResult;
}

async function generate(action: string, target: Target, options: Options): Promise<unknown> {
  await build();
  const given = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const place = ['--host', target.host, '--port', String(target.port)];
  const dialect = DIALECTS[target.name as TargetName];
  const [program, ...words] = pinned(CORES.load, [PROGRAM, action, dialect, ...place, ...given]);
  const { stdout } = await run(program, words);
  return JSON.parse(stdout);
}

async function build(): Promise<void> {
  const names = readdirSync(SOURCES);
  const newest = Math.max(...names.map((name) => modifiedAt(join(SOURCES, name))));
  if (modifiedAt(PROGRAM) >= newest) return;
  mkdirSync(BUILD, { recursive: true });
  const files = names.filter((name) => name.endsWith('.cc')).map((name) => join(SOURCES, name));
  await run(process.env.CXX ?? 'g++', [...FLAGS, ...files, '-o', PROGRAM]);
}

/** Milliseconds since 1970; 0 for a file that is not there. */
function modifiedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
