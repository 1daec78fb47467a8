/** Nodes that fall and rise, and primary processes that are killed alone, while clients go on. Real processes. */
import { expect, test } from 'vitest';
import { Henge } from '../../src/client/index.js';
import { TestCluster } from '../support/cluster.js';
import { type LogLine, scratch, TestDaemon } from '../support/daemon.js';

const TIMEOUT_MS = 60_000;
const KEYS = 500;

const keyOf = (index: number): string => `key-${index}`;
const isAway = (name: string) => (line: LogLine) => (line.away as readonly string[]).includes(name);
const isReturning = (name: string) => (line: LogLine) => (line.returning as readonly string[]).includes(name);
const isWhole = (line: LogLine) => (line.away as unknown[]).length + (line.returning as unknown[]).length === 0;

/** The epochs that a node told of, each once, as `AWAY/RETURNING`. */
function changes(lines: readonly LogLine[]): readonly string[] {
  const seen = new Map(lines.map((line) => [line.epoch, `${line.away}/${line.returning}`]));
  return [...seen.values()].filter((change) => change !== '/');
}

/**
 * Writes and reads back again and again; reads that failed, and the last value acknowledged of each key, are
 * remembered.
 */
class Load {
  readonly failures: string[] = [];
  readonly acknowledged = new Map<string, number>();
  #operations = 0;
  #isStopped = false;
  readonly #running: Promise<void>;

  constructor(private readonly client: Henge) {
    this.#running = this.#run();
  }

  /** Resolves when so many more operations have ended. */
  async done(more: number): Promise<void> {
    const target = this.#operations + more;
    while (this.#operations < target) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async missing(): Promise<readonly string[]> {
    const keys = [...this.acknowledged.keys()];
    const values = await this.client.getMany(keys);
    return keys.filter((key, index) => values[index] !== this.acknowledged.get(key));
  }

  async #run(): Promise<void> {
    for (let value = 1; !this.#isStopped; value++) {
      const keys = Array.from({ length: 20 }, (_, index) => keyOf((value * 20 + index) % KEYS));
      await Promise.all(keys.map((key) => this.#writeAndRead(key, value)));
    }
  }

  async #writeAndRead(key: string, value: number): Promise<void> {
    try {
      await this.client.set(key, value);
      this.acknowledged.set(key, value);
    } catch {
      // Its connection was lost: it may have run or not, and nothing was promised.
      this.acknowledged.delete(key);
    }
    try {
      const read = await this.client.get<number>(key);
      const expected = this.acknowledged.get(key);
      if (expected !== undefined && read !== expected) this.failures.push(`${key} was ${expected} and is ${read}`);
    } catch (error) {
      this.failures.push(String(error));
    }
    this.#operations++;
  }
}

test('a killed node is away, returning, and in again; what was written at quorum is there all the while', {
  timeout: TIMEOUT_MS,
}, async () => {
  await using cluster = await TestCluster.start('abc', '--rf=2', '--workers=1');
  await using client = await Henge.connect({ seeds: [...cluster.seeds], deadlineMs: 15_000 });
  const keys = Array.from({ length: KEYS }, (_, index) => keyOf(index));
  await Promise.all(keys.map((key, index) => client.set(key, index, { ack: 'quorum' })));
  const expected = keys.map((_, index) => index);

  cluster.node('c').killAll();
  expect(await client.getMany(keys)).toEqual(expected);
  await cluster.topology('a', isAway('c'));
  await Promise.all(keys.map((key, index) => setAtLast(client, key, index + 1)));

  await cluster.startNode('c');
  await cluster.topology('a', isReturning('c'));
  await cluster.topology('a', isWhole, cluster.node('a').log.findIndex(isReturningLine('c')));
  expect(await client.getMany(keys)).toEqual(expected.map((value) => value + 1));
  expect(changes(cluster.topologies('a'))).toEqual(['c/', '/c']);
});

/** A write whose connection was lost may have run, and so is not repeated by the client: callers decide. */
async function setAtLast(client: Henge, key: string, value: number): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await client.set(key, value);
      return;
    } catch (error) {
      if (attempt === 20) throw error;
    }
  }
}

const isReturningLine = (name: string) => (line: LogLine) => line.event === 'topology' && isReturning(name)(line);

test('a primary process killed alone costs nothing: its workers serve on, and the next one takes them over', {
  timeout: TIMEOUT_MS,
}, async () => {
  using folder = scratch();
  await using first = await TestDaemon.start(folder.path, '--rf=1');
  await using client = await Henge.connect({ seeds: first.address, deadlineMs: 5_000 });
  const load = new Load(client);
  await load.done(500);
  first.signal('SIGKILL');
  await first.ended;
  await load.done(500);
  await using second = await TestDaemon.start(folder.path, '--rf=1');
  await load.done(500);
  await load.stop();

  expect(second.address).toBe(first.address);
  const [before, after] = [await first.event('arena'), await second.event('arena')];
  expect(after).toMatchObject({ origin: 'adopted', incarnation: before.incarnation });
  expect(load.failures).toEqual([]);
  expect(await load.missing()).toEqual([]);
});

test('a node whose primary process is killed alone stays in its epoch', { timeout: TIMEOUT_MS }, async () => {
  await using cluster = await TestCluster.start('abc', '--rf=2', '--workers=1');
  await using client = await Henge.connect({ seeds: [...cluster.seeds], deadlineMs: 5_000 });
  const load = new Load(client);
  await load.done(500);
  const orphaned = cluster.node('b');
  orphaned.signal('SIGKILL');
  await orphaned.ended;
  // Longer than a lease: by then the others have asked the workers whether they live.
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  await cluster.startNode('b');
  await load.done(500);
  await load.stop();
  const missing = await load.missing();
  orphaned.killAll();

  expect(changes([...cluster.topologies('a'), ...cluster.topologies('c')])).toEqual([]);
  expect(load.failures).toEqual([]);
  expect(missing).toEqual([]);
});
