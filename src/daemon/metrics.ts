/**
 * The node's metrics for Prometheus. The one file that knows prom-client.
 *
 * Nothing is counted here: what workers do is counted in the shared memory, where it outlives them, and is read when
 * somebody asks. Labels never carry keys or clients.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { RebalanceStatus, TopologyView } from '../cluster/index.js';
import type { NativeStats } from '../store/index.js';
import type { WorkerReport } from './messages.js';

/** Everything the metrics are made of, at one moment. */
export interface NodeFigures {
  readonly stats: NativeStats;
  readonly report: WorkerReport;
  readonly topology: TopologyView;
  readonly rebalance: RebalanceStatus;
  /** Slots that this node leads and is to hand over. */
  readonly handOvers: number;
  readonly isCoordinator: boolean;
  readonly possibleLossSlots: number;
  readonly isInSync: boolean;
  readonly slots: number;
  readonly workers: number;
  readonly workersReady: number;
  readonly workerRestarts: number;
  readonly isReady: boolean;
}

export interface BuildInfo {
  readonly version: string;
  readonly node: string;
}

type Reading = (figures: NodeFigures) => number;

const GAUGES: readonly (readonly [name: string, help: string, reading: Reading])[] = [
  ['henge_up', '1 while the node serves its slots', ({ isReady }) => Number(isReady)],
  ['henge_items', 'Items in the store', ({ stats }) => stats.items],
  ['henge_items_bytes', 'Bytes in live records, their headers included', ({ stats }) => stats.bytes],
  ['henge_memory_used_bytes', "The store's memory in use", ({ stats }) => stats.memoryUsed],
  ['henge_memory_limit_bytes', 'All the memory the store may use', ({ stats }) => stats.memoryLimit],
  ['henge_index_bytes', 'Memory of the index', ({ stats }) => stats.indexBytes],
  ['henge_regions', 'Regions of the log', ({ stats }) => stats.regionsTotal],
  ['henge_regions_free', 'Regions of the log that are free', ({ stats }) => stats.regionsFree],
  ['henge_tombstones', 'Deleted keys remembered', ({ stats }) => stats.tombstones],
  ['henge_connections', 'Client connections', ({ report }) => report.connections],
  ['henge_epoch', 'Epoch of the topology', ({ topology }) => topology.epoch],
  ['henge_in_sync', '1 while everything this node holds is in sync and served', ({ isInSync }) => Number(isInSync)],
  ['henge_coordinator', '1 while this node coordinates the cluster', ({ isCoordinator }) => Number(isCoordinator)],
  [
    'henge_possible_loss_slots',
    'Slots led here of which acknowledged writes may be missing',
    ({ possibleLossSlots }) => possibleLossSlots,
  ],
  [
    'henge_rebalance_paused',
    '1 while an operator has it that no data moves when nodes join or leave',
    ({ rebalance }) => Number(rebalance.isPaused),
  ],
  [
    'henge_hand_over_slots',
    'Slots this node leads and is to hand over, or settle with other copies',
    ({ handOvers }) => handOvers,
  ],
  ['henge_slots', 'Slots this node leads', ({ slots }) => slots],
  [
    'henge_sealed_seconds_max',
    'The longest that a slot took no writes because it was being handed over',
    ({ stats }) => stats.sealedMicrosecondsMax / 1e6,
  ],
  ['henge_workers', 'Workers configured', ({ workers }) => workers],
  ['henge_workers_ready', 'Workers serving', ({ workersReady }) => workersReady],
];

const COUNTERS: readonly (readonly [name: string, help: string, reading: Reading])[] = [
  ['henge_hits_total', 'Reads that found their key', ({ stats }) => stats.hits],
  ['henge_misses_total', 'Reads that did not', ({ stats }) => stats.misses],
  ['henge_evictions_total', 'Items evicted to make room', ({ stats }) => stats.evictions],
  ['henge_expirations_total', 'Items whose time to live was over', ({ stats }) => stats.expirations],
  ['henge_busy_total', 'Requests refused because of overload', ({ stats }) => stats.busy],
  ['henge_moved_total', 'Requests for slots that this node does not lead', ({ stats }) => stats.moved],
  ['henge_out_of_memory_total', 'Writes refused because no memory could be secured', ({ stats }) => stats.outOfMemory],
  [
    'henge_clock_refusals_total',
    "Writes of other nodes refused because their clock was ahead of this node's",
    ({ stats }) => stats.clockRefusals,
  ],
  ['henge_protocol_errors_total', 'Connections closed for breaking the protocol', ({ stats }) => stats.protocolErrors],
  ['henge_frames_total', 'Requests received', ({ stats }) => stats.framesIn],
  ['henge_received_bytes_total', 'Bytes received from clients', ({ stats }) => stats.bytesIn],
  ['henge_sent_bytes_total', 'Bytes sent to clients', ({ stats }) => stats.bytesOut],
  ['henge_scrubs_total', 'Segments checked after the death of a lock holder', ({ stats }) => stats.scrubs],
  ['henge_worker_deaths_total', 'Workers whose place was taken from them', ({ stats }) => stats.workerDeaths],
  ['henge_worker_restarts_total', 'Workers started in the place of dead ones', ({ workerRestarts }) => workerRestarts],
  ['henge_connections_accepted_total', 'Connections accepted', ({ report }) => report.acceptedTotal],
  [
    'henge_connections_rejected_total',
    'Connections refused or dropped at a limit',
    ({ report }) => report.rejectedTotal,
  ],
  ['henge_connections_timed_out_total', 'Connections closed for silence', ({ report }) => report.timedOutTotal],
];

