/**
 * All that the worker's core may ask of the world, and what it tells it. No clock, no socket, no promise and no
 * randomness but these: a daemon's worker process gives it real ones (daemon/worker.ts), the simulator virtual ones.
 *
 * The native worker is part of the world. Whatever may have given other connections output (requests on links, applied
 * epochs, ticks) is followed by flush().
 */
import type { NativeWorker } from '../../store/index.js';
import type { TopologyMember, TopologyView } from '../records.js';

/**
 * What a node does when it cannot renew its lease: `serve` goes on, and loses every conflict when it returns; `fence`
 * stops writing before the lease can have ended elsewhere.
 */
export type OnPartition = 'serve' | 'fence';

/** What the primary process must know of the copies this node holds. */
export interface ClusterReport {
  /** The epoch of the memory. */
  readonly epoch: number;
  /** `epoch` if everything this node holds is in sync and everything it leads is served, else 0. */
  readonly syncedEpoch: number;
  /** Slots it leads of which acknowledged writes may be missing. */
  readonly possibleLossSlots: number;
  /** Slots it leads and is to hand over. */
  readonly handOvers: number;
  /** Of items that a change of the list of members has it send: what it sent since that began, in bytes. */
  readonly movedBytes: number;
  /** And what is left of it, by the mean size of a slot here. */
  readonly toMoveBytes: number;
}

export const NO_REPORT: ClusterReport = {
  epoch: 0,
  syncedEpoch: 0,
  possibleLossSlots: 0,
  handOvers: 0,
  movedBytes: 0,
  toMoveBytes: 0,
};

export interface WorkerEnv {
  readonly self: { readonly name: string; readonly number: number; readonly incarnation: string };
  readonly onPartition: OnPartition;
  /** How fast this node moves data as long as no operator says otherwise; 0: as fast as it can. */
  readonly rebalanceBytesPerSecond: number;
  readonly native: NativeWorker;
  /** Of this memory: 16,384 and 16 in production. */
  readonly slots: number;
  readonly slotsPerSegment: number;
  /** How long items are kept of a slot in which this node has no part any more. */
  readonly dropDelayMs: number;
  /** The epoch in this memory, whoever put it in place. */
  installedEpoch(): number;
  /** Whether the time has passed until which this node may write. */
  isFenced(): boolean;
  /** Requests on keys that this node has served so far: clients', and what leaders wrote to copies here. */
  requestsServed(): number;
  /** Of all items of this memory, keys and all. */
  bytesHeld(): number;
  /** Evictions so far, of all workers. */
  evictions(): number;
  /** The monotonic clock of PeerNews.heardAtMs. */
  monoMs(): number;
  wallMs(): number;
  /** At least 0, below 1. */
  random(): number;
  /** Runs something once, after so many milliseconds. */
  later(delayMs: number, run: () => void): void;
  /** Opens a connection to another node, which proves who it is. Ends in dialed() or dialFailed(), later. */
  dial(member: TopologyMember): void;
  /** Closes a connection of ours. Ends in lost(), at once or later. */
  hangUp(connection: number): void;
  /** The answer to a control frame that onControl() did not answer. Nothing happens if the connection is gone. */
  answer(connection: number, frame: Buffer): void;
  /** Sends what native code has for connections. */
  flush(): void;
  report(report: ClusterReport): void;
  /** A topology was learned from another node, and is in place. */
  learned(view: TopologyView): void;
  log(event: string, details: Readonly<Record<string, unknown>>): void;
}
