/** What the HTTP face may know of the node it belongs to. */
import type { Henge } from '../../client/index.js';
import type { TopologyView } from '../../cluster/index.js';

export interface NodeState {
  /** Undefined while the data port is not served yet. */
  readonly client: Henge | undefined;
  readonly topology: TopologyView;
  readonly valueBytesMax: number;
  /** What keeps the node from serving; empty when it is ready. */
  reasonsNotReady(): readonly string[];
}
