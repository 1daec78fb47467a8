/**
 * What one key may hold, given what its only writer did to it: the judge of `henge verify`, without a clock or a
 * cluster.
 *
 * The history is a set of possible states. An acknowledged change leaves what it made; one of unknown outcome adds what
 * it would make of each state; one that surely did not run adds nothing. What is read must be one of the states. So
 * doubt widens what is allowed by exactly the values in doubt, and the next acknowledgement ends it. The caller begins
 * no change while one of unknown outcome may still run.
 *
 * A register's values are numbers that only grow, so that an older one is told from one that nobody wrote; a counter's
 * value is its count. Looking does not narrow the set: a value in doubt that was read once was never promised to stay.
 */

/** The number under the key; undefined: the key is absent. NaN: something that no writer of ours stores. */
export type State = number | undefined;

/** What leaves one state, whatever was there. A counter is only ever set to 0. */
export interface Replacement {
  readonly kind: 'set' | 'delete';
  readonly number: number;
}
export type Change = Replacement | { readonly kind: 'add' };

/**
 * - `missing`: absent, and should not be.
 * - `behind`: an older value than allowed, or one that was deleted.
 * - `foreign`: a value that was never written, was refused, or was counted twice.
 */
export type Judgement = 'right' | 'missing' | 'behind' | 'foreign';

/** Values in doubt at once. At so many the writer lets the key rest, for its set would only grow. */
const STATES_MAX = 256;

export class KeyHistory {
  #states: Set<State> = new Set([undefined]);
  /** What is below this is older than the last acknowledged change. */
  #floor = 0;
  #tried = 0;

  constructor(readonly kind: 'register' | 'counter') {}

  /** The number of a register's next change: greater than those of all before. */
  nextNumber(): number {
    return ++this.#tried;
  }

  /** Whether a condition "if absent" must hold. */
  get isAbsent(): boolean {
    return this.#states.size === 1 && this.#states.has(undefined);
  }

  get isFull(): boolean {
    return this.#states.size >= STATES_MAX;
  }

  /** For people: what may be there. */
  get allowed(): string {
    const states = [...this.#states].map((state) => (state === undefined ? 'nothing' : String(state)));
    return states.length <= 3 ? states.join(' or ') : `${states[0]} or one of ${states.length - 1} in doubt`;
  }

  acknowledged(change: Replacement): void {
    this.#states = new Set([after(change, undefined)]);
    this.#floor = change.number;
  }

  maybeApplied(change: Change): void {
    for (const state of [...this.#states]) this.#states.add(after(change, state));
  }

  judge(found: State): Judgement {
    if (this.#states.has(found)) return 'right';
    if (found === undefined) return 'missing';
    return found < this.#floor ? 'behind' : 'foreign';
  }

  /** Judges what an acknowledged increment answered, and takes it as the count from now on. */
  added(answer: State): Judgement {
    const judgement = this.judge(answer === undefined ? undefined : answer - 1);
    this.accept(answer);
    return judgement;
  }

  /** Begins anew from what is there, so that one fault is counted once. */
  accept(found: State): void {
    this.#states = new Set([found]);
    this.#floor = this.kind === 'register' ? this.#tried : (found ?? 0);
  }
}

function after(change: Change, state: State): State {
  if (change.kind === 'set') return change.number;
  return change.kind === 'delete' || state === undefined ? undefined : state + 1;
}
