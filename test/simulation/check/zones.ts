/**
 * The second checker: does not trust versions. P. Gibbons and E. Korach, "Testing Shared Memories", SIAM J. Comput.
 * 26(4), 1997: with unique values a register's history is linearizable exactly if the zones of its values fit.
 *
 * A value's cluster is its write and the reads that returned it. Its zone reaches from the earliest end to the latest
 * begin of these. Forward (the earliest end comes first): the value was surely the current one in between, so no two
 * forward zones may overlap. Backward otherwise: the value was current at some moment within, which must not lie wholly
 * inside a forward zone of another value. A write whose outcome is unknown ends at infinity; one whose value nobody
 * read is left out. No read may end before its write begins.
 *
 * Deletes are writes of "nothing", which is not a unique value; keys with deletes are left to the other checker.
 */
import { byKey, type Complaint, type Operation, type Read, type Write } from './history.js';

interface Zone {
  readonly value: string;
  readonly earliestEndMs: number;
  readonly latestBeginMs: number;
}

export function checkZones(operations: readonly Operation[]): Complaint[] {
  const complaints: Complaint[] = [];
  for (const [key, list] of byKey(operations)) {
    if (list.some(({ kind }) => kind === 'delete' || kind === 'increment')) continue;
    const { zones, strays } = zonesOf(list as (Write | Read)[]);
    complaints.push(...strays.map((stray) => `${key}: ${stray}`));
    complaints.push(...overlapsOf(zones).map((overlap) => `${key}: ${overlap}`));
  }
  return complaints;
}

function zonesOf(list: readonly (Write | Read)[]): { zones: Zone[]; strays: string[] } {
  const reads = new Map<string, Read[]>();
  for (const operation of list) {
    if (operation.kind !== 'get' || operation.outcome !== 'ok' || operation.value === undefined) continue;
    reads.set(operation.value, [...(reads.get(operation.value) ?? []), operation]);
  }
  const zones: Zone[] = [];
  const strays: string[] = [];
  const written = new Set<string>();
  for (const write of list) {
    if (write.kind !== 'set' || write.value === undefined) continue;
    written.add(write.value);
    const its = reads.get(write.value) ?? [];
    if (write.outcome === 'failed' || write.outcome === 'refused') {
      if (its.length > 0) strays.push(`${write.value} was read although its write surely failed`);
      continue;
    }
    if (its.length === 0 && write.outcome === 'unknown') continue;
    const writeEndMs = write.outcome === 'ok' ? write.endedMs : Number.POSITIVE_INFINITY;
    const earliestReadEndMs = Math.min(...its.map(({ endedMs }) => endedMs));
    if (earliestReadEndMs < write.beganMs) strays.push(`${write.value} was read before it was written`);
    zones.push({
      value: write.value,
      earliestEndMs: Math.min(writeEndMs, earliestReadEndMs),
      latestBeginMs: Math.max(write.beganMs, ...its.map(({ beganMs }) => beganMs)),
    });
  }
  for (const value of reads.keys()) if (!written.has(value)) strays.push(`${value} was read and never written`);
  return { zones, strays };
}

function overlapsOf(zones: readonly Zone[]): string[] {
  const complaints: string[] = [];
  const forward = zones
    .filter(({ earliestEndMs, latestBeginMs }) => earliestEndMs < latestBeginMs)
    .sort((a, b) => a.earliestEndMs - b.earliestEndMs);
  for (const [index, zone] of forward.entries()) {
    const before = forward[index - 1];
    if (before !== undefined && before.latestBeginMs > zone.earliestEndMs) {
      complaints.push(
        `${before.value} was the value until ${before.latestBeginMs} ms, ` +
          `and ${zone.value} from ${zone.earliestEndMs} ms`,
      );
    }
  }
  for (const { value, earliestEndMs, latestBeginMs } of zones) {
    if (earliestEndMs < latestBeginMs) continue;
    const around = lastBeginningBefore(forward, latestBeginMs);
    if (around !== undefined && around.value !== value && earliestEndMs < around.latestBeginMs) {
      complaints.push(
        `${value} was the value some time from ${latestBeginMs} to ${earliestEndMs} ms, while ${around.value} was`,
      );
    }
  }
  return complaints;
}

/** The last of the forward zones that begins before `ms`; they do not overlap, or that was complained of. */
function lastBeginningBefore(forward: readonly Zone[], ms: number): Zone | undefined {
  let low = 0;
  let high = forward.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((forward[middle] as Zone).earliestEndMs < ms) low = middle + 1;
    else high = middle;
  }
  return forward[low - 1];
}
