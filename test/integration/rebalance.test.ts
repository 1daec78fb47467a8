/** Nodes join and leave while clients read and write: nobody notices. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Henge } from '../../src/client/index.js';
import { TestCluster } from '../support/cluster.js';
import type { LogLine, TestDaemon } from '../support/daemon.js';
import { unequalCopies } from '../support/node-door.js';
import { SteadyLoad } from '../support/steady-load.js';

const TIMEOUT_MS = 90_000;
const KEYS = Array.from({ length: 400 }, (_, index) => `key-${index}`);
const OLD = Array.from({ length: 20_000 }, (_, index) => [`old-${index}`, index] as const);

/** The daemon's report of an epoch whose base is this, with no change under way. */
const isBase = (names: string) => (line: LogLine) =>
  line.event === 'publish' && line.next === undefined && [...(line.base as string[])].sort().join('') === names;

async function published(cluster: TestCluster, by: string, names: string): Promise<void> {
  while (![...by].some((name) => cluster.node(name).log.some(isBase(names)))) await sleep(50);
}

async function ask(node: TestDaemon, path: string): Promise<number> {
  const headers = { 'x-henge-operator': 'test' };
  return (await fetch(`${node.http}/v1/members/${path}`, { method: 'POST', headers })).status;
}

async function missing(client: Henge): Promise<number> {
  const values = await client.getMany<number>(OLD.map(([key]) => key));
  return OLD.filter(([, value], at) => values[at] !== value).length;
}

test('two nodes join and one leaves under load: no request fails, nothing is lost', {
  timeout: TIMEOUT_MS,
}, async () => {
  await using cluster = await TestCluster.start('ab', '--rf=2', '--workers=1');
  await using client = await Henge.connect({ seeds: [...cluster.seeds] });
  await client.setMany(OLD);
  const load = new SteadyLoad(client, KEYS, 'quorum');
  await load.goesOn(KEYS.length);

  await Promise.all([cluster.startNode('c'), cluster.startNode('d')]);
  await published(cluster, 'abcd', 'abcd');
  await load.goesOn(KEYS.length);
  expect(await ask(cluster.node('b'), 'a/drain')).toBe(202);
  expect(await cluster.node('a').ended).toBe(0);
  await load.goesOn(KEYS.length);
  await load.stop();

  expect([load.failures, load.lastFailure]).toEqual([0, undefined]);
  expect(await load.lost()).toEqual([]);
  expect(await missing(client)).toBe(0);
  const addresses = [...'bcd'].map((name) => cluster.node(name).address);
  while ((await unequalCopies(addresses, KEYS, 2)).length > 0) await sleep(200);
});

test('a receiver that dies in the middle takes the change with it, and nothing else', {
  timeout: TIMEOUT_MS,
}, async () => {
  await using cluster = await TestCluster.start('ab', '--rf=2', '--workers=1');
  await using client = await Henge.connect({ seeds: [...cluster.seeds], deadlineMs: 5_000 });
  await client.setMany(OLD);
  const load = new SteadyLoad(client, KEYS, 'quorum');
  await load.goesOn(KEYS.length);

  const joining = await cluster.startNode('c');
  await joining.event('topology');
  joining.killAll();
  await load.goesOn(KEYS.length);
  while ((await client.topology()).members.length !== 2) await sleep(100);
  await load.goesOn(KEYS.length);
  await load.stop();

  expect(await load.lost()).toEqual([]);
  expect(await missing(client)).toBe(0);
});

test('a member is asked to leave with a header that no page can send, and only if another one stays', {
  timeout: TIMEOUT_MS,
}, async () => {
  await using cluster = await TestCluster.start('a', '--rf=2', '--workers=1');
  const node = cluster.node('a');
  expect((await fetch(`${node.http}/v1/members/a/drain`, { method: 'POST' })).status).toBe(403);
  expect(await ask(node, 'a/drain')).toBe(409);
  expect(await ask(node, 'nobody/drain')).toBe(409);
  expect(await ask(node, 'a/fly')).toBe(404);
});

test('a member gets another weight while it runs, and with it another part of the slots', {
  timeout: TIMEOUT_MS,
}, async () => {
  await using cluster = await TestCluster.start('ab', '--rf=2', '--workers=1');
  await using client = await Henge.connect({ seeds: [...cluster.seeds] });
  await client.setMany(OLD);
  const node = cluster.node('a');
  expect(await ask(node, 'b/weight?value=3')).toBe(202);
  while ((await client.topology()).next !== undefined || (await weightOf(client, 'b')) !== 3) await sleep(50);
  const { slots } = (await client.stats('b')) as { readonly slots: number };
  expect(slots / 16_384).toBeCloseTo(0.75, 1);
  expect(await missing(client)).toBe(0);
  for (const refused of ['b/weight?value=0', 'b/weight?value=65', 'b/weight', 'nobody/weight?value=1']) {
    expect(await ask(node, refused)).toBe(409);
  }
});

async function weightOf(client: Henge, name: string): Promise<number | undefined> {
  return (await client.topology()).members.find((member) => member.name === name)?.weight;
}

test('a cluster with one copy of everything grows and shrinks under load: no request fails, nothing is lost', {
  timeout: TIMEOUT_MS,
}, async () => {
  await using cluster = await TestCluster.start('ab', '--rf=1', '--workers=1');
  await using client = await Henge.connect({ seeds: [...cluster.seeds] });
  await client.setMany(OLD);
  const load = new SteadyLoad(client, KEYS, 'one');
  await load.goesOn(KEYS.length);

  await cluster.startNode('c');
  await published(cluster, 'abc', 'abc');
  await load.goesOn(KEYS.length);
  expect(await ask(cluster.node('b'), 'a/drain')).toBe(202);
  expect(await cluster.node('a').ended).toBe(0);
  await load.goesOn(KEYS.length);
  await load.stop();

  expect([load.failures, load.lastFailure]).toEqual([0, undefined]);
  expect(await load.lost()).toEqual([]);
  expect(await missing(client)).toBe(0);
  const { possibleLossSlots } = (await client.stats('b')) as { readonly possibleLossSlots: number };
  expect(possibleLossSlots).toBe(0);
});
