/**
 * What a cluster of real nodes promises when nodes stall, die together, or lose their registry, while clients write.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type AckLevel, Henge } from '../../src/client/index.js';
import { buildRows, NO_OVERLAY, type RingMember, slotOf } from '../../src/ring/index.js';
import { TestCluster } from '../support/cluster.js';
import type { LogLine } from '../support/daemon.js';
import { isEtcdInstalled, TestEtcd } from '../support/etcd.js';
import { unequalCopies } from '../support/node-door.js';
import { SteadyLoad } from '../support/steady-load.js';

const TIMEOUT_MS = 90_000;
const LEASE_MS = 3_000;
const KEYS = Array.from({ length: 400 }, (_, index) => `key-${index}`);

const isAway = (name: string) => (line: LogLine) => (line.away as readonly string[]).includes(name);
const isWhole = (line: LogLine) => (line.away as unknown[]).length + (line.returning as unknown[]).length === 0;

async function connected(cluster: TestCluster): Promise<Henge> {
  return Henge.connect({ seeds: [...cluster.seeds], deadlineMs: 4_000 });
}

async function loaded(client: Henge, ack: AckLevel): Promise<SteadyLoad> {
  const load = new SteadyLoad(client, KEYS, ack);
  await load.goesOn(KEYS.length);
  return load;
}

/** Resolves when every key has its copies on these nodes, all equal; the test's timeout bounds it. */
async function evenCopies(cluster: TestCluster, names: string, copies: number): Promise<void> {
  const addresses = [...names].map((name) => cluster.node(name).address);
  while ((await unequalCopies(addresses, KEYS, copies)).length > 0) await sleep(200);
}

test('a node stalled for longer than its lease costs no write that a quorum acknowledged, and is a copy again', {
  timeout: TIMEOUT_MS,
}, async () => {
  await using cluster = await TestCluster.start('abc', '--rf=2', '--workers=1');
  await using client = await connected(cluster);
  const load = await loaded(client, 'quorum');

  cluster.node('c').signalAll('SIGSTOP');
  await cluster.topology('a', isAway('c'));
  await load.goesOn(2 * KEYS.length);
  const from = cluster.node('a').log.length;
  cluster.node('c').signalAll('SIGCONT');
  await cluster.topology('a', isWhole, from);
  await load.goesOn(KEYS.length);
  await load.stop();

  expect(cluster.changes('a')).toEqual(['-c ~', '- ~c', '- ~']);
  expect(await load.lost()).toEqual([]);
  await evenCopies(cluster, 'abc', 2);
});

test('of five nodes two that die together are lost in one epoch; what had a third copy is there, and gets its copies', {
  timeout: TIMEOUT_MS,
}, async () => {
  await using cluster = await TestCluster.start('abcde', '--rf=3', '--workers=1', '--grace=2s');
  await using client = await connected(cluster);
  const hasOneCopyLeft = slotsOnBoth(await client.topology(), 'b', 'e');
  const load = await loaded(client, 'quorum');

  cluster.node('b').killAll();
  cluster.node('e').killAll();
  await cluster.topology('a', isAway('b'));
  await load.goesOn(KEYS.length);
  await load.stop();

  const lost = (await load.lost()).filter((line) => !hasOneCopyLeft(line.split(':')[0] ?? ''));
  expect(lost).toEqual([]);
  const told = [...'acd'].flatMap((name) => cluster.node(name).log.filter(({ event }) => event === 'possible-loss'));
  expect(told.length).toBeGreaterThan(0);
  await evenCopies(cluster, 'acd', 3);
  expect(cluster.changes('a')).toEqual(['-b,e ~', '-b,e ~ +']);
});

interface Cluster {
  readonly members: readonly RingMember[];
  readonly rf: number;
}

/** Whether a key's slot has copies on both nodes. */
function slotsOnBoth(topology: Cluster, first: string, second: string): (key: string) => boolean {
  const { members, rows, width } = buildRows(topology.members, topology.rf, NO_OVERLAY);
  return (key) => {
    const slot = slotOf(key);
    const row = [...rows.subarray(slot * width, (slot + 1) * width)].map((member) => members[member]);
    return row.includes(first) && row.includes(second);
  };
}

describe.skipIf(!isEtcdInstalled)('when etcd stands still for longer than a lease', () => {
  test('nodes that serve go on, and nothing changes', { timeout: TIMEOUT_MS }, async () => {
    await using etcd = await TestEtcd.start();
    await using cluster = await TestCluster.start('abc', `--registry=etcd:${etcd.url}`, '--rf=2', '--workers=1');
    await using client = await connected(cluster);
    const load = await loaded(client, 'quorum');

    await etcd.pause();
    await sleep(LEASE_MS + 1_500);
    await load.goesOn(KEYS.length);
    etcd.resume();
    await sleep(LEASE_MS);
    await load.goesOn(KEYS.length);
    await load.stop();

    expect(load.failures, String(load.lastFailure)).toBe(0);
    expect(await load.lost()).toEqual([]);
    expect(cluster.changes('a')).toEqual([]);
  });

  test('nodes that fence stop to write, go on reading, and write again by themselves', {
    timeout: TIMEOUT_MS,
  }, async () => {
    await using etcd = await TestEtcd.start();
    const words = [`--registry=etcd:${etcd.url}`, '--on-partition=fence', '--rf=2', '--workers=1'];
    await using cluster = await TestCluster.start('abc', ...words);
    await using client = await Henge.connect({ seeds: [...cluster.seeds], deadlineMs: 500 });
    const load = await loaded(client, 'one');

    await etcd.pause();
    await sleep(LEASE_MS);
    // What was answered before a fence fell may only now be read here.
    await load.fails(8);
    const before = load.acknowledgements;
    await load.fails(20);
    expect(load.acknowledgements).toBe(before);
    expect(await client.getMany(KEYS)).toEqual(KEYS.map((key) => load.acknowledged.get(key)));
    etcd.resume();
    await load.goesOn(KEYS.length);
    await load.stop();
    expect(await load.lost()).toEqual([]);
  });
});
