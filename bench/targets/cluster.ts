/**
 * A cluster under test: real daemons on this machine that share a registry, founded with its first members, so that
 * they may start at once; others join later. Each node leads a process group of its own, so that it can be killed whole
 * (`killAll`), or its primary process alone. What nodes log is kept, for that is where epochs and catch-ups are told.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TopologyRecord } from '../../src/cluster/index.js';
import { openRegistry } from '../../src/daemon/registry/index.js';
import { ROOT } from '../paths.js';
import type { Context } from '../suite.js';
import { cpuSecondsOf, descendants, freePort, pinned } from './process.js';

const MAIN = join(ROOT, 'dist/cli/main.js');
const POLL_MS = 10;
/** What a node logs in a run is some hundred lines; a node gone mad is cut short. */
const LOG_LINES_MAX = 100_000;

export interface LogLine {
  readonly event?: string;
  readonly msg: string;
  /** When it was read here, by performance.now(). */
  readonly readAtMs: number;
  readonly [field: string]: unknown;
}

export interface ClusterOptions {
  readonly nodes: number;
  readonly rf: number;
  /** etcd:URL; a folder of the cluster's own when missing. */
  readonly registry?: string | undefined;
  /** Further arguments of `henge serve`. */
  readonly words?: readonly string[];
  /** Core to run on. */
  readonly core?: number;
  /** Keep each node's memory in a file, so that it outlives the node. */
  readonly hasArenas?: boolean;
  /** Of each node, as --memory takes it; 256 MiB when missing. */
  readonly memory?: string;
}

type MakeNode = (name: string) => Promise<BenchNode>;

export class BenchCluster {
  readonly #nodes: BenchNode[];
  readonly #make: MakeNode;

  readonly #onExit = () => {
    for (const node of this.nodes) void node.killAll();
  };

  private constructor(nodes: readonly BenchNode[], make: MakeNode) {
    this.#nodes = [...nodes];
    this.#make = make;
  }

  /** Resolves when all nodes serve. They are killed, and their files removed, when the suite ends. */
  static async start(context: Context, options: ClusterOptions): Promise<BenchCluster> {
    const folder = await mkdtemp(join(tmpdir(), 'henge-bench-'));
    context.defer(() => rm(folder, { recursive: true, force: true }));
    const location = options.registry ?? `dir:${folder}/registry`;
    const names = Array.from({ length: options.nodes }, (_, index) => String.fromCharCode(97 + index));
    await found(location, names);
    const secretFile = join(folder, 'secret');
    await writeFile(secretFile, randomBytes(32).toString('hex'), { mode: 0o600 });
    const shared = [`--registry=${location}`, `--secret-file=${secretFile}`, `--rf=${options.rf}`, '--workers=1'];
    const make = async (name: string): Promise<BenchNode> => {
      const [data, http] = [await freePort(), await freePort()];
      const arena = options.hasArenas === true ? [`--arena=${folder}/${name}.arena`] : [];
      const own = [
        `--memory=${options.memory ?? '256mb'}`,
        `--name=${name}`,
        `--listen=127.0.0.1:${data}`,
        `--http=127.0.0.1:${http}`,
        ...arena,
      ];
      const words = [...own, ...shared, ...(options.words ?? [])];
      return new BenchNode({ name, address: `127.0.0.1:${data}`, http: `127.0.0.1:${http}` }, words, options.core);
    };
    const cluster = new BenchCluster(await Promise.all(names.map(make)), make);
    context.defer(() => cluster.stop());
    // A harness that dies must not leave servers behind.
    process.once('exit', cluster.#onExit);
    await Promise.all(cluster.nodes.map((node) => node.start()));
    return cluster;
  }

  /** Those who have left included. */
  get nodes(): readonly BenchNode[] {
    return this.#nodes;
  }

  get seeds(): readonly string[] {
    return this.nodes.map(({ address }) => address);
  }

  node(name: string): BenchNode {
    const node = this.nodes.find((candidate) => candidate.name === name);
    if (node === undefined) throw new RangeError(`there is no node ${name}`);
    return node;
  }

  /** Starts another node, which is to become a member. Resolves when it answers: it has no slots then. */
  async join(name: string): Promise<BenchNode> {
    const node = await this.#make(name);
    this.#nodes.push(node);
    await node.start();
    return node;
  }

  /** What an operator asks of a member: `PATH` of POST /v1/members/PATH. @throws Error with the node's answer */
  async ask(path: string): Promise<void> {
    const { http } = this.#nodes[0] as BenchNode;
    const headers = { 'x-henge-operator': 'bench' };
    const answer = await fetch(`http://${http}/v1/members/${path}`, { method: 'POST', headers });
    if (!answer.ok) throw new Error(`${path} was refused: ${await answer.text()}`);
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.killAll()));
    process.off('exit', this.#onExit);
  }
}

