/**
 * A node's place in the cluster, from the registry's records: finds or founds the cluster, checks that this node agrees
 * with it, says where the node can be reached, and follows the topology as its members move.
 *
 * Founding is a race that `topology` decides: whoever publishes its first version is the only member of epoch 1. A node
 * that is not in the topology cannot serve anything yet, and is told so.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  type BaseMember,
  ConfigRecord,
  MemberRecord,
  memberKey,
  type Registry,
  type RegistryWatch,
  rowsOf,
  TopologyRecord,
  type TopologyView,
  topologyView,
} from '../cluster/index.js';
import { leaderOf, SLOTS } from '../ring/index.js';
import { type Config, ConfigError, flagOf, type OptionName } from './config.js';

/** Attempts at compare-and-set: each failure means that somebody else succeeded. */
const PUT_ATTEMPTS_MAX = 20;
const FIRST_NUMBER = 1;
const FIRST_EPOCH = 1;

/** First half of the secret's SHA-256; empty without a secret. */
export function secretFingerprint(secretFile: string | undefined): string {
  if (secretFile === undefined) return '';
  let secret: string;
  try {
    secret = readFileSync(secretFile, 'utf8').trim();
  } catch (cause) {
    throw new ConfigError(`--secret-file cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (secret.length < 16) throw new ConfigError(`--secret-file ${secretFile}: a secret has at least 16 characters`);
  return createHash('sha256').update(secret).digest('hex').slice(0, 32);
}

export function configRecordOf(config: Config): ConfigRecord {
  return {
    rf: config.rf,
    valueBytesMax: config.maxValue,
    secretFingerprint: secretFingerprint(config.secretFile),
  };
}

/** What the node says about itself once it serves. */
export interface Whereabouts {
  readonly address: string;
  readonly unix?: string;
  readonly http: string;
  readonly incarnation: string;
}

export class Membership {
  readonly number: number;
  readonly #registry: Registry;
  readonly #name: string;
  readonly #rf: number;
  readonly #topology: TopologyRecord;
  readonly #members = new Map<string, MemberRecord>();
  #watch: RegistryWatch | undefined;

  private constructor(registry: Registry, config: Config, topology: TopologyRecord, self: BaseMember) {
    this.#registry = registry;
    this.#name = config.name;
    this.#rf = config.rf;
    this.#topology = topology;
    this.number = self.number;
  }

  /** Throws ConfigError when the node does not agree with the cluster, or is no part of it. */
  static async join(registry: Registry, config: Config): Promise<Membership> {
    await agreeOn(registry, configRecordOf(config));
    const founder: BaseMember = { name: config.name, number: FIRST_NUMBER, zone: config.zone, weight: config.weight };
    const founding = TopologyRecord.parse({ counter: 1, current: { epoch: FIRST_EPOCH, base: [founder] } });
    if ((await registry.get('topology')) === undefined) await registry.put('topology', founding, 0);

    const topology = TopologyRecord.parse((await registry.get('topology'))?.value);
    const self = topology.current.base.find(({ name }) => name === config.name);
    if (self === undefined) {
      const names = topology.current.base.map(({ name }) => name).join(', ');
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
    return new Membership(registry, config, topology, self);
  }

  get epoch(): number {
    return this.#topology.current.epoch;
  }

  get view(): TopologyView {
    return topologyView(this.#topology, this.#rf, this.#members);
  }

  /** How many slots this node leads. */
  slotsLed(): number {
    const table = rowsOf(this.view);
    const self = table.members.indexOf(this.#name);
    let count = 0;
    for (let slot = 0; slot < SLOTS; slot++) count += Number(leaderOf(table, slot) === self);
    return count;
  }

  /** Publishes where this node can be reached, if that is news. */
  async announce(whereabouts: Whereabouts): Promise<void> {
    const base = this.#topology.current.base.find(({ name }) => name === this.#name) as BaseMember;
    const mine: MemberRecord = { ...base, ...whereabouts, wanted: 'in' };
    const key = memberKey(this.#name);
    for (let attempt = 0; attempt < PUT_ATTEMPTS_MAX; attempt++) {
      const found = await this.#registry.get(key);
      const isNews =
        found === undefined ||
        JSON.stringify(MemberRecord.parse(found.value)) !== JSON.stringify(MemberRecord.parse(mine));
      if (!isNews || (await this.#registry.put(key, mine, found?.revision ?? 0)) !== undefined) {
        this.#members.set(this.#name, mine);
        return;
      }
    }
    throw new Error(`${this.#registry.location}: ${key} could not be written, others write it all the time`);
  }

  /** Reads all members' records, then calls `changed` whenever one of them brings another view. */
  async follow(changed: (view: TopologyView) => void): Promise<void> {
    const take = (value: unknown): void => {
      const record = MemberRecord.safeParse(value);
      // A record of another release, or of a hand: the address known before stays.
      if (record.success) this.#members.set(record.data.name, record.data);
    };
    for (const { value } of await this.#registry.list('members/')) take(value);
    let shown = JSON.stringify(this.view);
    this.#watch = this.#registry.watch('members/', ({ value }) => {
      take(value);
      const now = JSON.stringify(this.view);
      if (now === shown) return;
      shown = now;
      changed(this.view);
    });
  }

  close(): void {
    this.#watch?.close();
  }
}

/** Writes the cluster's configuration if it has none, else compares. */
async function agreeOn(registry: Registry, mine: ConfigRecord): Promise<void> {
  if ((await registry.get('config')) === undefined) await registry.put('config', mine, 0);
  const found = ConfigRecord.parse((await registry.get('config'))?.value);
  const options: readonly [keyof ConfigRecord, OptionName][] = [
    ['rf', 'rf'],
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
