/**
 * The primary process of a node: the control plane, and no data.
 *
 * It finds the node's place in the cluster, makes the memory or takes over one that lives, writes the epoch into it,
 * starts the workers and keeps them alive, holds the node's lease, follows the topology (cluster/control/), and opens
 * the HTTP face. It owns no listening data socket: what it does, dying or slow, holds no request up.
 *
 * Others see the node live only when its workers serve: its name is held in the registry last.
 */

import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Henge } from '../client/index.js';
import {
  aliveKey,
  type ClusterReport,
  ControlPlane,
  countLed,
  installationOf,
  isSameMemory,
  type Lease,
  NO_REPORT,
  type RebalanceStatus,
  type Registry,
  rowsOf,
  type TopologyView,
} from '../cluster/index.js';
import type { NativeArena } from '../store/index.js';
import { type Config, ConfigError, type LoadedConfig } from './config.js';
import { controlLease, daemonControlEnv } from './control-env.js';
import { FootprintFile } from './footprint.js';
import type { NodeState } from './http/node-state.js';
import { OwnClient } from './http/own-client.js';
import { HttpServer } from './http/server.js';
import { Leaving } from './leaving.js';
import type { Logger } from './log.js';
import { announce, claimMemory, joinCluster, type Place, readTopology, wantMember, weighMember } from './membership.js';
import { obtainMemory, resume } from './memory.js';
import { Metrics, type NodeFigures } from './metrics.js';
import { Orphans } from './orphans.js';
import { bootId, processMark } from './processes.js';
import { directRebalance, type RebalanceWord } from './rebalance.js';
import { openRegistry } from './registry/index.js';
import { rest } from './resting.js';
import { clusterSecret } from './secret.js';
import { Supervisor } from './supervisor.js';
import { refuseTakenAddress } from './taken.js';
import { formatHostPort } from './units.js';

/** How often it is looked whether the lease of an earlier process of this name has ended. */
const NAME_POLL_MS = 100;
/** What the registry needs, at most, to notice a lapse. */
const LAPSE_SLACK_MS = 1_000;

export class Daemon implements NodeState {
  readonly #parts: DaemonParts;
  readonly #config: Config;
  readonly #log: Logger;
  readonly #plane: ControlPlane;
  readonly #supervisor: Supervisor;
  readonly #leaving: Leaving;
  #report: ClusterReport = NO_REPORT;
  #slots: { readonly epoch: number; readonly count: number } | undefined;
  #port = 0;
  #client: OwnClient | undefined;
  #http: HttpServer | undefined;
  #isServing = false;
  #isDraining = false;
  #draining: Promise<void> | undefined;

