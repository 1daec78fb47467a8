/** What the coordinator decides, from what it knows at one moment. */
import { describe, expect, test } from 'vitest';
import { type Decision, decide, type Known } from '../../../src/cluster/control/index.js';
import { AliveRecord, type EpochRecord, type MemberRecord, TopologyRecord } from '../../../src/cluster/index.js';

const TTL_MS = 3_000;
const GRACE_MS = 30_000;
const REJOIN_WINDOW_MS = 600_000;
const NOW_MS = 1_000_000;

type Fitness = 'fit' | 'unfit' | 'refused';

interface Situation {
  readonly names: string;
  readonly epoch?: Partial<EpochRecord>;
  /** Members without a lease, and for how long. */
  readonly lapsedForMs?: Readonly<Record<string, number>>;
  /** What probes of the last moment said; members not named were not asked. */
  readonly probed?: Readonly<Record<string, Fitness | readonly [Fitness, number]>>;
  readonly awayForMs?: Readonly<Record<string, number>>;
  readonly syncedIn?: Readonly<Record<string, number>>;
  /** Members that live with another memory than their record says. */
  readonly restarted?: readonly string[];
  /** Of the names, those that have no part in the cluster yet. */
  readonly strangers?: string;
  /** Members that say that they are about to stop. */
  readonly resting?: string;
  /** Members whose memory is in a file. */
  readonly withArena?: string;
  readonly leasesSteadyForMs?: number;
  readonly isFencing?: boolean;
}

/** The cluster as node `a` knows it: members a, b, c ... in epoch 7, all alive unless said otherwise. */
function known(situation: Situation): Known {
  const { epoch = {}, lapsedForMs = {}, probed, awayForMs = {}, syncedIn = {}, restarted = [] } = situation;
  const names = [...situation.names];
  const everybody = names.map((name, index) => ({ name, number: index + 1, zone: '', weight: 1 }));
  const base = everybody.filter(({ name }) => situation.strangers?.includes(name) !== true);
  const away = epoch.away ?? [];
  const unlisted = [...Object.keys(lapsedForMs), ...away.filter((name) => probed?.[name] === undefined)];
  const alive = names
    .filter((name) => !unlisted.includes(name))
    .map((name): AliveRecord => {
      const incarnation = restarted.includes(name) ? `new-${name}` : `old-${name}`;
      return AliveRecord.parse({
        name,
        incarnation,
        epoch: 7,
        syncedEpoch: syncedIn[name] ?? 0,
        isResting: situation.resting?.includes(name) === true,
      });
    });
  const members = everybody.map(
    (member): MemberRecord => ({
      ...member,
      address: 'x:1',
      wanted: 'in',
      incarnation: `old-${member.name}`,
      hasArena: situation.withArena?.includes(member.name) === true,
    }),
  );
  const examined = Object.entries(probed ?? {}).map(([name, outcome]) => {
    const [fitness, rounds] = typeof outcome === 'string' ? [outcome, 1] : outcome;
    return [name, { fitness, rounds }] as const;
  });
  const ago = (times: Readonly<Record<string, number>>) =>
    new Map(Object.entries(times).map(([name, forMs]) => [name, NOW_MS - forMs]));
  return {
    self: 'a',
    isFencing: situation.isFencing ?? false,
    ttlMs: TTL_MS,
    graceMs: GRACE_MS,
    rejoinWindowMs: REJOIN_WINDOW_MS,
    topology: TopologyRecord.parse({ counter: 9, current: { epoch: 7, base, ...epoch } }),
    members: new Map(members.map((member) => [member.name, member])),
    alive: new Map(alive.map((record) => [record.name, record])),
    lapsedAtMs: ago(lapsedForMs),
    leasesChangedAtMs: NOW_MS - (situation.leasesSteadyForMs ?? 0),
    awaySinceMs: ago(awayForMs),
    round:
      probed === undefined ? undefined : { startedAtMs: NOW_MS - 1, finishedAtMs: NOW_MS, examined: new Map(examined) },
  };
}

const decided = (situation: Situation): Decision => decide(known(situation), NOW_MS);

/** What an epoch says of its members, in one line; `-` when nothing is published. */
function published(situation: Situation): string {
  const decision = decided(situation);
  if (decision.kind !== 'publish') return '-';
  const { epoch, away, returning, isFilling } = decision.epoch;
  return `${epoch} away:${away.join('')} returning:${returning.join('')}${isFilling ? ' filling' : ''}`;
}

