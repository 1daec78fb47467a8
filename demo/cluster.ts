/**
 * The demonstration's cluster: `henge dev` in a process of its own, and the ways to kill one of its nodes, to add one
 * and to have one leave.
 *
 * Nodes are found where the system keeps them, in /proc: a node is a child of `henge dev`, and leads a process group of
 * its own, to which its workers belong. `henge dev` starts it again a few seconds after its end. The node that is added
 * is a `henge serve` with the same registry, as it would be anywhere.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { tellAny } from '../src/cli/operator.js';
import { Henge } from '../src/index.js';

const NODES = 3;
/** Those of the beginning, and the one that is added. */
const NODES_EVER = NODES + 1;
const MEMORY = '64mb';
const DATA_PORT = 7411;
const HTTP_PORT = 7480;
/** Where ports are taken, the next ones are tried this much further on, so often. */
const PORT_STEP = 1_000;
const PORT_TRIES_MAX = 20;
const READY_MS_MAX = 30_000;
const POLL_MS = 10;
const MAIN = join(projectRoot(), 'dist/cli/main.js');

export interface DemoCluster {
  readonly client: Henge;
  readonly seeds: readonly string[];
  readonly dashboard: string;
  /** True when the usual ports were taken and others are used. */
  readonly hasOtherPorts: boolean;
  /** Kills all processes of the node with SIGKILL. */
  killNode(node: string): Promise<void>;
  /** Starts another node, which joins by itself. Resolves to its name when it answers. */
  addNode(): Promise<string>;
  /** Limits what each node sends a second while members come and go. */
  limitRate(bytesPerSecond: number): Promise<void>;
  /** Asks a node to leave. */
  drainNode(node: string): Promise<void>;
  /** Resolves when the cluster has ended, by itself or by stop(). */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

/** Resolves when every node answers. Throws an Error with a sentence when the cluster does not come up. */
export async function startCluster(): Promise<DemoCluster> {
  const dataPort = await freePorts(DATA_PORT);
  const httpPort = await freePorts(HTTP_PORT);
  const folder = await mkdtemp(join(tmpdir(), 'henge-demo-'));
  const seeds = Array.from({ length: NODES }, (_, node) => `127.0.0.1:${dataPort + node}`);
  const dev = spawn(
    process.execPath,
    [
      MAIN,
      'dev',
      `--dir=${folder}`,
      `--nodes=${NODES}`,
      `--memory=${MEMORY}`,
      `--base-port=${dataPort}`,
      `--base-http-port=${httpPort}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const complaint = collect(dev);
  const ended = new Promise<void>((resolve) => dev.once('close', () => resolve()));
  const added: AddedNode[] = [];
  const stop = async () => {
    for (const { child } of added) child.kill('SIGTERM');
    dev.kill('SIGTERM');
    await Promise.all([ended, ...added.map((node) => node.ended)]);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const client = await Promise.race([
      connect(seeds),
      ended.then(() => Promise.reject(new Error(`The cluster did not start. ${complaint().trim()}`))),
    ]);
    return {
      client,
      seeds,
      dashboard: `http://127.0.0.1:${httpPort}/`,
      hasOtherPorts: dataPort !== DATA_PORT || httpPort !== HTTP_PORT,
      killNode: async (node) => void process.kill(-(await childNamed(dev.pid ?? 0, node)), 'SIGKILL'),
      addNode: async () => {
        const name = `node-${NODES_EVER}`;
        const [listen, http] = [dataPort + NODES, httpPort + NODES].map((port) => `127.0.0.1:${port}`);
        const node = serve([`--name=${name}`, `--listen=${listen}`, `--http=${http}`], folder);
        added.push(node);
        await node.ready;
        return name;
      },
      limitRate: async (bytesPerSecond) =>
        void (await tellAny(await client.topology(), `/v1/rebalance/rate?bytes-per-second=${bytesPerSecond}`)),
      drainNode: async (node) => void (await tellAny(await client.topology(), `/v1/members/${node}/drain`)),
      ended,
      stop: async () => {
        await client.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface AddedNode {
  readonly child: ChildProcess;
  /** Rejects when it ends before. */
  readonly ready: Promise<void>;
  readonly ended: Promise<void>;
}

/** Out of the terminal's process group, as the nodes of `henge dev` are: Ctrl-C comes to all of them by stop(). */
function serve(words: readonly string[], folder: string): AddedNode {
  const shared = [`--registry=dir:${join(folder, 'registry')}`, `--secret-file=${join(folder, 'secret')}`];
  const child = spawn(process.execPath, [MAIN, 'serve', ...words, ...shared, `--memory=${MEMORY}`, '--workers=1'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const complaint = collect(child);
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const ready = new Promise<void>((resolve) => child.once('message', () => resolve()));
  const early = ended.then(() => Promise.reject(new Error(`the node did not start. ${complaint().trim()}`)));
  early.catch(() => undefined); // it ends one day
  return { child, ready: Promise.race([ready, early]), ended };
}

/** Connects as soon as all nodes answer. */
async function connect(seeds: readonly string[]): Promise<Henge> {
  const client = await Henge.connect({ seeds, name: 'demonstration', connectDeadlineMs: READY_MS_MAX });
  const { members } = await client.topology();
  const end = performance.now() + READY_MS_MAX;
  for (const { name } of members) {
    while (!(await answers(client, name))) {
      if (performance.now() > end) throw new Error(`${name} did not answer within ${READY_MS_MAX} ms.`);
      await sleep(POLL_MS);
    }
  }
  return client;
}

function answers(client: Henge, node: string): Promise<boolean> {
  return client.stats(node).then(
    () => true,
    () => false,
  );
}

async function childNamed(parent: number, node: string): Promise<number> {
  for (const pid of await childrenOf(parent)) {
    if ((await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').includes(`--name=${node}`)) return pid;
  }
  throw new Error(`There is no process of ${node}`);
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.split(' ').filter(Boolean).map(Number);
}

/** The first of as many free ports in a row as there will be nodes. */
async function freePorts(wanted: number): Promise<number> {
  for (let attempt = 0; attempt < PORT_TRIES_MAX; attempt++) {
    const first = wanted + attempt * PORT_STEP;
    const ports = Array.from({ length: NODES_EVER }, (_, node) => first + node);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return first;
  }
  throw new Error(`No free ports were found from ${wanted} on.`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** What a process says on standard error, as far as a person wants to read it. */
function collect(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    text = (text + bytes.toString()).slice(-4_000);
  });
  return () => text;
}

function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package-lock.json'))) folder = dirname(folder);
  return folder;
}
