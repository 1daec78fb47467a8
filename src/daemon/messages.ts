/** What the primary process and its workers say to each other over node:cluster's channel. */
import type { ClusterReport, OnPartition, TopologyView } from '../cluster/index.js';
import type { HostPort } from './units.js';

/** All a worker needs to begin; handed over in the environment variable WORKER_BOOT_VARIABLE. */
export interface WorkerBoot {
  readonly nodeName: string;
  readonly nodeNumber: number;
  readonly arenaPath: string;
  readonly listen: HostPort;
  readonly unix?: string;
  readonly valueBytesMax: number;
  readonly connectionsMax: number;
  readonly idleTimeoutMs: number;
  readonly workers: number;
  readonly startedAtMs: number;
  readonly logLevel: string;
  readonly topology: TopologyView;
  /** What this node does when it is cut off from the registry; the same in the whole cluster. */
  readonly onPartition: OnPartition;
  /** How fast it moves data as long as no operator says otherwise; 0: as fast as it can. */
  readonly rebalanceBytesPerSecond: number;
  /** Of the cluster, for the handshake between nodes; empty when it has none. */
  readonly secret: string;
}

export const WORKER_BOOT_VARIABLE = 'HENGE_WORKER_BOOT';

export type ToWorker =
  | { readonly kind: 'topology'; readonly topology: TopologyView }
  | { readonly kind: 'log-level'; readonly level: string }
  /** Stop accepting, send what is owed, close, exit. */
  | { readonly kind: 'drain' };

/** Counts of a worker's own doing; those ending in Total only grow during its life. */
export interface WorkerReport {
  readonly connections: number;
  readonly acceptedTotal: number;
  readonly rejectedTotal: number;
  readonly timedOutTotal: number;
}

export type FromWorker =
  | { readonly kind: 'ready'; readonly port: number }
  | { readonly kind: 'failed'; readonly message: string }
  | ({ readonly kind: 'report' } & WorkerReport)
  /** From the worker that does the node's background work, every 500 ms and when it changes. */
  | ({ readonly kind: 'cluster' } & ClusterReport)
  /** A newer topology, learned from another node. The worker has put it in place already. */
  | { readonly kind: 'topology'; readonly topology: TopologyView };
