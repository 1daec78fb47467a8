/**
 * A cluster of several nodes on this machine, for development and demonstrations: writes the records of all members
 * into a fresh registry, then starts one `henge serve` for each.
 *
 * A node that served and ended is started again after a pause, as a service manager would: kill one, and watch. One
 * that ended with status 0 has left the cluster, because it was asked to, and stays away.
 *
 * The nodes are children with a channel: they say when they are ready, and drain by themselves when this process is
 * gone, however it went. They are out of the terminal's process group, so that Ctrl-C comes to them once, by stop().
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type MemberRecord, memberKey, TopologyRecord } from '../cluster/index.js';
import { type Config, loadConfig } from './config.js';
import { configRecordOf } from './membership.js';
import { openRegistry } from './registry/index.js';
import { clusterSecret } from './secret.js';
import { formatHostPort, type HostPort } from './units.js';

/** A node that is not ready by then will not be: memory is filled with pages, processes start. */
const READY_MS_MAX = 30_000;
const STOP_MS_MAX = 15_000;
/** Long enough to be seen by others as gone, and by people. */
const RESTART_PAUSE_MS = 5_000;
const LOG_TAIL_BYTES = 2_000;

export interface DevClusterOptions {
  readonly nodes: number;
  /** Data ports from here on, one a node. */
  readonly basePort: number;
  readonly baseHttpPort: number;
  /** Registry, secret and logs; a new folder for temporary files when missing. */
  readonly folder?: string;
  /** Passed on to `henge serve` as they are, for instance `--memory 64mb`. */
  readonly serveArguments?: readonly string[];
}

export interface DevNode {
  readonly name: string;
  readonly address: string;
  readonly http: string;
  readonly log: string;
  readonly pid: number;
}

interface Running extends DevNode {
  readonly child: ChildProcess;
  /** Resolves to what is said of its end. */
  readonly ended: Promise<string>;
  /** By its own choice: it was drained. */
  hasLeft: boolean;
}

export class DevCluster {
  readonly folder: string;
  readonly #running = new Map<string, Running>();
  readonly #failure: Promise<string>;
  #fail: (sentence: string) => void = () => undefined;
  readonly #stopping = new AbortController();

