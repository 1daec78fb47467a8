import { describe, expect, it } from 'vitest';
import { KeyHistory } from '../../../src/cli/verify/key-history.js';

function register(): KeyHistory {
  return new KeyHistory('register');
}

const set = (number: number) => ({ kind: 'set', number }) as const;
const remove = (number: number) => ({ kind: 'delete', number }) as const;

/** A register whose last acknowledged change set this number. */
function registerAt(number: number): KeyHistory {
  const history = register();
  while (history.nextNumber() < number);
  history.acknowledged(set(number));
  return history;
}

describe('a register', () => {
  it('is absent until something was written', () => {
    expect(register().judge(undefined)).toBe('right');
    expect(register().judge(1)).toBe('foreign');
  });

  it('holds what was acknowledged last, and nothing else', () => {
    const history = registerAt(5);
    expect([5, 4, undefined, 6, Number.NaN].map((found) => history.judge(found))).toEqual([
      'right',
      'behind',
      'missing',
      'foreign',
      'foreign',
    ]);
  });

  it('may hold what was written with an unknown outcome, and the value before it', () => {
    const history = registerAt(5);
    history.maybeApplied(set(history.nextNumber()));
    history.maybeApplied(remove(history.nextNumber()));
    expect([5, 6, undefined].map((found) => history.judge(found))).toEqual(['right', 'right', 'right']);
    expect(history.judge(4)).toBe('behind');
  });

  it('has no doubt left after the next acknowledged write', () => {
    const history = registerAt(5);
    history.maybeApplied(set(history.nextNumber()));
    history.acknowledged(set(history.nextNumber()));
    expect([5, 6, 7].map((found) => history.judge(found))).toEqual(['behind', 'behind', 'right']);
  });

  it('must not come back once it was deleted', () => {
    const history = registerAt(5);
    history.acknowledged(remove(history.nextNumber()));
    expect(history.judge(undefined)).toBe('right');
    expect(history.judge(5)).toBe('behind');
  });

  it('must not hold what surely did not run', () => {
    const history = registerAt(5);
    const refused = history.nextNumber();
    expect(history.judge(refused)).toBe('foreign');
  });

  it('that was read in doubt may still be what was acknowledged', () => {
    const history = registerAt(5);
    history.maybeApplied(set(history.nextNumber()));
    expect(history.judge(6)).toBe('right');
    expect(history.judge(5)).toBe('right');
  });

  it('begins anew from what was found wrong', () => {
    const history = registerAt(5);
    history.accept(3);
    expect([3, 5, undefined].map((found) => history.judge(found))).toEqual(['right', 'foreign', 'missing']);
    expect(history.nextNumber()).toBe(6);
  });

  it('rests when too much is in doubt', () => {
    const history = register();
    while (!history.isFull) history.maybeApplied(set(history.nextNumber()));
    expect(history.nextNumber()).toBeLessThan(1_000);
  });
});

/** A counter whose last acknowledged increment gave this count. */
function counterAt(count: number): KeyHistory {
  const history = new KeyHistory('counter');
  history.acknowledged(set(0));
  for (let answer = 1; answer <= count; answer++) expect(history.added(answer)).toBe('right');
  return history;
}

describe('a counter', () => {
  it('holds every increment once', () => {
    const history = counterAt(7);
    expect([7, 6, 8, undefined].map((found) => history.judge(found))).toEqual([
      'right',
      'behind',
      'foreign',
      'missing',
    ]);
  });

  it('may hold increments of unknown outcome, each at most once', () => {
    const history = counterAt(7);
    history.maybeApplied({ kind: 'add' });
    history.maybeApplied({ kind: 'add' });
    expect([6, 7, 8, 9, 10].map((found) => history.judge(found))).toEqual([
      'behind',
      'right',
      'right',
      'right',
      'foreign',
    ]);
  });

  it('is judged by what an increment answers', () => {
    expect(counterAt(7).added(8)).toBe('right');
    expect(counterAt(7).added(7)).toBe('behind');
    expect(counterAt(7).added(9)).toBe('foreign');
    expect(counterAt(7).added(undefined)).toBe('missing');
  });

  it('knows by an answer what became of those in doubt', () => {
    const history = counterAt(7);
    history.maybeApplied({ kind: 'add' });
    expect(history.added(9)).toBe('right');
    expect([8, 9].map((found) => history.judge(found))).toEqual(['behind', 'right']);
  });
});
