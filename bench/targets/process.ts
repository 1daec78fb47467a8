/**
 * A server under test: a real process on a free port, started, looked at from outside (CPU time and memory from /proc,
 * of the process and all its children), and stopped. Linux only, as Henge's daemon is.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, connect as openSocket } from 'node:net';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

const HOST = '127.0.0.1';
/** A server that does not listen after this long will not. */
const START_MS_MAX = 20_000;
/** Time to go in peace after SIGTERM. */
const STOP_MS_MAX = 5_000;
/** What is kept of a server's output, to be shown when it does not start. */
const OUTPUT_BYTES_MAX = 16_384;

export interface Target {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Of the process that was started; its workers are its children. */
  readonly pid: number;
  /** CPU time spent by the process and its living children, in seconds. */
  cpuSeconds(): number;
  /** Memory in use by the process and its children, shared pages counted once (proportional set size), in bytes. */
  memoryBytes(): number;
  /** Ids of the living child processes. */
  children(): number[];
  stop(): Promise<void>;
}

export interface Launch {
  readonly name: string;
  readonly command: string;
  readonly words: readonly string[];
  readonly port: number;
  /** Answers with success once the server serves, which may be later than its port accepts. */
  readonly readyUrl?: string | undefined;
  /** Core to run on; all when missing. */
  readonly core?: number | undefined;
}

/** Starts a server and waits until it serves. Throws with the end of its output when it does not start. */
export async function launch({ name, command, words, port, readyUrl, core }: Launch): Promise<Target> {
  const [program, ...programWords] = pinned(core, [command, ...words]);
  const child = spawn(program, programWords, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      output = `${output}${bytes}`.slice(-OUTPUT_BYTES_MAX);
    });
  }
  // A harness that dies must not leave servers behind.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const gone = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      output += error.message;
      resolve();
    });
    child.once('exit', () => resolve());
  }).then(() => process.off('exit', kill));

  const serves = async () => (await accepts(port)) && (readyUrl === undefined || (await answers(readyUrl)));
  if (!(await comesUp(child, serves)) || child.pid === undefined) {
    kill();
    throw new Error(`${name} did not come up on port ${port}:\n${output}`);
  }
  const { pid } = child;
  return {
    name,
    host: HOST,
    port,
    pid,
    cpuSeconds: () => sum([pid, ...descendants(pid)].map(cpuSecondsOf)),
    memoryBytes: () => sum([pid, ...descendants(pid)].map(memoryBytesOf)),
    children: () => descendants(pid),
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(kill, STOP_MS_MAX);
      await gone;
      clearTimeout(timer);
    },
  };
}

/** The words of a command that runs on one core only, where that can be said; a process's children stay there too. */
export function pinned(core: number | undefined, words: readonly [string, ...string[]]): [string, ...string[]] {
  if (core === undefined || availableParallelism() < 2 || !isInstalled('taskset')) return [...words];
  return ['taskset', '-c', String(core), ...words];
}

export function isInstalled(command: string): boolean {
  return versionOf(command, ['--version']) !== undefined;
}

/** First line of what a command says of its version; undefined where it is not installed. */
export function versionOf(command: string, words: readonly string[]): string | undefined {
  try {
    return execFileSync(command, [...words], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0];
  } catch {
    return undefined; // not installed, which the caller says
  }
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, HOST, () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address !== null ? resolve(address.port) : reject()));
    });
  });
}

async function comesUp(child: ChildProcess, serves: () => Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + START_MS_MAX;
  while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
    if (await serves()) return true;
    await sleep(20);
  }
  return false;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = openSocket({ port, host: HOST });
    const finish = (isAccepted: boolean) => {
      socket.destroy();
      resolve(isAccepted);
    };
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}

function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false, // not yet
  );
}

/** Ids of children, their children and so on. */
export function descendants(pid: number): number[] {
  const children = tasksOf(pid).flatMap((task) =>
    read(`/proc/${pid}/task/${task}/children`)
      .split(' ')
      .filter((word) => word !== '')
      .map(Number),
  );
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function tasksOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return []; // it has just ended
  }
}

/** Linux counts CPU time for user space in hundredths of a second, whatever the kernel's tick. */
const TICKS_PER_SECOND = 100;

export function cpuSecondsOf(pid: number): number {
  // The command's name, in brackets, may hold spaces; user and system time are the 12th and 13th words after it.
  const words = read(`/proc/${pid}/stat`)
    .replace(/^.*\) /s, '')
    .split(' ');
  const ticks = Number(words[11]) + Number(words[12]);
  return Number.isNaN(ticks) ? 0 : ticks / TICKS_PER_SECOND;
}

function memoryBytesOf(pid: number): number {
  const kib = /^Pss:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1];
  return Number(kib ?? 0) * 1024;
}

/** Contents of a file of /proc; empty when the process has just ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
