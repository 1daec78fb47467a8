/**
 * A node's place in the cluster, from the registry's records: finds or founds the cluster, checks that this node agrees
 * with it, and says which memory the node has and where it can be reached.
 *
 * Founding is a race that `topology` decides: whoever publishes its first version is the only member of epoch 1. Any
 * other node gets a number and says that it is there; that it gets slots is the coordinator's business, and so is
 * everything from then on (cluster/control/).
 */
import {
  type BaseMember,
  ConfigRecord,
  MemberRecord,
  memberKey,
  participantsOf,
  type Registry,
  type RegistryRecord,
  TopologyRecord,
} from '../cluster/index.js';
import { WEIGHT_MAX } from '../ring/index.js';
import { type Config, ConfigError, flagOf, type OptionName } from './config.js';
import { secretFingerprint } from './secret.js';

/** Attempts at compare-and-set: each failure means that somebody else succeeded. */
const PUT_ATTEMPTS_MAX = 20;
const FIRST_NUMBER = 1;
const FIRST_EPOCH = 1;
const NUMBER_MAX = 65_535;

export function configRecordOf(config: Config, secret: string): ConfigRecord {
  return {
    rf: config.rf,
    onPartition: config.onPartition,
    leaseTtlMs: config.leaseTtl,
    valueBytesMax: config.maxValue,
    secretFingerprint: secretFingerprint(secret),
  };
}

/** Where a node can be reached. */
export interface Whereabouts {
  readonly address: string;
  readonly unix?: string;
  readonly http: string;
  /** Its memory outlives it. */
  readonly hasArena: boolean;
}

export interface Place {
  readonly self: BaseMember;
  readonly topology: { readonly revision: number; readonly value: TopologyRecord };
}

/** Throws ConfigError when the node does not agree with the cluster, or is no part of it. */
export async function joinCluster(registry: Registry, config: Config, secret: string): Promise<Place> {
  await agreeOn(registry, configRecordOf(config, secret));
  const founder: BaseMember = { name: config.name, number: FIRST_NUMBER, zone: config.zone, weight: config.weight };
  const founding = TopologyRecord.parse({ counter: 1, current: { epoch: FIRST_EPOCH, base: [founder] } });
  if ((await registry.get('topology')) === undefined) await registry.put('topology', founding, 0);

  const topology = await readTopology(registry);
  const member = participantsOf(topology.value.current).find(({ name }) => name === config.name);
  const number = member?.number ?? (await claimNumber(registry, config.name, topology.value));
  const { name, zone, weight } = config;
  return { self: { name, number, zone, weight }, topology };
}

/** A number of its own for a node that joins: it stands in versions of items, so no other node may ever have had it. */
async function claimNumber(registry: Registry, name: string, topology: TopologyRecord): Promise<number> {
  const known = await registry.get(memberKey(name));
  if (known !== undefined) return MemberRecord.parse(known.value).number;
  const taken = participantsOf(topology.current).map(({ number }) => number);
  for (let number = Math.max(...taken) + 1; number <= NUMBER_MAX; number++) {
    const mine = { name };
    if ((await registry.put(`numbers/${number}`, mine, 0)) !== undefined) return number;
    const found = await registry.get(`numbers/${number}`);
    if ((found?.value as { readonly name?: unknown } | undefined)?.name === name) return number;
  }
  throw new ConfigError(`the cluster in ${registry.location} has no number left for another node`);
}

export async function readTopology(registry: Registry): Promise<Place['topology']> {
  const record = await registry.get('topology');
  return { revision: record?.revision ?? 0, value: TopologyRecord.parse(record?.value) };
}

/**
 * Makes a memory the node's, if it never had one. Another one than the record says is the coordinator's business: a
 * node that restarted empty is not the same copy. Resolves to whether it is the first.
 */
export async function claimMemory(registry: Registry, self: BaseMember, incarnation: string): Promise<boolean> {
  let isFirst = false;
  await changeMember(registry, self, (found) => {
    isFirst = found.incarnation === '';
    // Who left, and is started again, wants to be back.
    const wanted = found.wanted === 'gone' ? 'in' : found.wanted;
    return isFirst ? { ...found, incarnation, wanted } : { ...found, wanted };
  });
  return isFirst;
}

