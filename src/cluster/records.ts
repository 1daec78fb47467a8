/**
 * The records a registry keeps, and the view of the topology that is made from them.
 *
 * A slot table is a pure function of the topology record alone, so that record carries what the function needs (name,
 * number, zone, weight); where a member can be reached stands in its own record, since an address may change at any
 * time and moves nothing. Epochs after the first, and everything about moving data, come with membership change.
 */
import { z } from 'zod';
import type { RecordKey } from './registry.js';

/** A node's name is its identity on the ring, part of file names and of metric labels. */
export const NodeName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be 1 to 63 letters, digits, dots, dashes or underscores');

/** What holds for the whole cluster; written by the first node. A node whose flags differ refuses to start. */
export const ConfigRecord = z.object({
  rf: z.int().min(1),
  /** Whether a node that is cut off from the registry goes on, or stops writing before its lease can have ended. */
  onPartition: z.enum(['serve', 'fence']).default('serve'),
  /** Who judges another's lease must know how long it is. */
  leaseTtlMs: z.int().min(1).default(3_000),
  valueBytesMax: z.int().min(1),
  /** First half of the secret's SHA-256 in hex; empty when the cluster has no secret. */
  secretFingerprint: z.string(),
});
export type ConfigRecord = Readonly<z.infer<typeof ConfigRecord>>;

/** Where a member is, permanently; whether it lives is another matter. */
export const MemberRecord = z.object({
  name: NodeName,
  number: z.int().min(1).max(65_535),
  address: z.string(),
  unix: z.string().optional(),
  http: z.string().optional(),
  zone: z.string(),
  weight: z.number().positive(),
  wanted: z.enum(['in', 'drain', 'gone']),
  /** Of the store, not of the process: what was made with the memory. Empty until the node has started once. */
  incarnation: z.string(),
  /** Its memory is in a file, and outlives it. */
  hasArena: z.boolean().default(false),
});
export type MemberRecord = Readonly<z.infer<typeof MemberRecord>>;

export const BaseMember = z.object({
  name: NodeName,
  number: z.int().min(1).max(65_535),
  zone: z.string(),
  weight: z.number().positive(),
});
export type BaseMember = Readonly<z.infer<typeof BaseMember>>;

const EpochRecord = z.object({
  epoch: z.int().min(1),
  base: z.array(BaseMember).min(1),
  /** Members that are gone for now (rule 19). Disjoint from `returning`. */
  away: z.array(NodeName).default([]),
  /** Of these, those who said before that they would be: they stopped in good order, and will return. */
  resting: z.array(NodeName).default([]),
  /** Members that are back and not yet in sync. */
  returning: z.array(NodeName).default([]),
  /** Stand-ins get old data too, not only new writes: the grace period is over. */
  isFilling: z.boolean().default(false),
  /** The members that are to be the base next: while it is here, data moves (ring/change.ts). */
  next: z.array(BaseMember).min(1).optional(),
  /** The change was called off, and slots go back to whom they came from. */
  isCancelled: z.boolean().default(false),
});
export type EpochRecord = Readonly<z.infer<typeof EpochRecord>>;

/** Members of the base, and behind them those who are to join it. */
export function participantsOf({ base, next = [] }: Pick<EpochRecord, 'base' | 'next'>): readonly BaseMember[] {
  return [...base, ...next.filter(({ name }) => !base.some((member) => member.name === name))];
}

/** The one record that says who holds what. */
export const TopologyRecord = z.object({
  counter: z.int().min(1),
  current: EpochRecord,
});
export type TopologyRecord = Readonly<z.infer<typeof TopologyRecord>>;

/** That a node lives: exists as long as its lease. Written by the node's primary process. */
export const AliveRecord = z.object({
  name: NodeName,
  incarnation: z.string(),
  /** The epoch its store is in. */
  epoch: z.int(),
  /** The epoch in which all its copies were declared in sync, 0 while some are not. */
  syncedEpoch: z.int(),
  /** It leads slots whose acknowledged writes may be missing. */
  possibleLossSlots: z.int().default(0),
  /** Slots that it leads and is to hand over. */
  handOvers: z.int().default(0),
  /** Of items that a change of the list of members has it send: what it sent since that began, about, in bytes. */
  movedBytes: z.number().default(0),
  /** And what is left of it, by the mean size of a slot here. */
  toMoveBytes: z.number().default(0),
  /** It is about to stop, and to return: others are to lead what it leads, before that. */
  isResting: z.boolean().default(false),
});
export type AliveRecord = Readonly<z.infer<typeof AliveRecord>>;

