/** What the HTTP face may know of the node it belongs to. */
import type { Henge } from '../../client/index.js';
import type { TopologyView } from '../../cluster/index.js';

export interface NodeState {
  /** Undefined while the data port is not served yet. */
  readonly client: Henge | undefined;
  readonly topology: TopologyView;
  readonly valueBytesMax: number;
  /** Asks a member to leave, or to stay after all. @throws Error when that cannot be */
  wantMember(name: string, wanted: 'in' | 'drain'): Promise<void>;
  /** What keeps the node from serving; empty when it is ready. */
  reasonsNotReady(): readonly string[];
}
