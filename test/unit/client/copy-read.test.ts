import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CopyRead } from '../../../src/client/copy-read.js';

/** What each copy has: a version with a value, a version of a delete, or nothing to say. */
interface Copy {
  readonly version: number;
  readonly isMiss: boolean;
  readonly fails: boolean;
}

const versionText = (version: number): string => (version === 0 ? '' : String(version).padStart(28, '0'));

/** Runs a read over the copies, which answer in the order in which they were asked. */
function run(copies: readonly Copy[], needed: number): { state: string; newest: Copy | undefined; asked: number } {
  const read = new CopyRead<Copy, Copy>(copies, needed);
  const open: Copy[] = [];
  let asked = 0;
  const ask = (): void => {
    for (let copy = read.next(); copy !== undefined; copy = read.next()) {
      open.push(copy);
      asked++;
    }
  };
  for (ask(); read.state === 'waiting'; ask()) {
    const copy = open.shift();
    if (copy === undefined) throw new Error('the read waits for nobody');
    if (copy.fails) read.failed();
    else read.answered({ version: versionText(copy.version), isMiss: copy.isMiss, answer: copy });
  }
  return { state: read.state, newest: read.newest, asked };
}

const value = (version: number): Copy => ({ version, isMiss: false, fails: false });
const miss: Copy = { version: 0, isMiss: true, fails: false };
const failure: Copy = { version: 0, isMiss: true, fails: true };

describe('a read of several copies', () => {
  it('gives the newest of what it needs', () => {
    expect(run([value(1), value(3)], 2)).toEqual({ state: 'done', newest: value(3), asked: 2 });
    expect(run([value(3), value(1)], 2)).toEqual({ state: 'done', newest: value(3), asked: 2 });
  });

  it('takes a value for better than a miss, and the newer version of a delete for better than a value', () => {
    expect(run([miss, value(1)], 2).newest).toEqual(value(1));
    expect(run([value(1), miss], 2).newest).toEqual(value(1));
    const deleted = { ...miss, version: 2 };
    expect(run([value(1), deleted], 2).newest).toEqual(deleted);
    expect(run([deleted, value(3)], 2).newest).toEqual(value(3));
  });

  it('asks no more copies than it needs, and the next one for each that fails', () => {
    expect(run([value(1), value(2), value(3)], 1)).toMatchObject({ asked: 1, newest: value(1) });
    expect(run([failure, value(2), value(3)], 1)).toMatchObject({ asked: 2, newest: value(2) });
    expect(run([failure, failure], 1)).toMatchObject({ state: 'short', asked: 2 });
  });

  it('is short as soon as too few can still answer', () => {
    const read = new CopyRead<string, string>(['b', 'c'], 2);
    read.next();
    read.next();
    read.failed();
    expect(read.state).toBe('short');
  });

  it('is done or short, and done exactly when enough copies can answer', () => {
    const copy = fc.record({ version: fc.nat({ max: 5 }), isMiss: fc.boolean(), fails: fc.boolean() });
    fc.assert(
      fc.property(fc.array(copy, { maxLength: 6 }), fc.integer({ min: 1, max: 4 }), (copies, needed) => {
        const { state, newest } = run(copies, needed);
        const answering = copies.filter(({ fails }) => !fails).slice(0, needed);
        expect(state).toBe(answering.length < needed ? 'short' : 'done');
        if (state === 'done') expect(newest?.version).toBe(Math.max(...answering.map(({ version }) => version)));
      }),
    );
  });
});