describe('a member that is about to stop', () => {
  const restingIn = (situation: Situation): readonly string[] => {
    const decision = decided(situation);
    return decision.kind === 'publish' ? decision.epoch.resting : [];
  };

  test('is away at once, though it lives, and is known to have said so', () => {
    const situation = { names: 'abc', resting: 'b' };
    expect(published(situation)).toBe('8 away:b returning:');
    expect(restingIn(situation)).toEqual(['b']);
    expect(published({ names: 'abc', resting: 'a' })).toBe('8 away:a returning:');
  });

  test('is left alone until it ends, and is not probed meanwhile', () => {
    const rests = { away: ['b'], resting: ['b'] };
    const alive: Situation = { names: 'abc', resting: 'b', epoch: rests, probed: { b: 'fit' } };
    expect(decided(alive).kind).toBe('nothing');
    expect(decided({ names: 'abc', epoch: rests }).kind).toBe('nothing');
  });

  test('leaves somebody behind', () => {
    expect(published({ names: 'ab', resting: 'ab' })).toBe('8 away:b returning:');
    expect(published({ names: 'abc', resting: 'abc', epoch: { away: ['c'] } })).toBe('8 away:bc returning:');
  });

  test('has its copies made anew only after the rejoin window if its memory waits for it, else after the grace', () => {
    const gone: Situation = { names: 'abc', epoch: { away: ['b'], resting: ['b'] } };
    const filling = '8 away:b returning: filling';
    expect(published({ ...gone, awayForMs: { b: GRACE_MS } })).toBe(filling);
    expect(published({ ...gone, withArena: 'b', awayForMs: { b: REJOIN_WINDOW_MS - 1 } })).toBe('-');
    expect(published({ ...gone, withArena: 'b', awayForMs: { b: REJOIN_WINDOW_MS } })).toBe(filling);
    const killed: Situation = { ...gone, epoch: { away: ['b'] } };
    expect(published({ ...killed, withArena: 'b', awayForMs: { b: GRACE_MS } })).toBe(filling);
  });

  test('is returning when it lives again and says so no more', () => {
    const back: Situation = { names: 'abc', epoch: { away: ['b'], resting: ['b'] }, probed: { b: 'fit' } };
    expect(published(back)).toBe('8 away: returning:b');
    expect(restingIn(back)).toEqual([]);
  });
});

describe('a node that is to join', () => {
  test('is known by the memory it has now before it is taken in', () => {
    const decision = decided({ names: 'abc', strangers: 'c', restarted: ['c'] });
    expect(decision).toMatchObject({ kind: 'renew', member: { name: 'c', incarnation: 'new-c' } });
  });
});

