/**
 * What callers saw: every call with the moment it was begun and the moment it ended, on the world's true clock.
 * Checkers read nothing else.
 *
 * An outcome is `ok`, `failed` (surely not applied) or `unknown` (may be applied, now or later). A value is unique to
 * its write, save for counters; versions are compared as strings (src/protocol/version.ts).
 */
export type Level = 'one' | 'quorum' | 'all';
export type ReadLevel = 'primary' | 'nearest' | 'quorum' | 'degraded';

export interface Write {
  readonly kind: 'set' | 'delete';
  readonly key: string;
  /** Undefined for a delete. */
  readonly value: string | undefined;
  readonly level: Level;
  /** Compare-and-set: the version that had to be there. */
  readonly ifVersion?: string;
  readonly beganMs: number;
  readonly endedMs: number;
  /** `refused`: a compare-and-set met another version, or a delete nothing; it was not applied. */
  readonly outcome: 'ok' | 'failed' | 'unknown' | 'refused';
  /** Of an `ok` set. */
  readonly version?: string;
  readonly client: number;
}

export interface Read {
  readonly kind: 'get';
  readonly key: string;
  readonly level: ReadLevel;
  readonly beganMs: number;
  readonly endedMs: number;
  readonly outcome: 'ok' | 'failed';
  /** Undefined: a miss. */
  readonly value?: string;
  readonly version?: string;
  readonly client: number;
}

export interface Increment {
  readonly kind: 'increment';
  readonly key: string;
  readonly delta: number;
  readonly level: Level;
  readonly beganMs: number;
  readonly endedMs: number;
  readonly outcome: 'ok' | 'failed' | 'unknown';
  readonly result?: number;
  readonly client: number;
}

export type Operation = Write | Read | Increment;

/** What is wrong, in a sentence that names key, times and values. */
export type Complaint = string;

export const describeOperation = (operation: Operation): string => {
  const span = `${operation.beganMs.toFixed(3)}-${operation.endedMs.toFixed(3)} ms`;
  return `${operation.kind} ${operation.key} ${JSON.stringify(operation)} at ${span}`;
};

/** Operations by key, each list in order of beginning. */
export function byKey<O extends Operation>(operations: readonly O[]): Map<string, O[]> {
  const result = new Map<string, O[]>();
  for (const operation of operations) {
    const list = result.get(operation.key);
    if (list === undefined) result.set(operation.key, [operation]);
    else list.push(operation);
  }
  for (const list of result.values()) list.sort((a, b) => a.beganMs - b.beganMs);
  return result;
}
