/**
 * A deleted key stays deleted: a value that was there before an acknowledged delete began is not read by a call that
 * begins after the delete has ended. For keys whose writes are acknowledged by a quorum or all, read at a quorum.
 *
 * Versions cannot say this, for the answer to a delete shows none; times can.
 */
import { byKey, type Complaint, describeOperation, type Operation, type Read, type Write } from './history.js';

export function checkDeletes(operations: readonly Operation[]): Complaint[] {
  return [...byKey(operations).values()].flatMap((list) => {
    const deletes = list.filter((one): one is Write => one.kind === 'delete' && one.outcome === 'ok');
    if (deletes.length === 0) return [];
    const seenMs = firstSeen(list);
    const reads = list.filter((one): one is Read => one.kind === 'get' && one.value !== undefined);
    return reads.flatMap((read) => {
      const sinceMs = seenMs.get(read.value ?? '') ?? Number.POSITIVE_INFINITY;
      const between = deletes.find(({ beganMs, endedMs }) => beganMs > sinceMs && endedMs < read.beganMs);
      return between === undefined
        ? []
        : [`a deleted key is back: ${describeOperation(read)} after ${between.endedMs}`];
    });
  });
}

/** When each value was surely there for the first time. */
function firstSeen(list: readonly Operation[]): Map<string, number> {
  const seenMs = new Map<string, number>();
  for (const operation of list) {
    if (operation.kind === 'increment' || operation.value === undefined || operation.outcome !== 'ok') continue;
    const before = seenMs.get(operation.value) ?? Number.POSITIVE_INFINITY;
    seenMs.set(operation.value, Math.min(before, operation.endedMs));
  }
  return seenMs;
}
