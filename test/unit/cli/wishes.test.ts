import { describe, expect, it } from 'vitest';
import { membersAfter, parseAdd, parseRemove, parseReweight, parseRezone } from '../../../src/cli/plan/wishes.js';

const MEMBERS = [
  { name: 'a', weight: 1, zone: 'x' },
  { name: 'b', weight: 2, zone: 'y' },
];

describe('a wish', () => {
  it('to add has a weight and a zone, or the usual ones', () => {
    expect(parseAdd('c')).toEqual({ kind: 'add', name: 'c', weight: 1, zone: 'default' });
    expect(parseAdd('c:0.5')).toEqual({ kind: 'add', name: 'c', weight: 0.5, zone: 'default' });
    expect(parseAdd('c:2:x')).toEqual({ kind: 'add', name: 'c', weight: 2, zone: 'x' });
    expect(parseAdd('c::x')).toEqual({ kind: 'add', name: 'c', weight: 1, zone: 'x' });
  });

  it.each(['', ':2', 'c d', '__proto__', 'c:0', 'c:-1', 'c:65', 'c:two', 'c:1:x:y'])('to add cannot be %j', (text) => {
    expect(() => parseAdd(text)).toThrow();
  });

  it.each(['', 'a', 'a=', 'a=0', 'a=1=2', '=1'])('to reweight cannot be %j', (text) => {
    expect(() => parseReweight(text)).toThrow();
  });

  it.each(['', 'a', 'a=', 'a=x=y', '=x'])('to be in another zone cannot be %j', (text) => {
    expect(() => parseRezone(text)).toThrow();
  });
});

describe('the members after some wishes', () => {
  it('are those before, with what was wished', () => {
    const wishes = [parseAdd('c:3:z'), parseRemove('a'), parseReweight('b=0.5')];
    expect(membersAfter(MEMBERS, wishes)).toEqual([
      { name: 'b', weight: 0.5, zone: 'y' },
      { name: 'c', weight: 3, zone: 'z' },
    ]);
    expect(MEMBERS[1]?.weight).toBe(2);
  });

  it('may have both another weight and another zone', () => {
    expect(membersAfter(MEMBERS, [parseRezone('a=z'), parseReweight('a=4')])[0]).toEqual({
      name: 'a',
      weight: 4,
      zone: 'z',
    });
  });

  it('are not told when the wishes do not fit them', () => {
    expect(() => membersAfter(MEMBERS, [])).toThrow('what is to change');
    expect(() => membersAfter(MEMBERS, [parseAdd('a')])).toThrow("'a' is a member already");
    expect(() => membersAfter(MEMBERS, [parseRemove('c')])).toThrow('there are a, b');
    expect(() => membersAfter(MEMBERS, [parseReweight('c=2')])).toThrow("no node 'c'");
    expect(() => membersAfter(MEMBERS, [parseRemove('a'), parseAdd('a')])).toThrow('named twice');
    expect(() => membersAfter(MEMBERS, [parseRezone('a=x'), parseRezone('a=y')])).toThrow('named twice');
    expect(() => membersAfter(MEMBERS, [parseRemove('a'), parseRezone('a=y')])).toThrow('named twice');
    expect(() => membersAfter(MEMBERS, [parseRemove('a'), parseRemove('b')])).toThrow('No node would be left');
  });
});