/** The cluster's, as this node hears of them; all 0 while the list of members stays. */
const REBALANCE_GAUGES: readonly (readonly [name: string, help: string, states: Readonly<Record<string, Reading>>])[] =
  [
    [
      'henge_rebalance_slots',
      'Slots that get another leader or other copies, done and left',
      {
        done: ({ rebalance }) => rebalance.slotsDone,
        left: ({ rebalance }) => rebalance.slotsTotal - rebalance.slotsDone,
      },
    ],
    [
      'henge_rebalance_bytes',
      'Bytes of items that move between nodes, sent and left, as the nodes estimate it',
      {
        done: ({ rebalance }) => rebalance.bytesDone,
        left: ({ rebalance }) => rebalance.bytesTotal - rebalance.bytesDone,
      },
    ],
  ];

/** What a member may be; a state nobody is in is a figure too. */
const MEMBER_STATES = ['in', 'away', 'returning', 'drain', 'gone'] as const;

const COMMANDS: readonly (readonly [command: string, reading: Reading])[] = [
  ['get', ({ stats }) => stats.hits + stats.misses],
  ['set', ({ stats }) => stats.sets],
  ['delete', ({ stats }) => stats.deletes],
  ['increment', ({ stats }) => stats.increments],
  ['append', ({ stats }) => stats.appends],
  ['touch', ({ stats }) => stats.touches],
];

export class Metrics {
  readonly #registry = new Registry();
  #figures: NodeFigures;

  /** `read` is called once for each scrape. */
  constructor(
    private readonly read: () => NodeFigures,
    build: BuildInfo,
  ) {
    this.#figures = read();
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    new Gauge({
      name: 'henge_build_info',
      help: 'Always 1; the labels say what runs',
      labelNames: ['version', 'node', 'node_version'],
      registers,
    }).set({ version: build.version, node: build.node, node_version: process.version }, 1);

    const figures = (): NodeFigures => this.#figures;
    for (const [name, help, reading] of GAUGES) {
      new Gauge({
        name,
        help,
        registers,
        collect: function () {
          this.set(reading(figures()));
        },
      });
    }
    for (const [name, help, states] of REBALANCE_GAUGES) {
      new Gauge({
        name,
        help,
        labelNames: ['state'],
        registers,
        collect: function () {
          for (const [state, reading] of Object.entries(states)) this.set({ state }, reading(figures()));
        },
      });
    }
    for (const [name, help, reading] of COUNTERS) {
      new Counter({
        name,
        help,
        registers,
        collect: function () {
          this.reset();
          this.inc(reading(figures()));
        },
      });
    }
    new Gauge({
      name: 'henge_members',
      help: 'Members of the cluster, by what the topology says of them',
      labelNames: ['state'],
      registers,
      collect: function () {
        const { members } = figures().topology;
        for (const state of MEMBER_STATES) {
          this.set({ state }, members.filter((member) => member.state === state).length);
        }
      },
    });
    new Counter({
      name: 'henge_commands_total',
      help: 'Requests executed, by command',
      labelNames: ['command'],
      registers,
      collect: function () {
        this.reset();
        for (const [command, reading] of COMMANDS) this.inc({ command }, reading(figures()));
      },
    });
    this.#registry.registerMetric(new ChunkHistogram(figures) as unknown as Gauge);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    this.#figures = this.read();
    return this.#registry.metrics();
  }
}

/**
 * Time spent in native code per chunk of a socket, from buckets that native code filled (prom-client's own histogram
 * takes single observations only). Bucket i counts chunks of
 * less than 2^i microseconds, the last one all that took longer.
 */
class ChunkHistogram {
  readonly name = 'henge_chunk_duration_seconds';
  constructor(private readonly figures: () => NodeFigures) {}

  async get(): Promise<object> {
    const { chunkMicroseconds, chunkSeconds } = this.figures().stats;
    let seen = 0;
    const values: { value: number; labels: Record<string, string | number>; metricName: string }[] = [];
    chunkMicroseconds.forEach((chunks, power) => {
      seen += chunks;
      if (power === chunkMicroseconds.length - 1) return;
      values.push({ value: seen, labels: { le: 2 ** power / 1e6 }, metricName: `${this.name}_bucket` });
    });
    values.push({ value: seen, labels: { le: '+Inf' }, metricName: `${this.name}_bucket` });
    values.push({ value: chunkSeconds, labels: {}, metricName: `${this.name}_sum` });
    values.push({ value: seen, labels: {}, metricName: `${this.name}_count` });
    const help = 'Time spent executing one chunk of a connection';
    return { name: this.name, help, type: 'histogram', values, aggregator: 'sum' };
  }
}
