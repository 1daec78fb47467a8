/**
 * The first checker: trusts versions. Per key, a version means one value; and a completed call must show a version at
 * least as new as the newest that any call had shown when it began (a write one above it, since it made it).
 *
 * One sweep over the moments at which calls begin and end, O(n log n). Applies to keys whose writes are acknowledged by
 * a quorum or all and whose reads ask a quorum; a miss is judged only where nothing may be evicted or expire, and then
 * needs a delete that explains it. A compare-and-set follows on the version that it named.
 */
import { byKey, type Complaint, describeOperation, type Operation, type Read, type Write } from './history.js';

export interface VersionRules {
  /** Nothing was evicted and nothing expires: a miss needs a delete. */
  readonly missesAreExplained: boolean;
}

type Versioned = Write | Read;

export function checkVersions(operations: readonly Operation[], rules: VersionRules): Complaint[] {
  const versioned = operations.filter((operation): operation is Versioned => operation.kind !== 'increment');
  return [...byKey(versioned).values()].flatMap((list) => {
    return [...checkValues(list), ...checkOrder(list, rules), ...checkChain(list)];
  });
}

/** Nothing acknowledged stands between what a compare-and-set had to meet and what it made. */
function checkChain(list: readonly Versioned[]): Complaint[] {
  const made = list.filter((one): one is Write => one.kind === 'set' && one.outcome === 'ok');
  return made.flatMap((write) => {
    const { ifVersion, version = '' } = write;
    if (ifVersion === undefined) return [];
    const between = made.find((other) => (other.version ?? '') > ifVersion && (other.version ?? '') < version);
    return between === undefined ? [] : [`${describeOperation(write)} went over ${describeOperation(between)}`];
  });
}

/** A version maps to one value. */
function checkValues(list: readonly Versioned[]): Complaint[] {
  const values = new Map<string, string | undefined>();
  const complaints: Complaint[] = [];
  for (const operation of list) {
    if (operation.outcome !== 'ok' || operation.version === undefined) continue;
    if (values.has(operation.version) && values.get(operation.version) !== operation.value) {
      complaints.push(
        `version ${operation.version} means ${values.get(operation.version)} and: ${describeOperation(operation)}`,
      );
    }
    values.set(operation.version, operation.value);
  }
  return complaints;
}

function checkOrder(list: readonly Versioned[], rules: VersionRules): Complaint[] {
  const complaints: Complaint[] = [];
  const completed = list.filter(({ outcome }) => outcome === 'ok');
  const moments = completed
    .flatMap((operation) => [
      { atMs: operation.beganMs, isEnd: false, operation },
      { atMs: operation.endedMs, isEnd: true, operation },
    ])
    .sort((a, b) => a.atMs - b.atMs || Number(a.isEnd) - Number(b.isEnd));
  let newest = '';
  const newestAtBegin = new Map<Versioned, string>();
  for (const { isEnd, operation } of moments) {
    if (!isEnd) {
      newestAtBegin.set(operation, newest);
      continue;
    }
    const floor = newestAtBegin.get(operation) ?? '';
    const complaint = judge(operation, floor, rules, list);
    if (complaint !== undefined) complaints.push(complaint);
    if (operation.version !== undefined && operation.version > newest) newest = operation.version;
  }
  return complaints;
}

function judge(
  operation: Versioned,
  floor: string,
  rules: VersionRules,
  list: readonly Versioned[],
): Complaint | undefined {
  if (operation.kind === 'get' && operation.value === undefined) {
    if (!rules.missesAreExplained || floor === '' || mayBeDeleted(operation, list)) return undefined;
    return `a miss although ${floor} was there and nothing deleted it: ${describeOperation(operation)}`;
  }
  if (operation.version === undefined) return undefined;
  if (operation.kind === 'get') {
    return operation.version >= floor ? undefined : `older than ${floor}, seen before: ${describeOperation(operation)}`;
  }
  return operation.version > floor
    ? undefined
    : `a write not above ${floor}, seen before: ${describeOperation(operation)}`;
}

/** Some delete that began before the read ended and was not surely without effect. */
const mayBeDeleted = (read: Read, list: readonly Versioned[]): boolean =>
  list.some(
    (other) =>
      other.kind === 'delete' &&
      (other.outcome === 'ok' || other.outcome === 'unknown') &&
      other.beganMs <= read.endedMs,
  );
