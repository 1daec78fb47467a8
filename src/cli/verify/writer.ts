/**
 * One loop of `henge verify`: it alone writes some keys, one call at a time, reads them back, and judges what it finds.
 *
 * Half of its turns read a key, half change one and then read it. A change of unknown outcome may still be on its way,
 * so its key is only read until it can no longer run; that is what lets key-history.ts judge. A wrong value is looked
 * at again a few times: if it comes right it was stale, if it stays it is lost. Time, chance and the cache are passed
 * in.
 */
import { HengeError } from '../../client/index.js';
import type { Cache } from './cache.js';
import type { Findings, WrongValue } from './findings.js';
import { type Change, type Judgement, KeyHistory, type Replacement, type State } from './key-history.js';

export interface WriterWorld {
  /** Milliseconds since the run began. */
  now(): number;
  /** Milliseconds for which this process stood still so far. */
  stalledMs(): number;
  sleep(ms: number): Promise<void>;
  random(): number;
  /** Whether a node has evicted anything since the run began, asked anew. */
  hasEvicted(): Promise<boolean>;
  /** After so long a change of unknown outcome runs no more. */
  readonly restMs: number;
}

/** Resolves when the next call is due: false when there is none. */
export type Turn = () => Promise<boolean>;

/** Looks at a wrong value before it is called lost, over half a second: far longer than any copy may lag. */
const LOOKS = 5;
const LOOK_GAP_MS = 100;
/** Looks that get no answer, before the verdict falls on what was seen last. */
const LOOKS_UNANSWERED_MAX = 50;

/** Keys without an answer in a row, at which a writer gives up at the end: all is gone, and each costs a deadline. */
const UNREAD_IN_ROW_MAX = 10;

/** Parts of the changes of a register that is there. */
const REPLACE_PART = 0.4;
const DELETE_PART = 0.2;

interface OwnKey {
  readonly name: string;
  readonly history: KeyHistory;
  restsUntilMs: number;
}

type Outcome<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'failed'; readonly maybeApplied: boolean };

export class Writer {
  readonly #keys: readonly OwnKey[];

