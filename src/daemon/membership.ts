/**
 * A node's place in the cluster, from the registry's records: finds or founds the cluster, checks that this node agrees
 * with it, and says which memory the node has and where it can be reached.
 *
 * Founding is a race that `topology` decides: whoever publishes its first version is the only member of epoch 1. A node
 * that is not in the topology cannot serve anything yet, and is told so. What happens from then on is the control
 * plane's (cluster/control/).
 */
import {
  type BaseMember,
  ConfigRecord,
  MemberRecord,
  memberKey,
  type Registry,
  type RegistryRecord,
  TopologyRecord,
} from '../cluster/index.js';
import { type Config, ConfigError, flagOf, type OptionName } from './config.js';
import { secretFingerprint } from './secret.js';

/** Attempts at compare-and-set: each failure means that somebody else succeeded. */
const PUT_ATTEMPTS_MAX = 20;
const FIRST_NUMBER = 1;
const FIRST_EPOCH = 1;

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
  const self = topology.value.current.base.find(({ name }) => name === config.name);
  if (self === undefined) {
    const names = topology.value.current.base.map(({ name }) => name).join(', ');
    throw new ConfigError(
      `node ${config.name} is not a member of the cluster in ${registry.location} (members: ${names}); ` +
        'joining a running cluster is not offered by this release: use one of those names, or another --registry',
    );
  }
  for (const option of ['zone', 'weight'] as const) {
    if (self[option] === config[option]) continue;
    throw new ConfigError(
      `${flagOf(option)} ${config[option]}: node ${self.name} is a member with ${option} ${self[option]}, ` +
        'and changing that moves data, which is not offered by this release',
    );
  }
  return { self, topology };
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
    return isFirst ? { ...found, incarnation } : found;
  });
  return isFirst;
}

/** Publishes where this node can be reached, if that is news. */
export async function announce(registry: Registry, self: BaseMember, whereabouts: Whereabouts): Promise<MemberRecord> {
  return changeMember(registry, self, ({ wanted, incarnation }) => ({ ...self, ...whereabouts, wanted, incarnation }));
}

async function changeMember(
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
  return { ...self, address: '', wanted: 'in', incarnation: '' };
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
