/**
 * Reads everything back after the load and compares it with what it must be.
 *
 * Every acknowledged signature must be there, whole. A city may be absent, since a value that getOrSet could not store
 * is still answered; but one that is there must be right.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Henge } from '../src/index.js';
import { cityAt } from './origin.js';
import { cityKey, type Signature, signatureKey } from './traffic.js';

/** Keys read by one getMany. */
const BATCH_KEYS = 500;

export interface Verdict {
  /** Values read and found right. */
  right: number;
  /** Acknowledged signatures that are not there. */
  lost: number;
  /** Values that are there and are not what was written. */
  wrong: number;
  /** Cities that are not in the cache. */
  absentCities: number;
}

export async function verify(
  cluster: Henge,
  signatures: readonly Signature[],
  cities: Iterable<number>,
): Promise<Verdict> {
  const verdict: Verdict = { right: 0, lost: 0, wrong: 0, absentCities: 0 };
  await compare(
    cluster,
    signatures,
    (signature) => signatureKey(signature.number),
    (signature, found) => {
      if (found === undefined) verdict.lost++;
      else if (isDeepStrictEqual(found, signature)) verdict.right++;
      else verdict.wrong++;
    },
  );
  await compare(cluster, [...cities], cityKey, (index, found) => {
    if (found === undefined) verdict.absentCities++;
    else if (isDeepStrictEqual(found, cityAt(index))) verdict.right++;
    else verdict.wrong++;
  });
  return verdict;
}

async function compare<T>(
  cluster: Henge,
  expected: readonly T[],
  keyOf: (item: T) => string,
  judge: (item: T, found: unknown) => void,
): Promise<void> {
  for (let first = 0; first < expected.length; first += BATCH_KEYS) {
    const batch = expected.slice(first, first + BATCH_KEYS);
    const found = await cluster.getMany(batch.map(keyOf));
    for (const [at, item] of batch.entries()) judge(item, found[at]);
  }
}
