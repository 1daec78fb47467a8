/**
 * Keeps a node's workers alive. A dead worker's place in the memory is reaped before another may take it, a worker that
 * is stuck with a lock is killed, and one that dies again and again is given longer and longer to come back.
 *
 * The first worker binds the port before the others start, so that port 0 is chosen once, by the kernel.
 */
import cluster, { type Worker } from 'node:cluster';
import { fileURLToPath } from 'node:url';
import type { ClusterReport, TopologyView } from '../cluster/index.js';
import type { NativeArena } from '../store/index.js';
import type { Logger } from './log.js';
import {
  type FromWorker,
  type ToWorker,
  WORKER_BOOT_VARIABLE,
  type WorkerBoot,
  type WorkerReport,
} from './messages.js';

const STUCK_POLL_MS = 500;
/** A healthy worker answers its timer every 100 ms; one that holds a lock and is silent for so long stops others. */
const STUCK_MS = 2_000;
/** A worker that lived longer than this did not die of its start. */
const SETTLED_MS = 5_000;
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MS_MAX = 5_000;
const START_MS_MAX = 10_000;
/** Workers end within 5 seconds of being told; more means stuck. */
const DRAIN_MS_MAX = 8_000;

interface Place {
  worker: Worker | undefined;
  startedAtMs: number;
  /** Deaths in a row without having settled. */
  failures: number;
  isReady: boolean;
  report: WorkerReport;
  restart: NodeJS.Timeout | undefined;
}

const NO_REPORT: WorkerReport = { connections: 0, acceptedTotal: 0, rejectedTotal: 0, timedOutTotal: 0 };

export interface SupervisorOptions {
  readonly arena: NativeArena;
  readonly boot: WorkerBoot;
  readonly log: Logger;
  readonly events: SupervisorEvents;
}

export interface SupervisorEvents {
  /** Other workers than before run. */
  readonly onWorkers: (pids: readonly number[]) => void;
  /** What the worker that does the node's background work says of its copies. */
  readonly onReport: (report: ClusterReport) => void;
  /** A worker learned of a newer topology from another node. */
  readonly onTopology: (topology: TopologyView) => void;
}

export class Supervisor {
  readonly #arena: NativeArena;
  readonly #log: Logger;
  readonly #events: SupervisorEvents;
  readonly #places: Place[];
  readonly #stuckTimer: NodeJS.Timeout;
  #boot: WorkerBoot;
  /** Before, a worker's death is the failure of start(). */
  #isStarted = false;
  #isDraining = false;
  #restarts = 0;
  /** What dead workers had counted. */
  #past: WorkerReport = NO_REPORT;