  private constructor(parts: DaemonParts) {
    const { config, log, registry, place, arena, secret } = parts;
    this.#parts = parts;
    this.#config = config;
    this.#log = log;
    const { name, number } = place.self;
    const env = daemonControlEnv({
      registry,
      arena,
      log,
      prober: { self: { name, number }, secret },
      adopt: (view) => this.#adopt(view),
    });
    this.#plane = new ControlPlane(
      env,
      {
        name,
        incarnation: arena.incarnation,
        rf: config.rf,
        isFencing: config.onPartition === 'fence',
        ttlMs: config.leaseTtl,
        graceMs: config.grace,
        rejoinWindowMs: config.rejoinWindow,
      },
      place.topology,
    );
    this.#leaving = new Leaving({ registry, self: place.self, log, view: () => this.topology });
    this.#supervisor = new Supervisor({
      arena,
      log,
      boot: {
        nodeName: name,
        nodeNumber: number,
        arenaPath: arena.path,
        listen: { ...config.listen, port: config.listen.port || (parts.orphans?.port ?? 0) },
        ...(config.unix !== undefined && { unix: config.unix }),
        valueBytesMax: config.maxValue,
        connectionsMax: config.maxConnections,
        idleTimeoutMs: config.idleTimeout,
        workers: config.workers,
        startedAtMs: Date.now(),
        logLevel: config.logLevel,
        topology: this.topology,
        onPartition: config.onPartition,
        rebalanceBytesPerSecond: config.rebalanceRate,
        secret,
      },
      events: {
        onWorkers: (pids) => this.#leaveFootprint(pids),
        onReport: (report) => {
          this.#report = report;
          this.#plane.onReport(report);
        },
        onTopology: (view) => this.#plane.onPeerView(view),
      },
    });
  }

  /** Starts a node and resolves when it serves. Throws ConfigError, or what the system refused. */
  static async start({ config }: LoadedConfig, log: Logger): Promise<Daemon> {
    const secret = await clusterSecret(config);
    const footprint = new FootprintFile(config);
    const found = Orphans.find(footprint.read(), log);
    await refuseTakenAddress(config, found?.port);
    const registry = await openRegistry(config.registry);
    const { self } = await joinCluster(registry, config, secret);
    const lease = await registry.openLease(config.leaseTtl);
    const { arena, orphans } = await obtainMemory(config, {
      nodeNumber: self.number,
      secret,
      orphans: found,
      log,
    });
    await awaitName(registry, config, arena.incarnation);
    const isFirst = await claimMemory(registry, self, arena.incarnation);
    const topology = await readTopology(registry);

    const daemon = new Daemon({
      config,
      log,
      registry,
      secret,
      footprint,
      lease,
      arena,
      orphans,
      place: { self, topology },
    });
    daemon.#prepare(isFirst && topology.value.current.epoch === 1);
    try {
      await daemon.#serve();
    } catch (error) {
      // Workers outlive their daemon, and these must not.
      await daemon.#supervisor.drain();
      throw error;
    }
    return daemon;
  }

  client(): Promise<Henge> | undefined {
    return this.#client?.get();
  }

  get topology(): TopologyView {
    return this.#plane.view;
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

  get rebalance(): RebalanceStatus {
    return this.#plane.rebalance;
  }

  /** Resolves when the node was asked to leave, and its slots are others' now. */
  get left(): Promise<void> {
    return this.#leaving.left;
  }

  /** @throws ConfigError when that cannot be */
  async directRebalance(word: RebalanceWord): Promise<void> {
    const record = await directRebalance(this.#parts.registry, word);
    this.#log.info({ event: 'rebalance', ...word }, `an operator has data move otherwise: ${word.kind}`);
    // Whoever asked is told what holds, before the registry's watch tells of it.
    if (record !== undefined) this.#plane.onRecord(record);
  }

  /** @throws ConfigError when that cannot be */
  async wantMember(name: string, wanted: 'in' | 'drain'): Promise<void> {
    await wantMember(this.#parts.registry, name, wanted);
    this.#log.info(
      { event: 'wanted', member: name, wanted },
      `${name} is asked to ${wanted === 'in' ? 'stay' : 'leave'}`,
    );
  }

  /** @throws ConfigError when that cannot be */
  async weighMember(name: string, weight: number): Promise<void> {
    await weighMember(this.#parts.registry, name, weight);
    this.#log.info({ event: 'weighed', member: name, weight }, `${name} is to have the weight ${weight}`);
  }

  setLogLevel(level: string): void {
    this.#log.level = level;
    this.#supervisor.setLogLevel(level);
    this.#log.info({ event: 'log-level', to: level }, `log level is ${level}`);
  }

  /**
   * Before it stops: has others take all it has, if `--drain-on-stop` says so, else lead what it leads; as long as
   * somebody is there who can, and `signal` does not say that nobody wants to wait any more.
   */
  async prepareToStop(signal: AbortSignal): Promise<void> {
    const { rf, name, drainOnStop } = this.#config;
    if (drainOnStop) await this.#leaving.beforeStop(signal);
    else if (rf > 1 && this.#isServing) await rest({ plane: this.#plane, log: this.#log, name, signal });
  }

  /**
   * Stops accepting, lets connections end, closes the memory clean. Resolves when the process may exit with status 0.
   */
  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  /** Puts the epoch in place, unless workers use the memory: they do that themselves, and know what was before. */
  #prepare(isFounding: boolean): void {
    const { arena, orphans } = this.#parts;
    const { onPartition } = this.#config;
    // Until the node's name is held nobody counts on its writes. The control plane lifts this fence, and moves it.
    arena.setFence(onPartition === 'fence' ? 1 : 0);
    if (orphans !== undefined) return;
    resume(arena);
    arena.install(installationOf(this.topology, isFounding, rowsOf(this.topology)));
  }

  async #serve(): Promise<void> {
    const { config, registry, lease, arena, orphans, place } = this.#parts;
    for (const prefix of ['members/', 'rebalance']) {
      for (const record of await registry.list(prefix)) this.#plane.onRecord(record);
    }
    await orphans?.makeRoom(arena, config.workers);
    this.#supervisor.adopt(this.topology);
    this.#port = await this.#supervisor.start();
    const bound = formatHostPort({ host: config.listen.host, port: this.#port });
    this.#leaveFootprint(this.#supervisor.pids);
    this.#log.info({ event: 'listening', transport: 'tcp', address: bound }, `data on ${bound}`);
    if (config.unix !== undefined) {
      this.#log.info({ event: 'listening', transport: 'unix', address: config.unix }, `data on ${config.unix}`);
    }

    const metrics = new Metrics(() => this.#figures(), { version: packageVersion(), node: config.name });
    this.#http = new HttpServer({ node: this, metrics, log: this.#log });
    const http = formatHostPort(await this.#http.listen(config.http));
    this.#log.info({ event: 'listening', transport: 'http', address: http }, `HTTP on http://${http}`);

    await announce(registry, place.self, {
      address: config.advertise ? formatHostPort(config.advertise) : bound,
      ...(config.unix !== undefined && { unix: config.unix }),
      http,
      hasArena: config.arena !== undefined,
    });
    registry.watch('', (record) => this.#plane.onRecord(record));
    await this.#holdName(lease);
    this.#client = new OwnClient(bound, `http of ${config.name}`);
    await orphans?.drain(arena);
    this.#isServing = true;
    const slots = this.#slotsLed();
    this.#log.info(
      { event: 'ready', data: bound, http, slots, workers: config.workers, epoch: this.topology.epoch },
      `node ${config.name} serves ${slots} slots with ${config.workers} workers`,
    );
  }

  /** From here on others see the node live, and it may coordinate. */
  async #holdName(lease: Lease): Promise<void> {
    const alive = this.#plane.aliveRecord;
    if (!(await lease.hold(aliveKey(alive.name), alive))) throw runsAlready(this.#config, this.#parts.registry);
    void lease.lost.then(this.#plane.onLeaseLost);
    this.#plane.start({ lease: controlLease(lease, this.#log), told: alive });
  }

  #adopt(view: TopologyView): void {
    const { epoch, members } = view;
    const namesIn = (state: string) => members.filter((member) => member.state === state).map(({ name }) => name);
    const overlay = { away: namesIn('away'), returning: namesIn('returning') };
    this.#log.info({ event: 'topology', epoch, ...overlay, isFilling: view.isFilling }, `the topology: epoch ${epoch}`);
    this.#supervisor.adopt(view);
    void this.#leaving.consider(view);
  }

  async #drain(): Promise<void> {
    const { arena, footprint, registry } = this.#parts;
    this.#isDraining = true;
    this.#leaving.close();
    this.#log.info({ event: 'draining' }, 'draining');
    await this.#client?.close();
    await this.#http?.close();
    const isOrderly = await this.#supervisor.drain();
    if (!isOrderly) this.#log.warn({ event: 'drain-forced' }, 'a worker did not end by itself');
    // A worker that was killed has been reaped: whatever it held is in order, and so the memory is.
    arena.close(true);
    footprint.remove();
    // Last, so that nobody is taken for gone who still answers.
    await new Promise<void>((resolve) => this.#plane.close(resolve));
    await registry.close();
    this.#log.info({ event: 'stopped' }, 'stopped');
  }

  /** For the daemon that comes after this one, should this one die alone. */
  #leaveFootprint(workers: readonly number[]): void {
    if (this.#port === 0 || this.#isDraining) return;
    const { config, arena, footprint } = this.#parts;
    const { name, memory, maxValue, rf } = config;
    const primary = processMark(process.pid);
    if (primary === undefined) throw new Error('/proc does not show this process');
    footprint.write({
      name,
      incarnation: arena.incarnation,
      bootId: bootId(),
      port: this.#port,
      memory,
      maxValue,
      rf,
      ...(config.arena !== undefined && { arena: config.arena }),
      primary,
      workers: workers.flatMap((pid) => processMark(pid) ?? []),
    });
  }

  /** How many slots this node leads. */
  #slotsLed(): number {
    const view = this.topology;
    if (this.#slots?.epoch === view.epoch) return this.#slots.count;
    const count = countLed(rowsOf(view), this.#parts.place.self.number);
    this.#slots = { epoch: view.epoch, count };
    return count;
  }

  #figures(): NodeFigures {
    return {
      stats: this.#parts.arena.stats(),
      report: this.#supervisor.report(),
      topology: this.topology,
      rebalance: this.rebalance,
      handOvers: this.#report.handOvers,
      isCoordinator: this.#plane.isCoordinator,
      possibleLossSlots: this.#report.possibleLossSlots,
      isInSync: this.#report.syncedEpoch === this.topology.epoch,
      slots: this.#slotsLed(),
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
  readonly secret: string;
  readonly footprint: FootprintFile;
  readonly lease: Lease;
  readonly arena: NativeArena;
  readonly orphans: Orphans | undefined;
  readonly place: Place;
}

/** Waits until no other process is seen to hold the node's name with another memory: a dead one's lease lapses. */
async function awaitName(registry: Registry, config: Config, incarnation: string): Promise<void> {
  const deadlineMs = performance.now() + config.leaseTtl + LAPSE_SLACK_MS;
  for (;;) {
    const holder = await registry.get(aliveKey(config.name));
    if (holder === undefined || isSameMemory(holder.value, { incarnation })) return;
    if (performance.now() > deadlineMs) throw runsAlready(config, registry);
    await sleep(NAME_POLL_MS);
  }
}

const runsAlready = ({ name }: Config, { location }: Registry): ConfigError =>
  new ConfigError(`node ${name} of the cluster in ${location} runs already`);

export function packageVersion(): string {
  return (createRequire(import.meta.url)('../../package.json') as { version: string }).version;
}
