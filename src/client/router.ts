/**
 * Where a request goes, and what becomes of one that was refused or lost. Pure: time, randomness and the network are
 * the caller's, so the same rules run in the client and under a simulator.
 *
 * The rules: what provably did not run is sent again while there is time; a read is sent again too; a write that may
 * have run never is. A request's first redirect, and the first repetition of a read whose connection broke, are free:
 * they follow from a change and not from load. Every other repetition is paid from a budget, so that clients of an
 * overloaded cluster add a tenth to its load and not a multiple.
 */

import { buildSlotTable, NO_NODE, type SlotTable } from '../ring/index.js';

export interface RouteMember {
  readonly name: string;
  readonly number: number;
  readonly address: string;
  readonly zone: string;
  readonly weight: number;
  readonly state: string;
  /** Path of the node's Unix socket, for clients on its machine. */
  readonly unix?: string;
}

/** What a client knows of a cluster. */
export interface Topology {
  readonly epoch: number;
  readonly rf: number;
  /** Sorted by name. */
  readonly members: readonly RouteMember[];
}

/** A topology with its slot table. */
export class Routes {
  readonly table: SlotTable;

  /** The table of `previous` is kept when the epoch is the same: then only addresses can differ. */
  constructor(
    readonly topology: Topology,
    previous?: Routes,
  ) {
    const isSameEpoch = previous?.topology.epoch === topology.epoch;
    this.table = isSameEpoch ? previous.table : buildSlotTable(topology.members, topology.rf);
  }

  /** Index into the table's members of the slot's primary, or NO_NODE. */
  primaryOf(slot: number): number {
    return this.table.rows[slot * this.table.rf] ?? NO_NODE;
  }
}

/** Retries are a tenth of the requests at most, beyond a small stock for clients that ask little. */
const RETRY_RATIO = 0.1;
const RETRY_STOCK_MAX = 100;

/** Tokens that retries are paid with; every request adds a tenth of one. */
export class RetryBudget {
  #tokens = RETRY_STOCK_MAX;

  earn(requests: number): void {
    this.#tokens = Math.min(RETRY_STOCK_MAX, this.#tokens + requests * RETRY_RATIO);
  }

  spend(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

/** What happened to a request that got no usable answer. */
export interface Mishap {
  readonly kind: 'moved' | 'busy' | 'lost';
  readonly isWrite: boolean;
  /** How often the request was sent again before. */
  readonly attempts: number;
  readonly msLeft: number;
}

export type Verdict = { readonly kind: 'retry'; readonly delayMs: number } | { readonly kind: 'fail' };

const RETRY_DELAY_MS = 5;
const RETRY_DELAY_MS_MAX = 250;

/** Whether, and when, a request is sent again. */
export function judge(mishap: Mishap, budget: RetryBudget, random: () => number): Verdict {
  if (mishap.kind === 'lost' && mishap.isWrite) return { kind: 'fail' };
  const isFree = mishap.kind !== 'busy' && mishap.attempts === 0;
  // A lost read waits for the next connection, which has pauses of its own.
  const delayMs = isFree || mishap.kind === 'lost' ? 0 : retryDelayMs(mishap.attempts, random);
  if (delayMs >= mishap.msLeft) return { kind: 'fail' };
  if (!isFree && !budget.spend()) return { kind: 'fail' };
  return { kind: 'retry', delayMs };
}

/** Full jitter: anything up to the doubled bound, so that clients that failed together do not return together. */
function retryDelayMs(attempts: number, random: () => number): number {
  return Math.ceil(random() * Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS * 2 ** attempts));
}

const RECONNECT_MS = 25;
/** A killed worker is back within a second; its clients should not be what takes longer. */
const RECONNECT_MS_MAX = 500;

/** Pause before the next attempt to connect: none after a loss, then growing, at least half of it random. */
export function reconnectDelayMs(attempts: number, random: () => number): number {
  if (attempts === 0) return 0;
  const bound = Math.min(RECONNECT_MS_MAX, RECONNECT_MS * 2 ** Math.min(attempts, 16));
  return Math.ceil(bound / 2 + (random() * bound) / 2);
}

/** Reads a topology as nodes send it. @throws TypeError when it is none */
export function parseTopology(json: string): Topology {
  const topology = JSON.parse(json) as Partial<Topology> | null;
  if (!Number.isInteger(topology?.epoch) || !Number.isInteger(topology?.rf) || !Array.isArray(topology?.members)) {
    throw new TypeError(`this is no topology: ${json.slice(0, 200)}`);
  }
  for (const member of topology.members as Partial<RouteMember>[]) {
    if (typeof member?.name !== 'string' || typeof member.address !== 'string') {
      throw new TypeError(`a member of the topology has no name or address: ${JSON.stringify(member)}`);
    }
  }
  return topology as Topology;
}
