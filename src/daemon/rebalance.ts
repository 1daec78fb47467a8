/**
 * An operator's word on how data moves while the list of members changes: pause, resume, how fast, and back.
 *
 * The first three stand in a record of their own, which any node writes by compare-and-set and all obey: it outlives
 * the change, and the coordinator. To go back is no record: everybody of the list that stands is wanted in it, as it
 * is there, and who is on its way in is asked to leave. The coordinator then calls the change off (planned.ts).
 */
import {
  type MemberRecord,
  memberKey,
  participantsOf,
  RebalanceRecord,
  type Registry,
  type RegistryRecord,
} from '../cluster/index.js';
import { ConfigError } from './config.js';
import { changeMember, readTopology } from './membership.js';

/** Attempts at compare-and-set: each failure means that somebody else succeeded. */
const PUT_ATTEMPTS_MAX = 20;

export type RebalanceWord =
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  | { readonly kind: 'cancel' }
  /** Of each node; 0: as fast as it can. Undefined: what its own configuration says. */
  | { readonly kind: 'rate'; readonly bytesPerSecond: number | undefined };

/**
 * Does as an operator says. Resolves to the record that stands then, undefined when the word was to go back.
 * @throws ConfigError when there is nothing to call off
 */
export async function directRebalance(registry: Registry, word: RebalanceWord): Promise<RegistryRecord | undefined> {
  if (word.kind === 'cancel') {
    await cancelChange(registry);
    return undefined;
  }
  for (let attempt = 0; attempt < PUT_ATTEMPTS_MAX; attempt++) {
    const found = await registry.get('rebalance');
    const before = found === undefined ? { isPaused: false } : RebalanceRecord.parse(found.value);
    const value = RebalanceRecord.parse(afterWord(before, word));
    const revision = await registry.put('rebalance', value, found?.revision ?? 0);
    if (revision !== undefined) return { key: 'rebalance', value, revision };
  }
  throw new Error(`${registry.location}: rebalance could not be written, others write it all the time`);
}

function afterWord(before: RebalanceRecord, word: Exclude<RebalanceWord, { kind: 'cancel' }>): RebalanceRecord {
  if (word.kind === 'rate') return { ...before, bytesPerSecond: word.bytesPerSecond };
  return { ...before, isPaused: word.kind === 'pause' };
}

async function cancelChange(registry: Registry): Promise<void> {
  const { value } = await readTopology(registry);
  const { current } = value;
  if (current.next === undefined)
    throw new ConfigError('the list of members does not change: there is nothing to call off');
  for (const member of participantsOf(current)) {
    // Who has no record is wanted in, as the list has it.
    if ((await registry.get(memberKey(member.name))) === undefined) continue;
    const isStanding = current.base.some(({ name }) => name === member.name);
    const change = isStanding
      ? (found: MemberRecord): MemberRecord => ({ ...found, wanted: 'in', zone: member.zone, weight: member.weight })
      : (found: MemberRecord): MemberRecord => ({ ...found, wanted: 'drain' });
    await changeMember(registry, member, change);
  }
}