describe('death', () => {
  test('a cluster in which all live needs nothing', () => {
    expect(decided({ names: 'abc' })).toEqual({ kind: 'nothing' });
  });

  test('the first lapse has all others asked', () => {
    expect(decided({ names: 'abcd', lapsedForMs: { c: 5 } })).toEqual({ kind: 'probe', names: ['b', 'c', 'd'] });
  });

  test('a lapsed lease and a failed probe make a member away, at once where nobody listens', () => {
    expect(published({ names: 'abc', lapsedForMs: { c: 5 }, probed: { b: 'fit', c: 'refused' } })).toBe(
      '8 away:c returning:',
    );
    expect(published({ names: 'abc', lapsedForMs: { c: 5 }, probed: { b: 'fit', c: 'unfit' } })).toBe(
      '8 away:c returning:',
    );
  });

  test('a member without a lease that answers stays', () => {
    expect(decided({ names: 'abc', lapsedForMs: { c: 5_000 }, probed: { b: 'fit', c: 'fit' } })).toEqual({
      kind: 'nothing',
    });
  });

  test('a failed probe alone takes nobody out', () => {
    expect(decided({ names: 'abc', probed: { b: 'fit', c: 'refused' } })).toEqual({ kind: 'nothing' });
  });

  test('two members killed together go in one epoch, though only one lease has lapsed', () => {
    const probed = { b: 'fit', c: 'fit', d: 'refused', e: 'refused' } as const;
    expect(published({ names: 'abcde', lapsedForMs: { d: 5 }, probed })).toBe('8 away:de returning:');
  });

  test('a member that has a lease and is silent is asked twice, and then goes into the same epoch', () => {
    const situation = { names: 'abcde', lapsedForMs: { d: 5 } };
    const once = { b: 'fit', c: 'fit', d: 'refused', e: 'unfit' } as const;
    expect(decided({ ...situation, probed: once })).toEqual({ kind: 'probe', names: ['b', 'c', 'd', 'e'] });
    expect(published({ ...situation, probed: { ...once, e: ['unfit', 2] } })).toBe('8 away:de returning:');
  });

  test('an answer given before the lease lapsed does not count', () => {
    const before = known({ names: 'abc', lapsedForMs: { c: 5 }, probed: { b: 'fit', c: 'refused' } });
    const late = { ...before, lapsedAtMs: new Map([['c', NOW_MS]]) };
    expect(decide(late, NOW_MS)).toEqual({ kind: 'probe', names: ['b', 'c'] });
  });

  test('more than half are not believed to be gone before the registry has been steady for a lease', () => {
    const situation: Situation = {
      names: 'abc',
      lapsedForMs: { b: 5, c: 5 },
      probed: { b: 'refused', c: 'refused' },
    };
    expect(published({ ...situation, leasesSteadyForMs: TTL_MS - 1 })).toBe('-');
    expect(published({ ...situation, leasesSteadyForMs: TTL_MS })).toBe('8 away:bc returning:');
  });

  test('where more than half fail, a lease protects', () => {
    const probed = { b: 'refused', c: 'refused', d: 'refused', e: 'fit' } as const;
    expect(published({ names: 'abcde', lapsedForMs: { b: 5 }, probed })).toBe('8 away:b returning:');
  });

  test('a cluster that fences waits a lease longer for a silent member, and takes out none that has a lease', () => {
    const situation = {
      names: 'abcde',
      isFencing: true,
      probed: { b: 'fit', c: 'fit', d: 'unfit', e: 'unfit' },
    } as const;
    expect(published({ ...situation, lapsedForMs: { d: TTL_MS - 1 } })).toBe('-');
    expect(published({ ...situation, lapsedForMs: { d: TTL_MS } })).toBe('8 away:d returning:');
    const killed = { ...situation.probed, d: 'refused' } as const;
    expect(published({ ...situation, probed: killed, lapsedForMs: { d: 5 } })).toBe('8 away:d returning:');
  });
});

describe('return', () => {
  const away = { away: ['c'] };

  test('a member that is away and has a lease is asked before it is believed', () => {
    const { round, ...unasked } = known({ names: 'abc', epoch: away, probed: { c: 'fit' } });
    expect(decide({ ...unasked, round: undefined }, NOW_MS)).toEqual({ kind: 'probe', names: ['c'] });
    expect(published({ names: 'abc', epoch: away, probed: { c: 'unfit' } })).toBe('-');
    expect(published({ names: 'abc', epoch: away, probed: { c: 'fit' } })).toBe('8 away: returning:c');
  });

  test('several come back in one epoch, and others die in it', () => {
    const epoch = { away: ['c', 'd'], returning: ['e'] };
    const probed = { b: 'refused', c: 'fit', d: 'fit', e: 'fit', f: 'fit' } as const;
    const situation = { names: 'abcdef', epoch, probed, lapsedForMs: { b: 5 }, syncedIn: { e: 7 } };
    expect(published(situation)).toBe('8 away:b returning:cd');
  });

  test('a returning member is restored when it is in sync in this very epoch', () => {
    const situation = { names: 'abc', epoch: { returning: ['c'] } };
    expect(published({ ...situation, syncedIn: { c: 6 } })).toBe('-');
    expect(published({ ...situation, syncedIn: { c: 7 } })).toBe('8 away: returning:');
  });

  test('a member with another memory is returning, and then gets its record renewed', () => {
    expect(published({ names: 'abc', restarted: ['b'] })).toBe('8 away: returning:b');
    expect(decided({ names: 'abc', epoch: { returning: ['b'] }, restarted: ['b'], syncedIn: { b: 7 } })).toMatchObject({
      kind: 'renew',
      member: { name: 'b', incarnation: 'new-b' },
    });
  });

  test('this node, restarted empty, does not spare itself', () => {
    expect(published({ names: 'abc', restarted: ['a'] })).toBe('8 away: returning:a');
  });

  test('stand-ins are filled after the grace period, until nobody is away', () => {
    expect(published({ names: 'abc', epoch: away, awayForMs: { c: GRACE_MS - 1 } })).toBe('-');
    expect(published({ names: 'abc', epoch: away, awayForMs: { c: GRACE_MS } })).toBe('8 away:c returning: filling');
    const filling = { away: ['c'], isFilling: true };
    expect(published({ names: 'abc', epoch: filling, probed: { c: 'fit' } })).toBe('8 away: returning:c');
  });
});
