/** What the HTTP face may know of the node it belongs to. */
import type { Henge } from '../../client/index.js';
import type { RebalanceStatus, TopologyView } from '../../cluster/index.js';
import type { RebalanceWord } from '../rebalance.js';

export interface NodeState {
  /** A client of the cluster. Undefined while the data port is not served yet. @throws HengeError UNREACHABLE */
  client(): Promise<Henge> | undefined;
  readonly topology: TopologyView;
  readonly valueBytesMax: number;
  /** How far a change of the list of members is. */
  readonly rebalance: RebalanceStatus;
  /** Has data move as an operator says. @throws Error when that cannot be */
  directRebalance(word: RebalanceWord): Promise<void>;
  /** Asks a member to leave, or to stay after all. @throws Error when that cannot be */
  wantMember(name: string, wanted: 'in' | 'drain'): Promise<void>;
  /** Gives a member another weight. @throws Error when that cannot be */
  weighMember(name: string, weight: number): Promise<void>;
  /** What keeps the node from serving; empty when it is ready. */
  reasonsNotReady(): readonly string[];
}