  /** Every fourth key is a counter. */
  constructor(
    names: readonly string[],
    private readonly cache: Cache,
    private readonly findings: Findings,
    private readonly world: WriterWorld,
  ) {
    this.#keys = names.map((name, index) => ({
      name,
      history: new KeyHistory(index % 4 === 3 ? 'counter' : 'register'),
      restsUntilMs: 0,
    }));
  }

  /** Writes every key once, as long as there are turns. */
  async fill(turn: Turn): Promise<void> {
    for (const key of this.#keys) {
      if (!(await turn())) return;
      await this.#change(key);
    }
  }

  /** Writes and reads keys at random, as long as there are turns. */
  async run(turn: Turn): Promise<void> {
    while (await turn()) {
      const key = this.#keys[Math.floor(this.world.random() * this.#keys.length)] as OwnKey;
      if (this.world.random() < 0.5 || this.#isResting(key)) {
        await this.#look(key);
        continue;
      }
      await this.#change(key);
      if (!(await turn())) return;
      await this.#look(key);
    }
  }

  /** Reads every key a last time. */
  async check(turn: Turn): Promise<void> {
    let [unread, inRow] = [0, 0];
    for (const key of this.#keys) {
      await turn();
      const isRead = inRow < UNREAD_IN_ROW_MAX && (await this.#lookPatiently(key, unread === 0 ? LOOKS : 1));
      inRow = isRead ? 0 : inRow + 1;
      if (!isRead) unread++;
    }
    this.findings.unread += unread;
  }

  async #lookPatiently(key: OwnKey, looks: number): Promise<boolean> {
    for (let look = 0; look < looks; look++) {
      if (look > 0) await this.world.sleep(LOOK_GAP_MS);
      if (await this.#look(key)) return true;
    }
    return false;
  }

  #isResting(key: OwnKey): boolean {
    return key.history.isFull || this.world.now() < key.restsUntilMs;
  }

  #change(key: OwnKey): Promise<void> {
    if (key.history.kind === 'counter') return key.history.isAbsent ? this.#found(key) : this.#count(key);
    const number = key.history.nextNumber();
    const draw = this.world.random();
    if (key.history.isAbsent) return draw < 0.5 ? this.#create(key, number) : this.#set(key, number);
    if (draw < REPLACE_PART) return this.#replace(key, number);
    return draw < REPLACE_PART + DELETE_PART ? this.#remove(key, number) : this.#set(key, number);
  }

  async #set(key: OwnKey, number: number): Promise<void> {
    const change = { kind: 'set', number } as const;
    const outcome = await this.#write(key, change, () => this.cache.set(key.name, storedValue(key, number)));
    if (outcome.kind === 'done') key.history.acknowledged(change);
  }

  async #create(key: OwnKey, number: number): Promise<void> {
    const change = { kind: 'set', number } as const;
    const outcome = await this.#write(key, change, () => this.cache.create(key.name, storedValue(key, number)));
    await this.#conditional(key, change, outcome);
  }

  async #replace(key: OwnKey, number: number): Promise<void> {
    const change = { kind: 'set', number } as const;
    const entry = await this.#call('read', () => this.cache.read(key.name));
    if (entry.kind === 'failed' || !(await this.#judge(key, entry.value?.value)) || entry.value === undefined) return;
    const { version } = entry.value;
    const outcome = await this.#write(key, change, () =>
      this.cache.replace(key.name, storedValue(key, number), version),
    );
    await this.#conditional(key, change, outcome);
  }

  /** A condition that did not hold says that something else is there than was read: so what is there is judged. */
  async #conditional(key: OwnKey, change: Replacement, outcome: Outcome<boolean>): Promise<void> {
    if (outcome.kind === 'failed') return;
    if (outcome.value) key.history.acknowledged(change);
    else await this.#look(key);
  }

  async #remove(key: OwnKey, number: number): Promise<void> {
    const change = { kind: 'delete', number } as const;
    const outcome = await this.#write(key, change, () => this.cache.remove(key.name));
    if (outcome.kind === 'failed') return;
    // What it deleted is unknown, but nothing is known too: a key that had to be there and was not.
    if (!outcome.value && key.history.judge(undefined) === 'missing') await this.#conclude(key, 'missing', undefined);
    key.history.acknowledged(change);
  }

  /** Lets a counter begin, or begin anew. */
  async #found(key: OwnKey): Promise<void> {
    const change = { kind: 'set', number: 0 } as const;
    const outcome = await this.#write(key, change, () => this.cache.set(key.name, 0));
    if (outcome.kind === 'done') key.history.acknowledged(change);
  }

  async #count(key: OwnKey): Promise<void> {
    const outcome = await this.#write(key, { kind: 'add' }, () => this.cache.increment(key.name));
    if (outcome.kind === 'failed') return;
    const expected = key.history.allowed;
    const judgement = key.history.added(outcome.value);
    // It counted on from what it found, so looking again would find no better.
    if (judgement !== 'right') await this.#conclude(key, judgement, countedFrom(outcome.value), expected);
  }

  /** Reads and judges. False when there was no answer. */
  async #look(key: OwnKey): Promise<boolean> {
    const outcome = await this.#call('read', () => this.cache.read(key.name));
    if (outcome.kind === 'failed') return false;
    await this.#judge(key, outcome.value?.value);
    return true;
  }

  /** Judges a value, after looking again when it is wrong. True when it was right at once. */
  async #judge(key: OwnKey, value: unknown): Promise<boolean> {
    let found = stateIn(key, value);
    let judgement = key.history.judge(found);
    if (judgement === 'right') return true;
    const first = found;
    let [looks, unanswered] = [0, 0];
    while (looks < LOOKS && unanswered < LOOKS_UNANSWERED_MAX) {
      await this.world.sleep(LOOK_GAP_MS);
      const again = await this.#call('read', () => this.cache.read(key.name));
      if (again.kind === 'failed') {
        unanswered++;
        continue;
      }
      looks++;
      found = stateIn(key, again.value?.value);
      judgement = key.history.judge(found);
      if (judgement === 'right') {
        this.#report(key, 'stale', first);
        return false;
      }
    }
    await this.#conclude(key, judgement, found);
    key.history.accept(found);
    return false;
  }

  async #conclude(key: OwnKey, judgement: Judgement, found: State, expected = key.history.allowed): Promise<void> {
    if (judgement === 'missing') {
      this.#report(key, (await this.world.hasEvicted()) ? 'evicted' : 'lost', found, expected);
    } else {
      this.#report(key, judgement === 'foreign' ? 'foreign' : 'lost', found, expected);
    }
  }

  #report(key: OwnKey, kind: WrongValue, found: State, expected = key.history.allowed): void {
    const told = found === undefined ? 'nothing' : Number.isNaN(found) ? 'something else' : String(found);
    this.findings.wrong({ kind, key: key.name, expected, found: told, atMs: Math.round(this.world.now()) });
  }

  async #write<T>(key: OwnKey, change: Change, work: () => Promise<T>): Promise<Outcome<T>> {
    const outcome = await this.#call('write', work);
    if (outcome.kind === 'failed' && outcome.maybeApplied) {
      key.history.maybeApplied(change);
      key.restsUntilMs = this.world.now() + this.world.restMs;
    }
    return outcome;
  }

  async #call<T>(kind: 'read' | 'write', work: () => Promise<T>): Promise<Outcome<T>> {
    const [begunAtMs, stalledMs] = [this.world.now(), this.world.stalledMs()];
    const outcome = await outcomeOf(work, (code) => this.findings.failed(code));
    if (kind === 'read') this.findings.reads++;
    else this.findings.writes++;
    const waitMs = this.world.now() - begunAtMs - (this.world.stalledMs() - stalledMs);
    this.findings.waited(Math.max(0, waitMs), outcome.kind === 'done');
    return outcome;
  }
}

function outcomeOf<T>(work: () => Promise<T>, onFailure: (code: string) => void): Promise<Outcome<T>> {
  return work().then(
    (value): Outcome<T> => ({ kind: 'done', value }),
    (error: unknown): Outcome<T> => {
      // Anything else is a fault of this program, and ends it.
      if (!(error instanceof HengeError)) throw error;
      onFailure(error.code);
      return { kind: 'failed', maybeApplied: error.maybeApplied };
    },
  );
}

/** A register's value names its key, so that a value under another key is noticed. */
function storedValue(key: OwnKey, number: number): string {
  return `${number} of ${key.name}`;
}

function stateIn(key: OwnKey, value: unknown): State {
  if (value === undefined) return undefined;
  if (key.history.kind === 'counter') return typeof value === 'number' ? value : Number.NaN;
  const number = Number.parseInt(String(value), 10);
  return value === storedValue(key, number) ? number : Number.NaN;
}

function countedFrom(answer: State): State {
  return answer === undefined ? undefined : answer - 1;
}
