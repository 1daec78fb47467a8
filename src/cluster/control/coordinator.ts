/**
 * What the coordinator does next: a pure function of what it knows. It never remembers a phase; whoever is elected
 * derives everything from the records and goes on where the other was.
 *
 * Death. A member counts as dead when its lease has lapsed *and* the probes fail. The first lapse has all members
 * probed, and those that fail go into the same epoch: killed ones at once (nobody listens), silent ones when they were
 * silent for two rounds. When more than half would go at once the fault is likelier to be the registry's, or ours: then
 * only lapsed leases count, and only when no lease has come or gone for a lease's life. A cluster that fences waits,
 * for a silent member, until its lease is over even if it was taken away early.
 *
 * Rest. A member that is about to stop, and says so, is away at once: others lead what it led, and ask it for what they
 * lack while it still lives. It is expected back, and if its memory is in a file nothing is made anew for it before the
 * rejoin window is over.
 *
 * Return. A member that is away and lives again is `returning`; so is one whose memory is not the one that was known:
 * it restarted empty, and is not the same copy. Returning members that say they are in sync in this very epoch are
 * restored. After the grace period stand-ins get old data too.
 *
 * Membership. Who is wanted and lives is to be in the base, with the weight and zone its record says (planned.ts);
 * while data moves for that, deaths and returns are dealt with as ever.
 *
 * With one copy of everything nothing is different: others lead a lost node's slots, without its items.
 */
import {
  type AliveRecord,
  type EpochRecord,
  type MemberRecord,
  participantsOf,
  type TopologyRecord,
} from '../records.js';
import { type ProbeRound, ROUND_FRESH_MS } from './failure.js';
import { planned } from './planned.js';

/** A single round of silence may be a pause of ours. */
const SILENT_ROUNDS = 2;

export interface Known {
  readonly self: string;
  readonly isFencing: boolean;
  readonly ttlMs: number;
  readonly graceMs: number;
  /** The grace of a member that stopped in good order and kept its memory. */
  readonly rejoinWindowMs: number;
  readonly topology: TopologyRecord;
  readonly members: ReadonlyMap<string, MemberRecord>;
  readonly alive: ReadonlyMap<string, AliveRecord>;
  /** Members without a lease that may be judged for it, and since when. */
  readonly lapsedAtMs: ReadonlyMap<string, number>;
  /** When a lease last began or lapsed. */
  readonly leasesChangedAtMs: number;
  /** Since when each member has been away, as far as this node saw it. */
  readonly awaySinceMs: ReadonlyMap<string, number>;
  readonly round: ProbeRound | undefined;
}

export type Decision =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'probe'; readonly names: readonly string[] }
  | { readonly kind: 'publish'; readonly epoch: EpochRecord }
  /** The member has another memory than its record says, and the topology knows. */
  | { readonly kind: 'renew'; readonly member: MemberRecord };

const NOTHING: Decision = { kind: 'nothing' };

export function decide(known: Known, nowMs: number): Decision {
  const round = freshRound(known, nowMs);
  const unknown = namesToProbe(known, round);
  if (unknown.length > 0) return { kind: 'probe', names: unknown };
  const dead = deadMembers(known, round, nowMs);
  if (dead === 'ask again') return { kind: 'probe', names: everybodyElse(known) };

  const epoch = nextEpoch(known, { dead, round, nowMs });
  if (epoch !== undefined) return { kind: 'publish', epoch };
  return renewal(known, (name) => known.topology.current.returning.includes(name));
}

function freshRound({ round }: Known, nowMs: number): ProbeRound | undefined {
  return round !== undefined && nowMs - round.finishedAtMs < ROUND_FRESH_MS ? round : undefined;
}

/** Those to be asked, if something depends on a member that no probe has told of. */
function namesToProbe(known: Known, round: ProbeRound | undefined): readonly string[] {
  const isUnasked = (name: string, sinceMs: number) =>
    round === undefined || round.startedAtMs < sinceMs || !round.examined.has(name);
  if ([...known.lapsedAtMs].some(([name, sinceMs]) => isJudged(known, name) && isUnasked(name, sinceMs))) {
    return everybodyElse(known);
  }
  // All or none: a round replaces the one before.
  const back = listedAway(known);
  return back.some((name) => isUnasked(name, 0)) ? back : [];
}

function isJudged({ self, topology: { current } }: Known, name: string): boolean {
  return (
    name !== self && participantsOf(current).some((member) => member.name === name) && !current.away.includes(name)
  );
}

function everybodyElse(known: Known): readonly string[] {
  const names = participantsOf(known.topology.current)
    .map(({ name }) => name)
    .filter((name) => isJudged(known, name));
  return [...names, ...listedAway(known)];
}

/** Members that are away and have a lease, and are not about to end. This node needs no probe to know that it lives. */
function listedAway({ self, alive, topology: { current } }: Known): readonly string[] {
  return current.away.filter((name) => name !== self && alive.get(name)?.isResting === false);
}

/** Who wants to rest, as long as somebody is left. */
function restingMembers({ alive, topology: { current } }: Known, dead: readonly string[]): readonly string[] {
  const isThere = (name: string): boolean => !current.away.includes(name) && !dead.includes(name);
  const present = participantsOf(current).flatMap(({ name }) => (isThere(name) ? [name] : []));
  const resting = present.filter((name) => alive.get(name)?.isResting === true);
  return resting.length < present.length ? resting : resting.slice(1);
}

