/** Who is to be in the list of members next, and where a change that was begun stands. */
import { describe, expect, test } from 'vitest';
import { planned } from '../../../src/cluster/control/planned.js';
import {
  AliveRecord,
  type BaseMember,
  type EpochRecord,
  MemberRecord,
  TopologyRecord,
} from '../../../src/cluster/index.js';

const memberOf = (name: string, weight = 1): BaseMember => ({ name, number: name.charCodeAt(0), zone: 'z', weight });
const listOf = (names: string): BaseMember[] => [...names].map((name) => memberOf(name));
const namesOf = (list: readonly BaseMember[] | undefined): string | undefined => list?.map(({ name }) => name).join('');

interface Situation {
  readonly base: string;
  readonly epoch?: Partial<EpochRecord>;
  /** Whoever has a record and lives. */
  readonly alive: string;
  readonly wanted?: Readonly<Record<string, 'drain' | 'gone'>>;
  readonly weights?: Readonly<Record<string, number>>;
  readonly isDone?: boolean;
  readonly away?: readonly string[];
  /** Those who live with another memory than their record names. */
  readonly restarted?: string;
  /** Those who have not installed the epoch yet. */
  readonly behind?: string;
}

function plan(situation: Situation) {
  const { base, epoch = {}, alive, wanted = {}, weights = {}, isDone = false, away = [] } = situation;
  const { restarted = '', behind = '' } = situation;
  const { current } = TopologyRecord.parse({ counter: 1, current: { epoch: 5, base: listOf(base), ...epoch } });
  const next = (epoch.next ?? []).map(({ name }) => name);
  const members = [...new Set([...base, ...alive, ...next])].map((name) =>
    MemberRecord.parse({
      ...memberOf(name, weights[name] ?? 1),
      address: 'x:1',
      wanted: wanted[name] ?? 'in',
      incarnation: name,
    }),
  );
  const lives = [...alive].map((name) =>
    AliveRecord.parse({
      name,
      incarnation: restarted.includes(name) ? `new-${name}` : name,
      epoch: behind.includes(name) ? 4 : 5,
      syncedEpoch: isDone ? 5 : 0,
      handOvers: isDone ? 0 : 3,
    }),
  );
  const change = planned(
    {
      topology: { current },
      members: new Map(members.map((member) => [member.name, member])),
      alive: new Map(lives.map((record) => [record.name, record])),
    },
    { away, isSettled: away.length === 0 },
  );
  return `${namesOf(change.base)}${change.next ? ` > ${namesOf(change.next)}` : ''}${change.isCancelled ? ' x' : ''}`;
}

describe('a planned change', () => {
  test('begins for all who live and want to be members, at once', () => {
    expect(plan({ base: 'ab', alive: 'abcd' })).toBe('ab > abcd');
  });
  test('begins for who is to leave, but not for the last', () => {
    expect(plan({ base: 'ab', alive: 'ab', wanted: { b: 'drain' } })).toBe('ab > a');
    expect(plan({ base: 'a', alive: 'a', wanted: { a: 'drain' } })).toBe('a');
  });
  test('begins for another weight', () => {
    expect(plan({ base: 'ab', alive: 'ab', weights: { b: 2 } })).toBe('ab > ab');
    expect(plan({ base: 'ab', alive: 'ab' })).toBe('ab');
  });
  test('does not begin while somebody is away, and takes in nobody who left', () => {
    expect(plan({ base: 'ab', alive: 'ac', away: ['b'], epoch: { away: ['b'] } })).toBe('ab');
    expect(plan({ base: 'ab', alive: 'abc', wanted: { c: 'gone' } })).toBe('ab');
  });
  test('takes in nobody whose memory is not the one that its record names', () => {
    expect(plan({ base: 'ab', alive: 'abcd', restarted: 'd' })).toBe('ab > abc');
  });
  test('is neither begun nor called off while somebody lacks the epoch before', () => {
    expect(plan({ base: 'ab', alive: 'abc', behind: 'b' })).toBe('ab');
    expect(plan({ base: 'ab', alive: 'ab', epoch: { next: listOf('a') }, behind: 'b' })).toBe('ab > a');
  });
  test('ends when all are in sync and everything was handed over, and leaves late comers to the next', () => {
    const epoch = { next: listOf('abc') };
    expect(plan({ base: 'ab', alive: 'abcd', epoch })).toBe('ab > abc');
    expect(plan({ base: 'ab', alive: 'abcd', epoch, isDone: true })).toBe('abc');
  });
  test('does not end without the word of everybody', () => {
    expect(plan({ base: 'ab', alive: 'ab', epoch: { next: listOf('abc') }, isDone: true })).toBe('ab > abc');
  });
  test('does not end before whoever was away or returning had part in it', () => {
    const epoch = { next: listOf('ac'), returning: ['c'] };
    expect(plan({ base: 'abc', alive: 'abc', wanted: { b: 'drain' }, epoch, isDone: true })).toBe('abc > ac');
  });
  test('shrinks when one of several who were to come is gone, and is over when all are', () => {
    expect(plan({ base: 'ab', alive: 'abc', epoch: { next: listOf('abcd') }, away: ['d'] })).toBe('ab > abc');
    expect(plan({ base: 'ab', alive: 'ab', epoch: { next: listOf('abc') }, away: ['c'] })).toBe('ab');
  });
  test('is called off when nobody wants it any more, hands back, and then is over', () => {
    const epoch = { next: listOf('a') };
    expect(plan({ base: 'ab', alive: 'ab', epoch })).toBe('ab > a x');
    expect(plan({ base: 'ab', alive: 'ab', epoch: { ...epoch, isCancelled: true } })).toBe('ab > a x');
    expect(plan({ base: 'ab', alive: 'ab', epoch: { ...epoch, isCancelled: true }, isDone: true })).toBe('ab');
  });
  test('is called off although somebody waits for the next one, who then gets a turn', () => {
    const epoch = { next: listOf('abc') };
    const wanted = { c: 'drain' } as const;
    expect(plan({ base: 'ab', alive: 'abcd', epoch, wanted })).toBe('ab > abc x');
    expect(plan({ base: 'ab', alive: 'abcd', wanted })).toBe('ab > abd');
  });
});
