/**
 * In one epoch only one node acknowledges writes of a slot at a quorum or all; while the list of members changes a slot
 * may be handed over once, so there may be two, one after the other. A version says in which epoch, when and by which
 * node it was stamped: its first 8 hexadecimal digits, the next 16 and its last 4 (src/protocol/version.ts).
 */
import type { Complaint, Operation } from './history.js';

interface Reign {
  readonly node: string;
  first: string;
  last: string;
}

export interface LeaderRules {
  /** Epochs in which slots may be handed over. */
  readonly changes: ReadonlySet<number>;
  /** Nobody is cut off, so not even at level one do two acknowledge. */
  readonly isEveryLevel: boolean;
}

export function checkLeaders(
  operations: readonly Operation[],
  slotOf: (key: string) => number,
  { changes, isEveryLevel }: LeaderRules = { changes: new Set(), isEveryLevel: false },
): Complaint[] {
  const reigns = new Map<string, Reign[]>();
  const complaints: Complaint[] = [];
  for (const operation of operations) {
    if (operation.kind !== 'set' || operation.outcome !== 'ok') continue;
    if (operation.level === 'one' && !isEveryLevel) continue;
    if (operation.version === undefined) continue;
    const epoch = Number.parseInt(operation.version.slice(0, 8), 16);
    const [time, node] = [operation.version.slice(8, -4), operation.version.slice(-4)];
    const place = `slot ${slotOf(operation.key)} in epoch ${epoch}`;
    const known = reigns.get(place) ?? [];
    const own = known.find((reign) => reign.node === node);
    if (own === undefined) known.push({ node, first: time, last: time });
    else if (time < own.first) own.first = time;
    else if (time > own.last) own.last = time;
    reigns.set(place, known);
    const others = known.filter((reign) => reign.node !== node);
    if (others.length === 0) continue;
    if (!changes.has(epoch) || areInterleaved(known)) {
      complaints.push(`two nodes acknowledged writes of ${place}: ${others.map((one) => one.node).join()} and ${node}`);
    }
  }
  return [...new Set(complaints)];
}

function areInterleaved(reigns: readonly Reign[]): boolean {
  const inOrder = [...reigns].sort((a, b) => (a.first < b.first ? -1 : 1));
  return inOrder.length > 2 || inOrder.some(({ first }, i) => i > 0 && first <= (inOrder[i - 1] as Reign).last);
}
