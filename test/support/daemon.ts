/** A real daemon for tests: `henge serve` as a child with a channel, so that it ends when the test run does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface LogLine {
  readonly level: string;
  readonly event?: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder that is removed when the scope ends: `using folder = scratch()`. */
export function scratch(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'henge-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs `henge` with `words` to its end. */
export async function henge(words: readonly string[], environment: Record<string, string> = {}): Promise<Finished> {
  const child = spawn(process.execPath, [MAIN, ...words], { env: { ...withoutHenge(), ...environment } });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    output.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output.stderr += chunk;
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, ...output };
}

/** The environment of the test run must not configure the daemons under test. */
function withoutHenge(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HENGE_')));
}

export class TestDaemon implements AsyncDisposable {
  readonly log: LogLine[] = [];
  readonly ended: Promise<number | string>;
  #partial = '';

  private constructor(readonly child: ChildProcess) {
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => this.#read(chunk));
    this.ended = new Promise((resolve) => child.once('exit', (status, signal) => resolve(status ?? signal ?? '')));
  }

  /** Starts a node with small memory on free ports, unless `words` say otherwise, and waits until it is ready. */
  static start(folder: string, ...words: readonly string[]): Promise<TestDaemon> {
    return TestDaemon.startBehind([], folder, ...words);
  }

  /** As start(), by a command that becomes what the words behind it say, as `ip netns exec NAME` does. */
  static async startBehind(
    command: readonly string[],
    folder: string,
    ...words: readonly string[]
  ): Promise<TestDaemon> {
    const usual = ['--name=a', '--listen=127.0.0.1:0', '--http=127.0.0.1:0', '--memory=32mb', '--workers=2'];
    const serve = [process.execPath, MAIN, 'serve', `--registry=dir:${folder}/registry`, ...usual, ...words];
    const [program = '', ...rest] = [...command, ...serve];
    const child = spawn(program, rest, {
      env: withoutHenge(),
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      // A group of its own: workers outlive a daemon that is killed alone.
      detached: true,
    });
    const daemon = new TestDaemon(child);
    const isReady = await Promise.race([once(child, 'message').then(() => true), daemon.ended.then(() => false)]);
    if (!isReady) throw new Error(`the daemon ended: ${JSON.stringify(daemon.log.at(-1))}`);
    await daemon.event('ready');
    return daemon;
  }

  get address(): string {
    return String(this.#ready('data'));
  }

  get http(): string {
    return `http://${this.#ready('http')}`;
  }

  /** Pids of the workers that became ready, oldest first. */
  get workerPids(): readonly number[] {
    return this.log.filter(({ event }) => event === 'worker-ready').map(({ workerPid }) => Number(workerPid));
  }

  /** The first line with this event, from the line `from` on, as soon as there is one. */
  async event(event: string, from = 0): Promise<LogLine> {
    for (;;) {
      const line = this.log.slice(from).find((candidate) => candidate.event === event);
      if (line !== undefined) return line;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** The value of a metric without labels, or with exactly these as Prometheus writes them. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.http}/metrics`)).text();
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
    return Number(line?.slice(name.length + 1));
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** SIGKILL of the daemon and all its workers. */
  killAll(): void {
    this.signalAll('SIGKILL');
  }

  signalAll(signal: NodeJS.Signals): void {
    try {
      process.kill(-(this.child.pid ?? 0), signal);
    } catch (error) {
      // All ended by themselves.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.killAll();
    await this.ended;
  }

  #ready(field: string): unknown {
    return this.log.find(({ event }) => event === 'ready')?.[field];
  }

  #read(chunk: string): void {
    const lines = (this.#partial + chunk).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.log.push(JSON.parse(line) as LogLine);
  }
}
