/**
 * The primary process of a node: the control plane, and no data.
 *
 * It finds the node's place in the cluster, makes the memory, writes the epoch into it, starts the workers and keeps them
 * alive, tells the registry where they are, and opens the HTTP face. It owns no listening data socket: what it does, dying
 * or slow, holds no request up.
 */

import { statSync, unlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { Henge } from '../client/index.js';
import { aliveKey, installationOf, type Registry, type TopologyView } from '../cluster/index.js';
import { loadAddon, type NativeArena } from '../store/index.js';
import { type Config, ConfigError, type LoadedConfig } from './config.js';
import type { NodeState } from './http/node-state.js';
import { HttpServer } from './http/server.js';
import type { Logger } from './log.js';
import { Membership } from './membership.js';
import { Metrics, type NodeFigures } from './metrics.js';
import { readSecret } from './peer-secret.js';
import { openRegistry } from './registry/index.js';
import { Supervisor } from './supervisor.js';
import { formatHostPort } from './units.js';

/** A node whose primary process was not heard of for so long counts as gone. */
const LEASE_TTL_MS = 3_000;

export class Daemon implements NodeState {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #registry: Registry;
  readonly #membership: Membership;
  readonly #arena: NativeArena;
  readonly #supervisor: Supervisor;
  readonly #slots: number;
  #client: Henge | undefined;
  #http: HttpServer | undefined;
  #isServing = false;
  #isDraining = false;
  #draining: Promise<void> | undefined;

  private constructor(parts: DaemonParts) {
    this.#config = parts.config;
    this.#log = parts.log;
    this.#registry = parts.registry;
    this.#membership = parts.membership;
    this.#arena = parts.arena;
    this.#slots = parts.membership.slotsLed();
    this.#arena.install(installationOf(parts.membership.view, true));
    this.#supervisor = new Supervisor({
      arena: parts.arena,
      log: parts.log,
      boot: {
        nodeName: parts.config.name,
        nodeNumber: parts.membership.number,
        arenaPath: parts.arena.path,
        listen: parts.config.listen,
        ...(parts.config.unix !== undefined && { unix: parts.config.unix }),
        valueBytesMax: parts.config.maxValue,
        connectionsMax: parts.config.maxConnections,
        idleTimeoutMs: parts.config.idleTimeout,
        workers: parts.config.workers,
        startedAtMs: Date.now(),
        slots: this.#slots,
        logLevel: parts.config.logLevel,
        topology: parts.membership.view,
        onPartition: 'serve',
        secret: readSecret(parts.config.secretFile),
      },
    });
  }

  /** Starts a node and resolves when it serves. Throws ConfigError, or what the system refused. */
  static async start({ config }: LoadedConfig, log: Logger): Promise<Daemon> {
    await refuseTakenAddress(config);
    const registry = await openRegistry(config.registry);
    const lease = await registry.openLease(LEASE_TTL_MS);
    const alive = { name: config.name, incarnation: '', epoch: 0, syncedEpoch: 0 };
    if (!(await lease.hold(aliveKey(config.name), alive))) {
      throw new ConfigError(`node ${config.name} of the cluster in ${registry.location} runs already`);
    }
    const membership = await Membership.join(registry, config);
    const arena = createArena(config, membership.number);
    log.info(
      {
        event: 'arena',
        origin: arena.origin,
        incarnation: arena.incarnation,
        bytes: config.memory,
        pages: arena.pages,
      },
      `memory ${arena.origin}`,
    );
    const daemon = new Daemon({ config, log, registry, membership, arena });
    await daemon.#serve();
    return daemon;
  }

  get client(): Henge | undefined {
    return this.#client;
  }

  get topology(): TopologyView {
    return this.#membership.view;
  }

  get valueBytesMax(): number {
    return this.#config.maxValue;
  }

  reasonsNotReady(): readonly string[] {
    return [
      ...(this.#isDraining ? ['draining'] : []),
      ...(this.#isServing ? [] : ['starting']),
      ...(this.#supervisor.readyWorkers === 0 ? ['no worker serves'] : []),
    ];
  }

  setLogLevel(level: string): void {
    this.#log.level = level;
    this.#supervisor.setLogLevel(level);
    this.#log.info({ event: 'log-level', to: level }, `log level is ${level}`);
  }

  /** Stops accepting, lets connections end, closes the memory clean. Resolves when the process may exit with status 0. */
  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  async #serve(): Promise<void> {
    const config = this.#config;
    const port = await this.#supervisor.start();
    const bound = formatHostPort({ host: config.listen.host, port });
    this.#log.info({ event: 'listening', transport: 'tcp', address: bound }, `data on ${bound}`);
    if (config.unix !== undefined) {
      this.#log.info({ event: 'listening', transport: 'unix', address: config.unix }, `data on ${config.unix}`);
    }

    const metrics = new Metrics(() => this.#figures(), { version: packageVersion(), node: config.name });
    this.#http = new HttpServer({ node: this, metrics, log: this.#log });
    const http = formatHostPort(await this.#http.listen(config.http));
    this.#log.info({ event: 'listening', transport: 'http', address: http }, `HTTP on http://${http}`);

    await this.#membership.announce({
      address: config.advertise ? formatHostPort(config.advertise) : bound,
      ...(config.unix !== undefined && { unix: config.unix }),
      http,
      incarnation: this.#arena.incarnation,
    });
    await this.#membership.follow((view) => {
      this.#log.info({ event: 'topology', epoch: view.epoch }, 'a member has another address');
      this.#supervisor.adopt(view);
    });
    this.#supervisor.adopt(this.#membership.view);
    this.#client = await Henge.connect({ seeds: [bound], name: `http of ${config.name}` });
    this.#isServing = true;
    this.#log.info(
      { event: 'ready', data: bound, http, slots: this.#slots, workers: config.workers, epoch: this.#membership.epoch },
      `node ${config.name} serves ${this.#slots} slots with ${config.workers} workers`,
    );
  }

  async #drain(): Promise<void> {
    this.#isDraining = true;
    this.#log.info({ event: 'draining' }, 'draining');
    await this.#client?.close();
    await this.#http?.close();
    const isOrderly = await this.#supervisor.drain();
    if (!isOrderly) this.#log.warn({ event: 'drain-forced' }, 'a worker did not end by itself');
    // A worker that was killed has been reaped: whatever it held is in order, and so the memory is.
    this.#arena.close(true);
    this.#membership.close();
    await this.#registry.close();
    this.#log.info({ event: 'stopped' }, 'stopped');
  }

  #figures(): NodeFigures {
    return {
      stats: this.#arena.stats(),
      report: this.#supervisor.report(),
      epoch: this.#membership.epoch,
      slots: this.#slots,
      workers: this.#config.workers,
      workersReady: this.#supervisor.readyWorkers,
      workerRestarts: this.#supervisor.restarts,
      isReady: this.reasonsNotReady().length === 0,
    };
  }
}

