/**
 * A node that the network cuts off from the others and from etcd, while clients of the others write. Real nodes, two
 * network namespaces.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Henge } from '../../src/client/index.js';
import { TestCluster } from '../support/cluster.js';
import { type LogLine, scratch } from '../support/daemon.js';
import { isEtcdInstalled, TestEtcd } from '../support/etcd.js';
import { mayPartition, TestNetwork } from '../support/network.js';
import { NodeDoor, unequalCopies } from '../support/node-door.js';
import { SteadyLoad } from '../support/steady-load.js';

const TIMEOUT_MS = 90_000;
const KEYS = Array.from({ length: 300 }, (_, index) => `key-${index}`);
/** Written on the wrong side: the load does not touch these. */
const FAR_KEYS = Array.from({ length: 60 }, (_, index) => `far-${index}`);
const FAR_DEADLINE_MS = 300;

const isAway = (name: string) => (line: LogLine) => (line.away as readonly string[]).includes(name);
const isWhole = (line: LogLine) => (line.away as unknown[]).length + (line.returning as unknown[]).length === 0;

const areRefusals = (answers: readonly string[]): boolean => answers.length > 0 && !answers.includes('OK');

/** Nodes a and b on this side, c on the other, and all that is needed to ask c when nobody else can. */
class Divided implements AsyncDisposable {
  private constructor(
    readonly network: TestNetwork,
    readonly etcd: TestEtcd,
    readonly cluster: TestCluster,
    readonly client: Henge,
    readonly door: NodeDoor,
  ) {}

  static async start(folder: string, ...words: readonly string[]): Promise<Divided> {
    const network = new TestNetwork();
    const [near, far] = [`--listen=${network.nearAddress}:0`, `--listen=${network.farAddress}:0`];
    const etcd = await TestEtcd.start(1, network.nearAddress);
    // A Unix socket goes through where the network does not.
    const path = join(folder, 'c.sock');
    const cluster = await TestCluster.startIn(
      {
        a: { words: [near] },
        b: { words: [near] },
        c: { words: [far, `--unix=${path}`], command: ['ip', 'netns', 'exec', network.namespace] },
      },
      'abc',
      ...[`--registry=etcd:${etcd.url}`, '--insecure', '--rf=2', '--workers=1', ...words],
    );
    const seeds = [cluster.node('a').address, cluster.node('b').address];
    const client = await Henge.connect({ seeds, deadlineMs: 4_000 });
    const divided = new Divided(network, etcd, cluster, client, await NodeDoor.open(path));
    while (!(await divided.isInSync())) await sleep(20);
    return divided;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.door[Symbol.dispose]();
    await this.client.close();
    await this.cluster[Symbol.asyncDispose]();
    await this.etcd[Symbol.asyncDispose]();
    this.network[Symbol.dispose]();
  }

  /** A node that fences serves no slot whose other copy it never was in sync with. */
  async isInSync(): Promise<boolean> {
    const figures = await Promise.all([...'abc'].map((name) => this.client.stats(name)));
    return figures.every(({ joiningSlots }) => joiningSlots === 0);
  }

  /** How c, asked on its side, answers writes; those of slots that it does not lead are left out. */
  async writtenFar(level: 'one' | 'quorum'): Promise<readonly string[]> {
    const answers = FAR_KEYS.map((key) => this.door.set(key, `by ${level}`, level, FAR_DEADLINE_MS));
    return [...new Set(await Promise.all(answers))].filter((answer) => answer !== 'MOVED').sort();
  }

  /** Mends the network, and resolves when all are in again and every key has two equal copies. */
  async heal(keys: readonly string[]): Promise<void> {
    const from = this.cluster.node('a').log.length;
    this.network.mend();
    await this.cluster.topology('a', isWhole, from);
    const addresses = [...'abc'].map((name) => this.cluster.node(name).address);
    while ((await unequalCopies(addresses, keys, 2)).length > 0) await sleep(200);
  }
}

describe.skipIf(!mayPartition || !isEtcdInstalled)('a node on the wrong side of a partition', () => {
  test('acknowledges nothing at quorum, and has what the others have when the network is mended', {
    timeout: TIMEOUT_MS,
  }, async () => {
    using folder = scratch();
    await using divided = await Divided.start(folder.path);
    const { network, cluster, client } = divided;
    const load = new SteadyLoad(client, KEYS, 'quorum');
    await load.goesOn(KEYS.length);

    network.cut();
    expect(await divided.writtenFar('quorum')).toSatisfy(areRefusals);
    await cluster.topology('a', isAway('c'));
    await load.goesOn(2 * KEYS.length);
    expect(await divided.writtenFar('quorum')).toSatisfy(areRefusals);
    expect(await divided.writtenFar('one')).toContain('OK');
    await load.stop();
    await divided.heal([...KEYS, ...FAR_KEYS]);

    expect(await load.lost()).toEqual([]);
    expect(cluster.changes('a')).toEqual(['-c ~', '- ~c', '- ~']);
  });

  test('that fences takes no write once its slots can be taken over', { timeout: TIMEOUT_MS }, async () => {
    using folder = scratch();
    await using divided = await Divided.start(folder.path, '--on-partition=fence');
    const { network, cluster, client } = divided;
    const load = new SteadyLoad(client, KEYS, 'quorum');
    await load.goesOn(KEYS.length);

    network.cut();
    await cluster.topology('a', isAway('c'));
    expect(await divided.writtenFar('one')).toEqual(['NOT_READY']);
    await load.goesOn(2 * KEYS.length);
    await load.stop();
    await divided.heal(KEYS);

    expect(await load.lost()).toEqual([]);
    expect(await divided.writtenFar('one')).toEqual(['OK']);
  });
});
