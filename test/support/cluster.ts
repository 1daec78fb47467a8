/**
 * A cluster of real daemons that share a registry, a folder of their own unless `--registry` says otherwise: founded
 * with all its members, so that they may start at once.
 */
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RecordKey, TopologyRecord } from '../../src/cluster/index.js';
import { openRegistry } from '../../src/daemon/registry/index.js';
import { type LogLine, scratch, TestDaemon } from './daemon.js';

/** By node name: a command that the node is started behind, and arguments of its own. */
type Places = Readonly<Record<string, { readonly command?: readonly string[]; readonly words?: readonly string[] }>>;

export class TestCluster implements AsyncDisposable {
  readonly #folder = scratch();
  readonly #words: readonly string[];
  readonly #places: Places;
  readonly #nodes = new Map<string, TestDaemon>();

  private constructor(places: Places, words: readonly string[]) {
    this.#places = places;
    const secretFile = join(this.#folder.path, 'secret');
    writeFileSync(secretFile, `${randomUUID()}\n`, { mode: 0o600 });
    this.#words = [`--registry=dir:${this.#folder.path}/registry`, `--secret-file=${secretFile}`, ...words];
  }

  get #registry(): string {
    const flag = '--registry=';
    return this.#words.findLast((word) => word.startsWith(flag))?.slice(flag.length) ?? '';
  }

  /** Nodes are named by the letters of `names`; `words` are arguments of all of them. */
  static start(names: string, ...words: readonly string[]): Promise<TestCluster> {
    return TestCluster.startIn({}, names, ...words);
  }

  /** As start(), with some nodes in places of their own. */
  static async startIn(places: Places, names: string, ...words: readonly string[]): Promise<TestCluster> {
    const cluster = new TestCluster(places, words);
    const registry = await openRegistry(cluster.#registry);
    const base = [...names].map((name, index) => ({ name, number: index + 1, zone: 'default', weight: 1 }));
    await registry.put('topology', TopologyRecord.parse({ counter: 1, current: { epoch: 1, base } }), 0);
    await registry.close();
    await Promise.all([...names].map((name) => cluster.startNode(name)));
    return cluster;
  }

  /** What the registry has under a key. */
  async record(key: RecordKey): Promise<unknown> {
    const registry = await openRegistry(this.#registry);
    try {
      return (await registry.get(key))?.value;
    } finally {
      await registry.close();
    }
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
    const { command = [], words = [] } = this.#places[name] ?? {};
    const all = [...this.#words, ...words, `--name=${name}`];
    const node = await TestDaemon.startBehind(command, this.#folder.path, ...all);
    this.#nodes.set(name, node);
    return node;
  }

  /**
   * The changes that a node told of from its line `from` on, as `-AWAY ~RETURNING`, with `+` if stand-ins are filled.
   */
  changes(name: string, from = 0): readonly string[] {
    const told = this.topologies(name, from).map(
      ({ away, returning, isFilling }) => `-${away} ~${returning}${isFilling ? ' +' : ''}`,
    );
    return told.filter((change, at) => change !== (told[at - 1] ?? '- ~'));
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