interface DaemonParts {
  readonly config: Config;
  readonly log: Logger;
  readonly registry: Registry;
  readonly membership: Membership;
  readonly arena: NativeArena;
}

function createArena(config: Config, nodeNumber: number): NativeArena {
  return loadAddon().create({
    bytes: config.memory,
    valueBytesMax: config.maxValue,
    nodeName: config.name,
    nodeNumber,
    replicated: config.rf > 1,
    ...(config.arena !== undefined && { file: config.arena }),
  });
}

/**
 * SO_REUSEPORT, which lets workers share a port, would also let two daemons share one unnoticed: each would get half of
 * the connections. So the address is bound once without it, which fails if anybody has it.
 */
async function refuseTakenAddress({ listen, unix }: Config): Promise<void> {
  if (listen.port !== 0) {
    await new Promise<void>((resolve, reject) => {
      const probe = createServer().once('error', reject);
      probe.listen({ ...listen, exclusive: true }, () => probe.close(() => resolve()));
    });
  }
  if (unix === undefined) return;
  const isServed = await new Promise<boolean>((resolve) => {
    const probe = connect({ path: unix }, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (isServed) throw new ConfigError(`--unix ${unix}: another process serves this socket`);
  removeStaleSocket(unix);
}

/** What a killed daemon leaves behind. Only a socket is removed: a mistyped path must not cost a file. */
function removeStaleSocket(path: string): void {
  try {
    if (!statSync(path).isSocket()) throw new ConfigError(`--unix ${path}: there is a file that is no socket`);
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

export function packageVersion(): string {
  return (createRequire(import.meta.url)('../../package.json') as { version: string }).version;
}
