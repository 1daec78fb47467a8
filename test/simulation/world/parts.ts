/**
 * What the parts of a world know of each other: so much of the world and of a machine as those need who live in them.
 */
import type { ProbeResult } from '../../../src/cluster/control/index.js';
import type { ClusterReport, MemberRecord, TopologyView } from '../../../src/cluster/index.js';
import type { NativeArena } from '../../../src/store/index.js';
import type { Moves } from './moves.js';
import type { InstallOptions, Mutations } from './mutations.js';
import type { Network } from './network.js';
import type { Random } from './random.js';
import type { RegistryModel } from './registry.js';
import type { Schedule } from './schedule.js';

export interface WorldOptions {
  readonly nodes: number;
  readonly rf: number;
  readonly zones: number;
  readonly workers: number;
  readonly onPartition: 'serve' | 'fence';
  readonly ttlMs: number;
  readonly graceMs: number;
  readonly memoryBytes: number;
  readonly clockOffsetMsMax: number;
  readonly clockDriftMax: number;
  /** How long a node keeps what it has no part in any more. */
  readonly dropDelayMs: number;
  /** Between two nodes, one way. */
  readonly linkBytesPerMs: number;
}

export interface SimWorld {
  readonly seed: number;
  readonly options: WorldOptions;
  readonly mutations: Mutations;
  readonly schedule: Schedule;
  readonly network: Network;
  readonly registry: RegistryModel;
  readonly moves: Moves;
  readonly view: TopologyView;
  /** The name of the node that a slot is to be handed to. */
  goalOf(slot: number): string;
  /** What was acknowledged before may be on fewer copies than it was. */
  memoryLost(): void;
  note(text: string): void;
  violation(text: string): void;
  readonly reportedLosses: Set<number>;
  sometimes(condition: boolean, name: string): void;
  probe(from: string, member: MemberRecord, timeoutMs: number, done: (result: ProbeResult) => void): void;
}

/** A node as its workers see it. */
export interface Machine {
  readonly world: SimWorld;
  readonly name: string;
  readonly identity: { readonly name: string; readonly number: number; readonly incarnation: string };
  readonly arena: NativeArena;
  readonly random: Random;
  readonly isFenced: boolean;
  readonly isUp: boolean;
  readonly installOptions: InstallOptions;
  readonly monoMs: number;
  readonly wallMs: number;
  /** The memory's clock is the machine's. */
  setClock(): void;
  reported(report: ClusterReport): void;
  learned(view: TopologyView): void;
  log(event: string, details: Readonly<Record<string, unknown>>): void;
}