/** How fast data moves while the list of members changes; an operator's word, permanent. */
export const RebalanceRecord = z.object({
  isPaused: z.boolean(),
  /** Of each node, 0: as fast as it can. Undefined: what its own configuration says. */
  bytesPerSecond: z.number().min(0).optional(),
});
export type RebalanceRecord = Readonly<z.infer<typeof RebalanceRecord>>;

/** Who coordinates: exists as long as its lease; its create revision is the fencing token. */
export const CoordinatorRecord = z.object({ name: NodeName });
export type CoordinatorRecord = Readonly<z.infer<typeof CoordinatorRecord>>;

export const aliveKey = (name: string): RecordKey => `alive/${name}`;

export const memberKey = (name: string): RecordKey => `members/${name}`;

/** What clients and people see of a topology; sent as JSON. */
export interface TopologyView {
  readonly epoch: number;
  readonly rf: number;
  readonly isFilling?: boolean;
  /** Everybody who has a part, those who are to join included. */
  readonly members: readonly TopologyMember[];
  /** While the list of members changes: who is to be in it. */
  readonly next?: readonly RingPlace[];
  readonly isCancelled?: boolean;
  /** Missing while no operator ever said anything. */
  readonly rebalance?: RebalanceRecord;
}

/** What a member's slots depend on. */
export interface RingPlace {
  readonly name: string;
  readonly zone: string;
  readonly weight: number;
}

export interface TopologyMember {
  readonly name: string;
  readonly number: number;
  /** HOST:PORT of the data port; empty while the member has never started. */
  readonly address: string;
  readonly unix?: string;
  readonly http?: string;
  readonly zone: string;
  readonly weight: number;
  readonly state: 'in' | 'away' | 'returning' | 'drain' | 'gone';
  /** It has no slots yet. */
  readonly isJoining?: boolean;
  /** It is away, for it is about to stop or has stopped in good order; while it lives it tells what it has. */
  readonly isResting?: boolean;
}

/** Whether a member may be asked for what it has: those who are about to end too, while they live. */
export const mayBeAsked = ({ state, isResting }: TopologyMember): boolean => state !== 'away' || isResting === true;

/** The members whose slots the epoch's rows begin with. */
export const baseOf = ({ members }: TopologyView): readonly TopologyMember[] =>
  members.filter(({ isJoining }) => isJoining !== true);

/** Joins the topology with the addresses of its members. Members come sorted by name, as the slot table counts them. */
export function topologyView(
  topology: TopologyRecord,
  rf: number,
  memberRecords: ReadonlyMap<string, MemberRecord>,
  rebalance?: RebalanceRecord,
): TopologyView {
  const { current } = topology;
  const members = participantsOf(current).map((base): TopologyMember => {
    const record = memberRecords.get(base.name);
    return {
      name: base.name,
      number: base.number,
      address: record?.address ?? '',
      ...(record?.unix !== undefined && { unix: record.unix }),
      ...(record?.http !== undefined && { http: record.http }),
      zone: base.zone,
      weight: base.weight,
      state: stateOf(current, base.name, record),
      ...(!current.base.includes(base) && { isJoining: true }),
      ...(current.resting.includes(base.name) && { isResting: true }),
    };
  });
  members.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return {
    epoch: current.epoch,
    rf,
    isFilling: current.isFilling,
    members,
    ...(current.next !== undefined && {
      next: current.next.map(({ name, zone, weight }) => ({ name, zone, weight })),
      isCancelled: current.isCancelled,
    }),
    ...(rebalance !== undefined && { rebalance }),
  };
}

function stateOf(
  { away, returning }: EpochRecord,
  name: string,
  record: MemberRecord | undefined,
): TopologyMember['state'] {
  if (away.includes(name)) return 'away';
  return returning.includes(name) ? 'returning' : (record?.wanted ?? 'in');
}
