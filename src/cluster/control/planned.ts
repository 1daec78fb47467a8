/**
 * Planned changes of the list of members: who is to be in the base, and where a change that was begun stands. Pure, as
 * all that decide() does; nothing is remembered but what stands in the epoch.
 *
 *   base ─▶ base + next ─▶ base := next              when everybody is in sync and every slot was handed over
 *             │  ▲
 *             ▼  │ somebody who was to join died: the change shrinks
 *           base + next, isCancelled ─▶ base         when every slot went back
 *
 * It is called off when of those who take part in it all are wanted as they stand in the base, and nobody else.
 *
 * A change begins only when nobody is away or returning, and everybody has the epoch before: who misses one must take
 * over what it leads. For that reason it is called off only then, too. Those who are wanted while one is under way
 * wait for the next one, so that several who come together make one change and not several.
 */
import { type AliveRecord, type BaseMember, type EpochRecord, type MemberRecord, participantsOf } from '../records.js';

export interface Candidates {
  readonly topology: { readonly current: EpochRecord };
  readonly members: ReadonlyMap<string, MemberRecord>;
  readonly alive: ReadonlyMap<string, AliveRecord>;
}

export interface Situation {
  readonly away: readonly string[];
  /** Nobody is away or returning. */
  readonly isSettled: boolean;
}

type Change = Pick<EpochRecord, 'base' | 'next' | 'isCancelled'>;

/** What the next epoch is to say of the list of members. */
export function planned(known: Candidates, { away, isSettled }: Situation): Change {
  const { current } = known.topology;
  const { base, next, isCancelled } = current;
  const stays = { base, next, isCancelled };
  const none = { base, next: undefined, isCancelled: false };
  const wanted = wantedBase(known);
  if (next === undefined) {
    const mayBegin = isSettled && areAllIn(known);
    return mayBegin && !isSameList(wanted, base) ? { base, next: [...wanted], isCancelled: false } : stays;
  }
  // Whoever was away or returning had no part in it yet, by the rows of the epoch that stands.
  const wereAllPart = current.away.length + current.returning.length === 0;
  if (isSettled && wereAllPart && isDone(known)) return isCancelled ? none : { ...none, base: next };
  if (isCancelled) return stays;
  const left = next.filter(({ name }) => !away.includes(name) || base.some((member) => member.name === name));
  if (left.length < next.length) return isSameList(left, base) ? none : { base, next: left, isCancelled: false };
  const takesPart = ({ name }: BaseMember): boolean => participantsOf(current).some((member) => member.name === name);
  const isUnwanted = isSameList(wanted.filter(takesPart), base);
  return isUnwanted && areAllIn(known) ? { ...stays, isCancelled: true } : stays;
}

/**
 * Base members that are not asked to leave, and whoever else wants to be one and lives, or is on its way in: whether
 * that one is lost is for probes to say. Who lives with another memory than its record names waits until that is put
 * right: it would be taken for a member that has lost its copies.
 */
function wantedBase({ topology: { current }, members, alive }: Candidates): readonly BaseMember[] {
  const isStaying = ({ name }: BaseMember): boolean => (members.get(name)?.wanted ?? 'in') === 'in';
  const staying = current.base.filter(isStaying).map((member): BaseMember => {
    const { zone, weight } = members.get(member.name) ?? member;
    return { ...member, zone, weight };
  });
  const isHere = ({ name, incarnation }: MemberRecord): boolean =>
    alive.get(name)?.incarnation === incarnation || current.next?.some((one) => one.name === name) === true;
  const joining = [...members.values()]
    .filter((member) => member.wanted === 'in' && member.incarnation !== '' && isHere(member))
    .filter(({ name }) => !current.base.some((member) => member.name === name))
    .map(({ name, number, zone, weight }): BaseMember => ({ name, number, zone, weight }));
  const wanted = [...staying, ...joining];
  // The last ones hold everything there is.
  return wanted.length > 0 ? wanted : current.base;
}

function areAllIn({ topology: { current }, alive }: Candidates): boolean {
  return participantsOf(current).every(({ name }) => alive.get(name)?.epoch === current.epoch);
}

/** Every node says, in this epoch, that it lacks nothing and leads nothing that is another's. */
function isDone({ topology: { current }, alive }: Candidates): boolean {
  return participantsOf(current).every(({ name }) => {
    const record = alive.get(name);
    return record?.epoch === current.epoch && record.syncedEpoch === current.epoch && record.handOvers === 0;
  });
}

const listOf = (members: readonly BaseMember[]): string =>
  JSON.stringify(members.map(({ name, zone, weight }) => [name, zone, weight]).sort());

const isSameList = (a: readonly BaseMember[], b: readonly BaseMember[]): boolean => listOf(a) === listOf(b);
