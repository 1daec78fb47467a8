/** Nodes that stop in good order and return, one after the other, as at an upgrade: nobody notices. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Henge } from '../../src/client/index.js';
import type { RebalanceStatus } from '../../src/cluster/index.js';
import { TestCluster } from '../support/cluster.js';
import { scratch, type TestDaemon } from '../support/daemon.js';
import { SteadyLoad } from '../support/steady-load.js';

const TIMEOUT_MS = 90_000;
const KEYS = Array.from({ length: 400 }, (_, index) => `key-${index}`);

async function isWhole(client: Henge): Promise<void> {
  const states = async () => (await client.topology()).members.map(({ state }) => state);
  while ((await states()).some((state) => state !== 'in')) await sleep(50);
}

/** Resolves when a node has heard that every member lives. */
async function knowsAll(node: TestDaemon): Promise<void> {
  const heard = async () => {
    const status = (await (await fetch(`${node.http}/v1/rebalance`)).json()) as RebalanceStatus;
    return status.nodes.every(({ epoch }) => epoch !== null);
  };
  while (!(await heard())) await sleep(20);
}

test('every node stops and returns under load: no request fails, and nothing that one node acknowledged is lost', {
  timeout: TIMEOUT_MS,
}, async () => {
  using folder = scratch();
  const places = Object.fromEntries(
    [...'abc'].map((name) => [name, { words: [`--arena=${join(folder.path, `${name}.arena`)}`] }] as const),
  );
  await using cluster = await TestCluster.startIn(places, 'abc', '--rf=2', '--workers=2');
  await using client = await Henge.connect({ seeds: [...cluster.seeds], deadlineMs: 5_000 });
  const load = new SteadyLoad(client, KEYS, 'one');
  await load.goesOn(KEYS.length);

  for (const name of 'abc') {
    const node = cluster.node(name);
    node.signal('SIGTERM');
    expect(await node.ended).toBe(0);
    expect(node.log.some(({ event }) => event === 'resting')).toBe(true);
    const back = await cluster.startNode(name);
    expect(await back.event('arena')).toMatchObject({ origin: 'warm' });
    await isWhole(client);
    await load.goesOn(KEYS.length);
  }
  await load.stop();

  expect([load.failures, load.lastFailure]).toEqual([0, undefined]);
  expect(await load.lost()).toEqual([]);
});

test('a node that stops while all others do does not wait for them', { timeout: TIMEOUT_MS }, async () => {
  await using cluster = await TestCluster.start('abc', '--rf=2', '--workers=1');
  const nodes = [...'abc'].map((name) => cluster.node(name));
  for (const node of nodes) node.signal('SIGTERM');
  expect(await Promise.all(nodes.map(({ ended }) => ended))).toEqual([0, 0, 0]);
});

test('a node that is told twice to stop does not wait for others to lead', { timeout: TIMEOUT_MS }, async () => {
  await using cluster = await TestCluster.start('ab', '--rf=2', '--workers=1');
  const node = cluster.node('b');
  await knowsAll(node);
  node.signal('SIGTERM');
  await node.event('resting');
  node.signal('SIGTERM');
  expect(await node.ended).toBe(0);
});