async function found(location: string, names: readonly string[]): Promise<void> {
  const registry = await openRegistry(location);
  const base = names.map((name, index) => ({ name, number: index + 1, zone: 'default', weight: 1 }));
  await registry.put('topology', TopologyRecord.parse({ counter: 1, current: { epoch: 1, base } }), 0);
  await registry.close();
}

export class BenchNode {
  readonly log: LogLine[] = [];
  readonly #words: readonly string[];
  readonly #core: number | undefined;
  #primary: ChildProcess | undefined;
  /** Of every primary process that was started: workers may outlive theirs. */
  readonly #groups = new Set<number>();

  readonly name: string;
  readonly address: string;
  readonly http: string;

  constructor(place: Pick<BenchNode, 'name' | 'address' | 'http'>, words: readonly string[], core: number | undefined) {
    this.name = place.name;
    this.address = place.address;
    this.http = place.http;
    this.#words = words;
    this.#core = core;
  }

  /** Also for a node that was started before and died. Resolves when it serves. */
  async start(): Promise<void> {
    const from = this.log.length;
    const [program, ...words] = pinned(this.#core, [process.execPath, MAIN, 'serve', ...this.#words]);
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    if (child.pid === undefined) throw new Error(`node ${this.name} could not be started`);
    this.#primary = child;
    this.#groups.add(child.pid);
    child.stdout.setEncoding('utf8').on(
      'data',
      reader((line) => this.#note(line)),
    );
    const ended = once(child, 'exit').then(() => undefined);
    const ready = await Promise.race([this.logged(({ event }) => event === 'ready', from), ended]);
    if (ready === undefined) throw new Error(`node ${this.name} ended: ${JSON.stringify(this.log.at(-1))}`);
  }

  /** SIGKILL of the primary process and all workers. */
  async killAll(): Promise<void> {
    for (const group of this.#groups) killGroup(group);
    this.#groups.clear();
    await this.#ended();
  }

  /** An orderly stop: SIGTERM of the primary process. Resolves when it has ended, to its exit status. */
  async stop(): Promise<number | null> {
    this.#primary?.kill('SIGTERM');
    await this.#ended();
    return this.#primary?.exitCode ?? null;
  }

  /** SIGKILL of the primary process alone. */
  async killPrimary(): Promise<void> {
    this.#primary?.kill('SIGKILL');
    await this.#ended();
  }

  /** CPU time of all its processes, in seconds. */
  cpuSeconds(): number {
    const pid = this.#primary?.pid;
    if (pid === undefined) return 0;
    return [pid, ...descendants(pid)].reduce((sum, process) => sum + cpuSecondsOf(process), 0);
  }

  /** The first line that `isMeant`, from the line `from` on, as soon as there is one; undefined after `waitMs`. */
  async logged(
    isMeant: (line: LogLine) => boolean,
    from = 0,
    waitMs = Number.POSITIVE_INFINITY,
  ): Promise<LogLine | undefined> {
    const untilMs = performance.now() + waitMs;
    for (;;) {
      const line = this.log.slice(from).find(isMeant);
      if (line !== undefined || performance.now() > untilMs) return line;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async #ended(): Promise<void> {
    const child = this.#primary;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  #note(text: string): void {
    if (this.log.length >= LOG_LINES_MAX) return;
    this.log.push({ ...(JSON.parse(text) as { msg: string }), readAtMs: performance.now() });
  }
}

/** Cuts what comes into lines. */
function reader(take: (line: string) => void): (chunk: string) => void {
  let partial = '';
  return (chunk) => {
    const lines = (partial + chunk).split('\n');
    partial = lines.pop() ?? '';
    for (const line of lines) take(line);
  };
}

function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch (error) {
    // All of them have ended.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