  private constructor(folder: string) {
    this.folder = folder;
    this.#failure = new Promise((resolve) => {
      this.#fail = resolve;
    });
  }

  /** Resolves when every node serves. Throws, after stopping them all, if one does not. */
  static async start(options: DevClusterOptions): Promise<DevCluster> {
    const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'henge-dev-')));
    const cluster = new DevCluster(folder);
    await mkdir(join(folder, 'registry'), { recursive: true });
    const secretFile = join(folder, 'secret');
    // A folder that was used before keeps its secret: the registry knows its fingerprint.
    await writeFile(secretFile, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600, flag: 'wx' }).catch(
      ignoreExists,
    );
    const plans = Array.from({ length: options.nodes }, (_, index) => planNode(options, index));
    const common = [`--registry=dir:${join(folder, 'registry')}`, `--secret-file=${secretFile}`];
    const extra = options.serveArguments ?? [];
    await writeRecords(join(folder, 'registry'), plans, secretFile, extra);
    try {
      await Promise.all(plans.map((plan) => cluster.#run(plan, [...common, ...extra])));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get nodes(): readonly DevNode[] {
    return [...this.#running.values()];
  }

  /** Resolves when a node ended and did not serve again after a new start, to a sentence about it. */
  failure(): Promise<string> {
    return this.#failure;
  }

  /** Drains all nodes, and kills what does not end in time. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const running = [...this.#running.values()];
    for (const { child } of running) child.kill('SIGTERM');
    const killing = setTimeout(() => {
      for (const { pid } of running) killGroup(pid);
    }, STOP_MS_MAX);
    await Promise.all(running.map(({ ended }) => ended));
    clearTimeout(killing);
  }

  /** Resolves when the node serves, and from then on sees to it that it does. */
  async #run(plan: NodePlan, words: readonly string[]): Promise<void> {
    const node = startNode(plan, this.folder, words);
    this.#running.set(plan.name, node);
    await becomeReady(node);
    void node.ended.then((how) => (node.hasLeft ? undefined : this.#runAgain(plan, words, how)));
  }

  async #runAgain(plan: NodePlan, words: readonly string[], how: string): Promise<void> {
    try {
      await sleep(RESTART_PAUSE_MS, undefined, { signal: this.#stopping.signal });
      await this.#run(plan, words);
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#fail(`${plan.name} ended: ${how}. ${(error as Error).message}`);
    }
  }
}

interface NodePlan {
  readonly name: string;
  readonly number: number;
  readonly listen: HostPort;
  readonly http: HostPort;
}

function planNode({ basePort, baseHttpPort }: DevClusterOptions, index: number): NodePlan {
  const number = index + 1;
  const host = '127.0.0.1';
  return {
    name: `node-${number}`,
    number,
    listen: { host, port: basePort + index },
    http: { host, port: baseHttpPort + index },
  };
}

/** All members in epoch 1, so that it does not matter which node is up first. A registry in use is left as it is. */
async function writeRecords(
  folder: string,
  plans: readonly NodePlan[],
  secretFile: string,
  extra: readonly string[],
): Promise<void> {
  const registry = await openRegistry(`dir:${folder}`);
  const config = configOf(secretFile, extra);
  await registry.put('config', configRecordOf(config, await clusterSecret(config)), 0);
  const base = plans.map(({ name, number }) => ({ name, number, zone: config.zone, weight: config.weight }));
  const topology = TopologyRecord.parse({ counter: 1, current: { epoch: 1, base } });
  if ((await registry.put('topology', topology, 0)) !== undefined) {
    for (const { listen, http, ...plan } of plans) {
      const member: MemberRecord = {
        ...plan,
        zone: config.zone,
        weight: config.weight,
        address: formatHostPort(listen),
        http: formatHostPort(http),
        wanted: 'in',
        incarnation: '',
        hasArena: false,
      };
      await registry.put(memberKey(plan.name), member, 0);
    }
  }
  await registry.close();
}

/** What `henge serve` will make of the arguments that all nodes share. */
function configOf(secretFile: string, extra: readonly string[]): Config {
  const flags: Record<string, string> = { secretFile };
  for (const argument of extra) {
    const match = /^--([a-z-]+)=(.*)$/.exec(argument);
    if (match?.[1] === undefined || match[2] === undefined) throw new RangeError(`write ${argument} as --option=value`);
    flags[match[1].replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())] = match[2];
  }
  return loadConfig({ flags, environment: process.env }).config;
}

function startNode(plan: NodePlan, folder: string, shared: readonly string[]): Running {
  const log = join(folder, `${plan.name}.log`);
  const main = fileURLToPath(new URL('../cli/main.js', import.meta.url));
  const own = [`--name=${plan.name}`, `--listen=${formatHostPort(plan.listen)}`, `--http=${formatHostPort(plan.http)}`];
  const output = openSync(log, 'a', 0o600);
  const child = spawn(process.execPath, [main, 'serve', ...own, ...shared], {
    detached: true,
    stdio: ['ignore', output, output, 'ipc'],
  });
  closeSync(output);
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (status, signal) => {
      node.hasLeft = status === 0;
      resolve(signal ?? `exit status ${status}`);
    });
  });
  const [address, http] = [formatHostPort(plan.listen), formatHostPort(plan.http)];
  const node = { name: plan.name, address, http, log, pid: child.pid ?? 0, child, ended, hasLeft: false };
  return node;
}

async function becomeReady({ name, child, ended, log }: Running): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const ready = new Promise<undefined>((resolve) => child.once('message', () => resolve(undefined)));
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`not ready after ${READY_MS_MAX} ms`), READY_MS_MAX);
  });
  const trouble = await Promise.race([ready, ended, late]);
  clearTimeout(timer);
  if (trouble === undefined) return;
  const tail = (await readFile(log, 'utf8')).slice(-LOG_TAIL_BYTES).trim();
  throw new Error(`${name} did not start: ${trouble}\n${tail}`);
}

/** A node's workers outlive its primary process; each node leads a group of its own. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function ignoreExists(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}
