/**
 * What commands show of a cluster: its members, what each tells about itself, and who leads which slots.
 *
 * The rows are computed here, as every client does, from the members alone; figures come from each node by STATS.
 */
import type { Henge, Member, Topology } from '../client/index.js';
import { Routes } from '../client/router.js';
import { NO_NODE, SLOTS, slotOf } from '../ring/index.js';

export interface NodeReport {
  readonly name: string;
  readonly address: string;
  readonly zone: string;
  readonly weight: number;
  /** What the topology says of the member, or `unreachable` when it is said to be in, and did not answer. */
  readonly state: string;
  readonly isAnswering: boolean;
  readonly slots: number;
  readonly items: number;
  readonly bytes: number;
  readonly memoryUsed: number;
  readonly memoryLimit: number;
  /** Counters since the node's memory was made. */
  readonly operations: number;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  readonly uptimeMs: number;
  readonly workers: number;
  /** Copies held of others' slots, how many of them may lack something, and slots led that it is still taking over. */
  readonly copySlots: number;
  readonly joiningSlots: number;
  readonly takingOverSlots: number;
  /** Slots led of which acknowledged writes may be missing. */
  readonly possibleLossSlots: number;
  /** What it may send a second while nodes join or leave, unless an operator says otherwise; 0: as much as it can. */
  readonly rebalanceBytesPerSecond: number;
}

export interface ClusterReport {
  readonly epoch: number;
  readonly rf: number;
  /** Sorted by name. */
  readonly nodes: readonly NodeReport[];
}

export async function readCluster(cluster: Henge): Promise<ClusterReport> {
  const topology = await cluster.topology();
  const slots = slotsLed(Routes.of(topology).leaders, topology.members.length);
  const nodes = topology.members.map(async (member, index) => {
    const stats = await statsOf(cluster, member);
    // While slots are handed over one by one, only the nodes know who leads which.
    const led = topology.next === undefined ? slots[index] : (stats?.slots as number | undefined);
    return nodeReport(member, led ?? 0, stats);
  });
  return { epoch: topology.epoch, rf: topology.rf, nodes: await Promise.all(nodes) };
}

type Statistics = Readonly<Record<string, unknown>>;

/** Undefined for a node that does not answer: that is a finding here, not an error. */
async function statsOf(cluster: Henge, member: Member): Promise<Statistics | undefined> {
  return cluster.stats(member.name).catch(() => undefined);
}

function nodeReport(
  { name, address, zone, weight, state }: Member,
  slots: number,
  stats: Statistics | undefined,
): NodeReport {
  const figure = (field: string) => {
    const value = stats?.[field];
    return typeof value === 'number' ? value : 0;
  };
  return {
    name,
    address,
    zone,
    weight,
    state: stats === undefined && state === 'in' ? 'unreachable' : state,
    isAnswering: stats !== undefined,
    slots,
    items: figure('items'),
    bytes: figure('bytes'),
    memoryUsed: figure('memoryUsed'),
    memoryLimit: figure('memoryLimit'),
    operations: ['hits', 'misses', 'sets', 'deletes', 'increments', 'appends', 'touches'].reduce(
      (sum, field) => sum + figure(field),
      0,
    ),
    hits: figure('hits'),
    misses: figure('misses'),
    evictions: figure('evictions'),
    uptimeMs: figure('uptimeMs'),
    workers: figure('workers'),
    copySlots: figure('copySlots'),
    joiningSlots: figure('joiningSlots'),
    takingOverSlots: figure('takingOverSlots'),
    possibleLossSlots: figure('possibleLossSlots'),
    rebalanceBytesPerSecond: figure('rebalanceBytesPerSecond'),
  };
}

export interface RingReport {
  readonly epoch: number;
  readonly slots: number;
  readonly rf: number;
  /** Sorted by name. `share` and `target` are parts of 1; the target is what the node's weight asks for. */
  readonly nodes: readonly {
    readonly name: string;
    readonly slots: number;
    readonly share: number;
    readonly target: number;
  }[];
  /** For each slot the index of the node that leads it. */
  readonly primaries: Uint16Array;
}

export async function readRing(cluster: Henge): Promise<RingReport> {
  return ringReport(await cluster.topology());
}

export function ringReport(topology: Topology): RingReport {
  const { epoch, rf, members } = topology;
  const primaries = Routes.of(topology).leaders;
  const slots = slotsLed(primaries, members.length);
  const weights = members.reduce((sum, member) => sum + member.weight, 0);
  const nodes = members.map(({ name, weight }, index) => ({
    name,
    slots: slots[index] ?? 0,
    share: (slots[index] ?? 0) / SLOTS,
    target: weight / weights,
  }));
  return { epoch, slots: SLOTS, rf, nodes, primaries };
}

export interface Place {
  readonly key: string;
  readonly slot: number;
  readonly node: string;
  readonly address: string;
  /** Names of the nodes that hold further copies, also of those that are away or not in sync. */
  readonly replicas: readonly string[];
}

export async function whereIs(cluster: Henge, keys: readonly string[]): Promise<Place[]> {
  const topology = await cluster.topology();
  const { table, leaders } = Routes.of(topology);
  return keys.map((key) => {
    const slot = slotOf(Buffer.from(key));
    const leader = leaders[slot] as number;
    const row = [...table.rows.subarray(slot * table.width, (slot + 1) * table.width)];
    const replicas = row
      .filter((index) => index !== NO_NODE && index !== leader)
      .map((index) => topology.members[index]);
    const primary = topology.members[leader];
    return {
      key,
      slot,
      node: primary?.name ?? '',
      address: primary?.address ?? '',
      replicas: replicas.flatMap((member) => member?.name ?? []),
    };
  });
}

function slotsLed(primaries: Uint16Array, members: number): Uint32Array {
  const led = new Uint32Array(members);
  for (const index of primaries) if (index !== NO_NODE) led[index] = (led[index] ?? 0) + 1;
  return led;
}