  constructor({ arena, boot, log, events }: SupervisorOptions) {
    this.#arena = arena;
    this.#boot = boot;
    this.#log = log;
    this.#events = events;
    this.#places = Array.from({ length: boot.workers }, () => ({
      worker: undefined,
      startedAtMs: 0,
      failures: 0,
      isReady: false,
      report: NO_REPORT,
      restart: undefined,
    }));
    // Only for the Unix socket: the primary process binds it and all workers accept from it themselves.
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({ exec: fileURLToPath(new URL('./worker.js', import.meta.url)), args: [] });
    this.#stuckTimer = setInterval(() => this.#killStuck(), STUCK_POLL_MS);
  }

  /**
   * Starts all workers; resolves to the port once they all serve. Throws if one cannot: then the node cannot either.
   */
  async start(): Promise<number> {
    const [first, ...others] = this.#places;
    if (first === undefined) throw new RangeError('a node needs a worker');
    const port = await this.#startFirstTime(first);
    this.#boot = { ...this.#boot, listen: { ...this.#boot.listen, port } };
    await Promise.all(others.map((place) => this.#startFirstTime(place)));
    this.#isStarted = true;
    for (const place of this.#places) if (place.worker === undefined) this.#fork(place);
    return port;
  }

  get readyWorkers(): number {
    return this.#places.filter(({ isReady }) => isReady).length;
  }

  get pids(): readonly number[] {
    return this.#places.flatMap(({ worker }) => worker?.process.pid ?? []);
  }

  get restarts(): number {
    return this.#restarts;
  }

  /** Sums over the workers of now and, for totals, those before them. */
  report(): WorkerReport {
    return [this.#past, ...this.#places.map(({ report }) => report)].reduce(addReports);
  }

  /** Workers started from now on, and those that run, work with this topology. */
  adopt(topology: TopologyView): void {
    this.#boot = { ...this.#boot, topology };
    this.#tellAll({ kind: 'topology', topology });
  }

  setLogLevel(level: string): void {
    this.#boot = { ...this.#boot, logLevel: level };
    this.#tellAll({ kind: 'log-level', level });
  }

  /** Resolves to whether every worker ended by itself, in time. */
  async drain(): Promise<boolean> {
    this.#isDraining = true;
    clearInterval(this.#stuckTimer);
    for (const { restart } of this.#places) clearTimeout(restart);
    const workers = this.#places.flatMap(({ worker }) => worker ?? []);
    const ended = workers.map((worker) => new Promise<number | null>((resolve) => worker.once('exit', resolve)));
    this.#tellAll({ kind: 'drain' });
    const killing = setTimeout(() => {
      for (const worker of workers) worker.process.kill('SIGKILL');
    }, DRAIN_MS_MAX);
    const statuses = await Promise.all(ended);
    clearTimeout(killing);
    return statuses.every((status) => status === 0);
  }

  #tellAll(message: ToWorker): void {
    for (const { worker } of this.#places) if (worker?.isConnected()) worker.send(message);
  }

  #startFirstTime(place: Place): Promise<number> {
    return new Promise((resolve, reject) => {
      const worker = this.#fork(place);
      let reason = `no word for ${START_MS_MAX} ms`;
      const timer = setTimeout(() => worker.process.kill('SIGKILL'), START_MS_MAX);
      worker.on('message', (message: FromWorker) => {
        if (message.kind === 'failed') reason = message.message;
        if (message.kind !== 'ready') return;
        clearTimeout(timer);
        resolve(message.port);
      });
      worker.once('exit', (status, signal) => {
        clearTimeout(timer);
        reject(new Error(`a worker did not start: ${reason} (${signal ?? `exit status ${status}`})`));
      });
    });
  }

  #fork(place: Place): Worker {
    const worker = cluster.fork({ [WORKER_BOOT_VARIABLE]: JSON.stringify(this.#boot) });
    place.worker = worker;
    place.startedAtMs = performance.now();
    worker.on('message', (message: FromWorker) => {
      if (message.kind === 'ready') {
        place.isReady = true;
        this.#log.info({ event: 'worker-ready', workerPid: worker.process.pid }, 'worker ready');
      } else if (message.kind === 'report') {
        place.report = message;
      } else if (message.kind === 'cluster') {
        this.#events.onReport(message);
      } else if (message.kind === 'topology') {
        this.#events.onTopology(message.topology);
      }
    });
    worker.on('error', (error) => this.#log.error({ event: 'worker-error', err: error }, 'worker channel failed'));
    worker.once('exit', (status, signal) => this.#onExit(place, worker, signal ?? `exit status ${status}`));
    this.#tellWorkers();
    return worker;
  }

  #onExit(place: Place, worker: Worker, how: string): void {
    const pid = worker.process.pid ?? 0;
    // Before anything else: until then the worker's locks stand, and its place could be taken with them.
    this.#arena.reap(pid);
    place.worker = undefined;
    place.isReady = false;
    this.#past = addReports(this.#past, { ...place.report, connections: 0 });
    place.report = NO_REPORT;
    this.#tellWorkers();
    if (this.#isDraining || !this.#isStarted) return;

    const hasSettled = performance.now() - place.startedAtMs > SETTLED_MS;
    place.failures = hasSettled ? 0 : place.failures + 1;
    const delayMs = place.failures <= 1 ? 0 : Math.min(BACKOFF_FIRST_MS * 2 ** (place.failures - 2), BACKOFF_MS_MAX);
    this.#restarts++;
    this.#log.error({ event: 'worker-died', workerPid: pid, how, delayMs }, 'worker died, starting another');
    place.restart = setTimeout(() => this.#fork(place), delayMs);
  }

  #tellWorkers(): void {
    this.#events.onWorkers(this.pids);
  }

  #killStuck(): void {
    for (const pid of this.#arena.stuck(STUCK_MS)) {
      const place = this.#places.find(({ worker }) => worker?.process.pid === pid);
      if (place === undefined) continue;
      this.#log.error({ event: 'worker-stuck', workerPid: pid }, 'worker holds a lock and is silent: killed');
      place.worker?.process.kill('SIGKILL');
    }
  }
}

function addReports(a: WorkerReport, b: WorkerReport): WorkerReport {
  return {
    connections: a.connections + b.connections,
    acceptedTotal: a.acceptedTotal + b.acceptedTotal,
    rejectedTotal: a.rejectedTotal + b.rejectedTotal,
    timedOutTotal: a.timedOutTotal + b.timedOutTotal,
  };
}