/** Publishes where this node can be reached, if that is news. */
export async function announce(registry: Registry, self: BaseMember, whereabouts: Whereabouts): Promise<MemberRecord> {
  return changeMember(registry, self, ({ wanted, incarnation }) => ({ ...self, ...whereabouts, wanted, incarnation }));
}

/**
 * Asks for a member to leave, or to stay after all.
 * @throws ConfigError when there is no such member, or it would be the last
 */
export async function wantMember(registry: Registry, name: string, wanted: MemberRecord['wanted']): Promise<void> {
  const { value } = await readTopology(registry);
  const member = memberOf(value, name);
  if (wanted === 'drain' && !(await isAnybodyElse(registry, value, name))) {
    throw new ConfigError(`${name} is the last member: whoever leaves needs somebody to leave its items to`);
  }
  await changeMember(registry, member, (found) => ({ ...found, wanted }));
}

/**
 * Gives a member another weight, until it is started with a `--weight` of its own.
 * @throws ConfigError when there is no such member, or no such weight
 */
export async function weighMember(registry: Registry, name: string, weight: number): Promise<void> {
  if (!(weight > 0 && weight <= WEIGHT_MAX)) {
    throw new ConfigError(`a weight is above 0 and at most ${WEIGHT_MAX}, not ${weight}`);
  }
  const member = memberOf((await readTopology(registry)).value, name);
  await changeMember(registry, member, (found) => ({ ...found, weight }));
}

/** @throws ConfigError when there is none of that name */
function memberOf({ current }: TopologyRecord, name: string): BaseMember {
  const member = participantsOf(current).find((one) => one.name === name);
  if (member === undefined) throw new ConfigError(`there is no member ${name}`);
  return member;
}

/** A member that was asked to leave has left. False: it was not asked. */
export async function leave(registry: Registry, self: BaseMember): Promise<boolean> {
  const record = await registry.get(memberKey(self.name));
  if (record === undefined || MemberRecord.parse(record.value).wanted !== 'drain') return false;
  await changeMember(registry, self, (found) => ({ ...found, wanted: 'gone' }));
  return true;
}

async function isAnybodyElse(registry: Registry, { current }: TopologyRecord, name: string): Promise<boolean> {
  for (const other of current.base) {
    const record = await registry.get(memberKey(other.name));
    if (other.name !== name && (record === undefined || MemberRecord.parse(record.value).wanted === 'in')) return true;
  }
  return false;
}

export async function changeMember(
  registry: Registry,
  self: BaseMember,
  change: (found: MemberRecord) => MemberRecord,
): Promise<MemberRecord> {
  const key = memberKey(self.name);
  for (let attempt = 0; attempt < PUT_ATTEMPTS_MAX; attempt++) {
    const found = await registry.get(key);
    const before = memberIn(found, self);
    const after = MemberRecord.parse(change(before));
    const isNews = found === undefined || JSON.stringify(MemberRecord.parse(before)) !== JSON.stringify(after);
    if (!isNews || (await registry.put(key, after, found?.revision ?? 0)) !== undefined) return after;
  }
  throw new Error(`${registry.location}: ${key} could not be written, others write it all the time`);
}

function memberIn(found: RegistryRecord | undefined, self: BaseMember): MemberRecord {
  if (found !== undefined) return MemberRecord.parse(found.value);
  return { ...self, address: '', wanted: 'in', incarnation: '', hasArena: false };
}

/** Writes the cluster's configuration if it has none, else compares. */
async function agreeOn(registry: Registry, mine: ConfigRecord): Promise<void> {
  if ((await registry.get('config')) === undefined) await registry.put('config', mine, 0);
  const found = ConfigRecord.parse((await registry.get('config'))?.value);
  const options: readonly [keyof ConfigRecord, OptionName][] = [
    ['rf', 'rf'],
    ['onPartition', 'onPartition'],
    ['leaseTtlMs', 'leaseTtl'],
    ['valueBytesMax', 'maxValue'],
    ['secretFingerprint', 'secretFile'],
  ];
  for (const [field, option] of options) {
    if (found[field] === mine[field]) continue;
    const difference =
      field === 'secretFingerprint' ? 'is not the secret of' : `is ${mine[field]} here but ${found[field]} in`;
    throw new ConfigError(`${flagOf(option)} ${difference} the cluster in ${registry.location}; all nodes must agree`);
  }
}
