/**
 * A cluster of real daemons that share a registry folder: founded with all its members, so that they may start at once.
 */
import { TopologyRecord } from '../../src/cluster/index.js';
import { openRegistry } from '../../src/daemon/registry/index.js';
import { type LogLine, scratch, TestDaemon } from './daemon.js';

export class TestCluster implements AsyncDisposable {
  readonly #folder = scratch();
  readonly #words: readonly string[];
  readonly #nodes = new Map<string, TestDaemon>();

  private constructor(words: readonly string[]) {
    this.#words = words;
  }

  /** Nodes are named by the letters of `names`; `words` are arguments of all of them. */
  static async start(names: string, ...words: readonly string[]): Promise<TestCluster> {
    const cluster = new TestCluster(words);
    const registry = await openRegistry(`dir:${cluster.#folder.path}/registry`);
    const base = [...names].map((name, index) => ({ name, number: index + 1, zone: 'default', weight: 1 }));
    await registry.put('topology', TopologyRecord.parse({ counter: 1, current: { epoch: 1, base } }), 0);
    await registry.close();
    await Promise.all([...names].map((name) => cluster.startNode(name)));
    return cluster;
  }

  get seeds(): readonly string[] {
    return [...this.#nodes.values()].map(({ address }) => address);
  }

  node(name: string): TestDaemon {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new RangeError(`there is no node ${name}`);
    return node;
  }

  /** Starts a node, also one that was started before and died. */
  async startNode(name: string): Promise<TestDaemon> {
    const node = await TestDaemon.start(this.#folder.path, ...this.#words, `--name=${name}`);
    this.#nodes.set(name, node);
    return node;
  }

  /** What a node says of the first topology that `isMeant`, from its line `from` on. */
  async topology(name: string, isMeant: (line: LogLine) => boolean, from = 0): Promise<LogLine> {
    for (;;) {
      const line = this.topologies(name, from).find(isMeant);
      if (line !== undefined) return line;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  topologies(name: string, from = 0): readonly LogLine[] {
    return this.node(name)
      .log.slice(from)
      .filter(({ event }) => event === 'topology');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#nodes.values()].map((node) => node[Symbol.asyncDispose]()));
    this.#folder[Symbol.dispose]();
  }
}