/** Those that are to be away from now on. */
function deadMembers(known: Known, round: ProbeRound | undefined, nowMs: number): readonly string[] | 'ask again' {
  const { current } = known.topology;
  const subjects = participantsOf(current)
    .map(({ name }) => name)
    .filter((name) => isJudged(known, name));
  const isFailing = (name: string) => (round?.examined.get(name)?.fitness ?? 'fit') !== 'fit';
  const isRefused = (name: string) => round?.examined.get(name)?.fitness === 'refused';
  const lapsed = subjects.filter((name) => known.lapsedAtMs.has(name) && isFailing(name));
  if (lapsed.length === 0) return [];

  const leased = subjects.filter((name) => known.alive.has(name) && isFailing(name));
  const present = participantsOf(current).length - current.away.length;
  if ((lapsed.length + leased.length) * 2 > present) {
    if (lapsed.length * 2 > present && nowMs - known.leasesChangedAtMs < known.ttlMs) return [];
    return lapsed.filter((name) => isOver(known, name, isRefused(name), nowMs));
  }
  if (known.isFencing) return lapsed.filter((name) => isOver(known, name, isRefused(name), nowMs));
  const isSettled = (name: string) =>
    isRefused(name) || (round?.examined.get(name)?.rounds ?? SILENT_ROUNDS) >= SILENT_ROUNDS;
  return leased.every(isSettled) ? [...lapsed, ...leased] : 'ask again';
}

/** Whether a member without a lease cannot be acknowledging writes any more. */
function isOver({ isFencing, lapsedAtMs, ttlMs }: Known, name: string, isRefused: boolean, nowMs: number): boolean {
  return !isFencing || isRefused || nowMs - (lapsedAtMs.get(name) ?? nowMs) >= ttlMs;
}

interface Findings {
  readonly dead: readonly string[];
  readonly round: ProbeRound | undefined;
  readonly nowMs: number;
}

/** The epoch that takes in everything that is known, undefined when that is the one there is. */
function nextEpoch(known: Known, { dead, round, nowMs }: Findings): EpochRecord | undefined {
  const { current } = known.topology;
  const isBack = (name: string) =>
    known.alive.get(name)?.isResting === false && (name === known.self || round?.examined.get(name)?.fitness === 'fit');
  const goesToRest = restingMembers(known, dead);
  const isAway = (name: string) =>
    current.away.includes(name) ? !isBack(name) : dead.includes(name) || goesToRest.includes(name);
  const isReturning = (name: string) => {
    if (current.away.includes(name)) return true;
    return current.returning.includes(name) ? !isRestored(known, name) : hasOtherMemory(known, name);
  };
  const names = participantsOf(current).map(({ name }) => name);
  const away = names.filter(isAway);
  const returning = names.filter((name) => !away.includes(name) && isReturning(name));
  const resting = away.filter((name) => goesToRest.includes(name) || current.resting.includes(name));
  const graceOf = (name: string): number =>
    resting.includes(name) && known.members.get(name)?.hasArena === true ? known.rejoinWindowMs : known.graceMs;
  const isGraceOver = away.some((name) => nowMs - (known.awaySinceMs.get(name) ?? nowMs) >= graceOf(name));
  const isFilling = away.length > 0 && (current.isFilling || isGraceOver);

  const epoch: EpochRecord = { ...current, epoch: current.epoch + 1, away, resting, returning, isFilling };
  const isSettled = away.length + returning.length === 0;
  const after = { ...epoch, ...planned(known, { away, isSettled }) };
  const isSame = JSON.stringify({ ...after, epoch: 0 }) === JSON.stringify({ ...current, epoch: 0 });
  return isSame ? undefined : withoutStrangers(after);
}

/** Whoever has no part any more is neither away nor back. */
function withoutStrangers(epoch: EpochRecord): EpochRecord {
  const isPart = (name: string): boolean => participantsOf(epoch).some((member) => member.name === name);
  const { away, resting, returning } = epoch;
  return {
    ...epoch,
    away: away.filter(isPart),
    resting: resting.filter(isPart),
    returning: returning.filter(isPart),
  };
}

function hasOtherMemory({ alive, members }: Known, name: string): boolean {
  const [told, recorded] = [alive.get(name)?.incarnation, members.get(name)?.incarnation];
  return told !== undefined && recorded !== undefined && recorded !== '' && told !== recorded;
}

function isRestored(known: Known, name: string): boolean {
  const { epoch } = known.topology.current;
  const record = known.alive.get(name);
  return record?.epoch === epoch && record.syncedEpoch === epoch && !hasOtherMemory(known, name);
}

/** Who has no part yet has no copies to lose, so any memory may be its. */
function renewal(known: Known, isDue: (name: string) => boolean): Decision {
  const parts = participantsOf(known.topology.current);
  const isStranger = (name: string): boolean => parts.every((member) => member.name !== name);
  for (const [name, record] of known.members) {
    const incarnation = known.alive.get(name)?.incarnation;
    if (incarnation === undefined || !(isStranger(name) || isDue(name))) continue;
    if (hasOtherMemory(known, name)) return { kind: 'renew', member: { ...record, incarnation } };
  }
  return NOTHING;
}
