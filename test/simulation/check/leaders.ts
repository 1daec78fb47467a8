/**
 * In one epoch only one node acknowledges writes of a slot at a quorum or all. A version says in which epoch and by
 * which node it was stamped: its first 8 hexadecimal digits and its last 4 (src/protocol/version.ts).
 */
import type { Complaint, Operation } from './history.js';

export function checkLeaders(operations: readonly Operation[], slotOf: (key: string) => number): Complaint[] {
  const leaders = new Map<string, string>();
  const complaints: Complaint[] = [];
  for (const operation of operations) {
    if (operation.kind !== 'set' || operation.level === 'one' || operation.outcome !== 'ok') continue;
    if (operation.version === undefined) continue;
    const epoch = operation.version.slice(0, 8);
    const node = operation.version.slice(-4);
    const place = `slot ${slotOf(operation.key)} in epoch ${Number.parseInt(epoch, 16)}`;
    const other = leaders.get(place) ?? node;
    if (other !== node) complaints.push(`two nodes acknowledged writes of ${place}: ${other} and ${node}`);
    leaders.set(place, node);
  }
  return [...new Set(complaints)];
}
