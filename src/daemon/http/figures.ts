/**
 * The whole cluster's figures for the dashboard: every member's statistics, asked for over the data port.
 *
 * However many dashboards are open, the nodes are asked at most once in FRESH_MS.
 */
import type { RebalanceStatus, TopologyMember } from '../../cluster/index.js';
import type { NodeState } from './node-state.js';

const FRESH_MS = 500;

export interface ClusterView {
  readonly epoch: number;
  readonly rf: number;
  readonly rebalance: RebalanceStatus;
  readonly nodes: readonly (TopologyMember & { readonly stats?: Record<string, unknown>; readonly error?: string })[];
}

export class ClusterFigures {
  readonly #node: NodeState;
  #latest: Promise<ClusterView> | undefined;
  #readAtMs = 0;

  constructor(node: NodeState) {
    this.#node = node;
  }

  read(): Promise<ClusterView> {
    if (this.#latest !== undefined && performance.now() - this.#readAtMs < FRESH_MS) return this.#latest;
    this.#readAtMs = performance.now();
    this.#latest = this.#ask();
    return this.#latest;
  }

  async #ask(): Promise<ClusterView> {
    const { epoch, rf, members } = this.#node.topology;
    const nodes = members.map(async (member) => {
      try {
        const stats = await (await this.#node.client())?.stats(member.name);
        return { ...member, ...(stats && { stats }) };
      } catch (error) {
        return { ...member, error: error instanceof Error ? error.message : String(error) };
      }
    });
    return { epoch, rf, rebalance: this.#node.rebalance, nodes: await Promise.all(nodes) };
  }
}
