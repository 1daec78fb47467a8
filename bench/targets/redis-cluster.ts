/**
 * A Redis Cluster of masters without replicas, real servers on ports of their own that keep nothing on disk, and the
 * two things that are asked of it: to be filled, and to spread its keys over a master that was added empty.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as openSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { slotOf } from '../../src/ring/index.js';
import type { Context } from '../suite.js';
import { freePort, launch, type Target } from './process.js';

const HOST = '127.0.0.1';
const CREATE_MS_MAX = 30_000;
const POLL_MS = 100;
const LAUNCHES_MAX = 3;
/** SETs that are written to a server at once. */
const PIPELINE = 1_000;
const OK_BYTES = '+OK\r\n'.length;

export class RedisCluster {
  readonly #context: Context;
  readonly #servers: Target[] = [];

  private constructor(context: Context) {
    this.#context = context;
  }

  /** Resolves when all slots are served. The servers end with the suite, if not before. */
  static async start(context: Context, masters: number): Promise<RedisCluster> {
    const cluster = new RedisCluster(context);
    context.defer(() => cluster.stop());
    for (let master = 0; master < masters; master++) await cluster.#launch();
    await redisCli(['--cluster', 'create', ...cluster.#servers.map(addressOf), '--cluster-yes']);
    await cluster.#agreed();
    return cluster;
  }

  get seeds(): readonly string[] {
    return this.#servers.map(addressOf);
  }

  /** Sets every key to `value`, by pipelines to the masters that lead them; before any master was added. */
  async fill(keys: readonly string[], value: string): Promise<void> {
    const places = await this.#places();
    const shares = new Map(this.#servers.map(({ port }): [number, string[]] => [port, []]));
    for (const key of keys) shares.get(places[slotOf(Buffer.from(key))] ?? 0)?.push(key);
    await Promise.all([...shares].map(([port, share]) => fillOne(port, share, value)));
  }

  /** Adds a master without slots. */
  async add(): Promise<void> {
    const first = addressOf(this.#servers[0] as Target);
    const server = await this.#launch();
    await redisCli(['--cluster', 'add-node', addressOf(server), first]);
    await this.#agreed();
  }

  /** Spreads the keys over all masters, as redis-cli does it at its best. Resolves to how long that took. */
  async rebalance(): Promise<{ readonly keysMoved: number; readonly seconds: number }> {
    const added = this.#servers.at(-1) as Target;
    const words = ['--cluster', 'rebalance', addressOf(this.#servers[0] as Target)];
    const begunAtMs = performance.now();
    await redisCli([...words, '--cluster-use-empty-masters', '--cluster-pipeline', '100']);
    const seconds = (performance.now() - begunAtMs) / 1_000;
    return { keysMoved: Number(await redisCli(['-p', String(added.port), 'dbsize'])), seconds };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.stop()));
  }

  /** A port that was free may be taken by an outgoing connection before the server has it: then it gets another. */
  async #launch(): Promise<Target> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#launchOnce();
      } catch (error) {
        if (attempt === LAUNCHES_MAX || !String(error).includes('Address already in use')) throw error;
      }
    }
  }

  async #launchOnce(): Promise<Target> {
    const folder = await mkdtemp(join(tmpdir(), 'henge-bench-redis-'));
    this.#context.defer(() => rm(folder, { recursive: true, force: true }));
    const [port, busPort] = [await freePort(), await freePort()];
    const settings = {
      port,
      bind: HOST,
      'cluster-enabled': 'yes',
      'cluster-port': busPort,
      save: '',
      appendonly: 'no',
      dir: folder,
    };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const server = await launch({ name: 'redis-server', command: 'redis-server', words, port });
    this.#servers.push(server);
    return server;
  }

  /** By slot, the port of the master that leads it. */
  async #places(): Promise<readonly number[]> {
    const places: number[] = [];
    const nodes = await redisCli(['-p', String(this.#servers[0]?.port), 'cluster', 'nodes']);
    for (const [, port, first, last] of nodes.matchAll(/:(\d+)@.* (\d+)-(\d+)$/gm)) {
      for (let slot = Number(first); slot <= Number(last); slot++) places[slot] = Number(port);
    }
    return places;
  }

  /** Every server says that the cluster is whole, and knows of all the others. */
  async #agreed(): Promise<void> {
    const untilMs = performance.now() + CREATE_MS_MAX;
    for (const { port } of this.#servers) {
      for (;;) {
        const info = await redisCli(['-p', String(port), 'cluster', 'info']);
        const isWhole = info.includes('cluster_state:ok');
        if (isWhole && info.includes(`cluster_known_nodes:${this.#servers.length}`)) break;
        if (performance.now() > untilMs) throw new Error(`the Redis Cluster did not become whole:\n${info}`);
        await sleep(POLL_MS);
      }
    }
    await redisCli(['--cluster', 'check', addressOf(this.#servers[0] as Target)]);
  }
}

const addressOf = ({ port }: Target): string => `${HOST}:${port}`;

async function redisCli(words: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('redis-cli', ['-h', HOST, ...words]);
  return stdout.trim();
}

async function fillOne(port: number, keys: readonly string[], value: string): Promise<void> {
  const socket = openSocket({ port, host: HOST, noDelay: true });
  await once(socket, 'connect');
  for (let at = 0; at < keys.length; at += PIPELINE) {
    const part = keys.slice(at, at + PIPELINE);
    socket.write(
      part.map((key) => `*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${value.length}\r\n${value}\r\n`).join(''),
    );
    await answered(socket, part.length);
  }
  socket.destroy();
}

/** Resolves when so many SETs were answered. Throws at the first that was refused. */
async function answered(socket: Socket, count: number): Promise<void> {
  for (let bytes = 0; bytes < count * OK_BYTES; ) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    if (chunk.includes('-')) throw new Error(`redis refused a SET: ${chunk}`);
    bytes += chunk.length;
  }
}
