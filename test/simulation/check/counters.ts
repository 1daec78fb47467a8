/**
 * Counters: a key that is only incremented, at a quorum or all. Every result of an acknowledged increment is another
 * number, results respect real time, and the last one is explained: at least the sum of what was acknowledged, at most
 * that and what may have been applied. All deltas are positive, so a result says how much came before it.
 */
import { byKey, type Complaint, describeOperation, type Increment, type Operation } from './history.js';

export function checkCounters(operations: readonly Operation[]): Complaint[] {
  const increments = operations.filter((operation): operation is Increment => operation.kind === 'increment');
  return [...byKey(increments).values()].flatMap(checkCounter);
}

function checkCounter(list: readonly Increment[]): Complaint[] {
  const complaints: Complaint[] = [];
  const done = list.filter((one): one is Increment & { readonly result: number } => one.outcome === 'ok');
  const byResult = [...done].sort((a, b) => a.result - b.result);
  for (const [index, one] of byResult.entries()) {
    const before = byResult[index - 1];
    // Each acknowledged increment added its delta on top of the one before it in the counter's life.
    if (before !== undefined && one.result - one.delta < before.result) {
      complaints.push(`${describeOperation(one)} did not build on ${describeOperation(before)}`);
    }
  }
  let latestBefore: (Increment & { readonly result: number }) | undefined;
  const byEnd = [...done].sort((a, b) => a.endedMs - b.endedMs);
  const byBegin = [...done].sort((a, b) => a.beganMs - b.beganMs);
  let ended = 0;
  for (const one of byBegin) {
    for (; ended < byEnd.length && (byEnd[ended] as Increment).endedMs < one.beganMs; ended++) {
      const candidate = byEnd[ended] as Increment & { readonly result: number };
      if (latestBefore === undefined || candidate.result > latestBefore.result) latestBefore = candidate;
    }
    if (latestBefore !== undefined && latestBefore.result > one.result - one.delta) {
      complaints.push(`${describeOperation(one)} lost ${describeOperation(latestBefore)}`);
    }
  }
  return [...complaints, ...checkSum(list, byResult.at(-1)?.result ?? 0)];
}

function checkSum(list: readonly Increment[], last: number): Complaint[] {
  const sumOf = (outcome: Increment['outcome']): number =>
    list.reduce((sum, one) => sum + (one.outcome === outcome ? one.delta : 0), 0);
  const [sure, possible] = [sumOf('ok'), sumOf('unknown')];
  if (last <= sure + possible && (last >= sure || list.every(({ outcome }) => outcome !== 'ok'))) return [];
  return [`${list[0]?.key} stands at ${last}; acknowledged were ${sure}, and ${possible} may have been applied`];
}
