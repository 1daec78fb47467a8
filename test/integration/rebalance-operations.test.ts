/** What an operator does with a change of the list of members, and what becomes of nodes that drain when they stop. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { Henge } from '../../src/client/index.js';
import type { MemberRecord, RebalanceStatus } from '../../src/cluster/index.js';
import { TestCluster } from '../support/cluster.js';
import { commandFor, type Outcome } from '../support/command.js';
import type { TestDaemon } from '../support/daemon.js';

const TIMEOUT_MS = 90_000;
/** Enough bytes that a slow pace holds a change for as long as a test needs. */
const ITEMS = Array.from({ length: 4_000 }, (_, index) => [`item-${index}`, String(index).padEnd(1_000, '.')] as const);
const SLOW = '64k';
/** For how long a change that is paused is looked at. */
const HELD_MS = 1_500;

let cluster: TestCluster;
let client: Henge;
afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

async function filled(names: string, ...words: readonly string[]): Promise<void> {
  cluster = await TestCluster.start(names, '--rf=2', '--workers=1', ...words);
  client = await Henge.connect({ seeds: [...cluster.seeds], deadlineMs: 5_000 });
  await client.setMany(ITEMS, { ack: names.length > 1 ? 'all' : 'one' });
}

async function missing(): Promise<number> {
  const values = await client.getMany<string>(ITEMS.map(([key]) => key));
  return ITEMS.filter(([, value], at) => values[at] !== value).length;
}

const henge = (...words: readonly string[]): Promise<Outcome> => commandFor(cluster.node('a').address)(...words);

async function statusOf(node: TestDaemon): Promise<RebalanceStatus> {
  return (await (await fetch(`${node.http}/v1/rebalance`)).json()) as RebalanceStatus;
}

async function statusWhere(isMeant: (status: RebalanceStatus) => boolean, node = cluster.node('a')) {
  for (;;) {
    const status = await statusOf(node);
    if (isMeant(status)) return status;
    await sleep(20);
  }
}

const isIdle = ({ state }: RebalanceStatus): boolean => state === 'idle';

async function tell(node: TestDaemon, path: string, headers: Record<string, string> = { 'x-henge-operator': 'test' }) {
  return (await fetch(`${node.http}/v1/rebalance/${path}`, { method: 'POST', headers })).status;
}

const membersOf = async (): Promise<string> => (await client.topology()).members.map(({ name }) => name).join('');

describe('a change', { timeout: TIMEOUT_MS }, () => {
  test('that is paused moves nothing until it is resumed, and then ends; any node tells how far it is', async () => {
    await filled('ab');
    expect((await henge('rebalance', 'pause')).status).toBe(0);
    await cluster.startNode('c');
    const held = await statusWhere(
      ({ state, nodes }) => state === 'paused' && nodes.every((one) => one.epoch !== null),
    );
    expect(held).toMatchObject({ joining: ['c'], leaving: [], slotsDone: 0, etaMs: null, next: held.epoch + 1 });
    await sleep(HELD_MS);
    for (const name of 'abc') {
      const { state, slotsDone, slotsTotal } = await statusOf(cluster.node(name));
      expect([state, slotsDone, slotsTotal]).toEqual(['paused', 0, held.slotsTotal]);
    }
    expect((await henge('status')).text).toContain('c joins');

    expect((await henge('rebalance', 'resume', '--watch')).status).toBe(0);
    expect(await statusOf(cluster.node('c'))).toMatchObject({ state: 'idle', next: null, slotsTotal: 0 });
    expect(await membersOf()).toBe('abc');
    expect(await missing()).toBe(0);
  });

  test('goes at the pace it is told, which may change while it goes', async () => {
    await filled('ab', '--rebalance-rate', SLOW);
    await cluster.startNode('c');
    const slow = await statusWhere(({ state, bytesDone }) => state === 'moving' && bytesDone > 0);
    expect(slow.bytesPerSecond).toBe(null);
    await sleep(HELD_MS);
    expect((await statusOf(cluster.node('b'))).state).toBe('moving');
    expect((await henge('rebalance', 'rate', '128k', '--json')).text).toContain('"bytesPerSecond":131072');
    const known = await statusWhere(({ etaMs, bytesPerSecond }) => etaMs !== null && bytesPerSecond === 131_072);
    expect(known.bytesTotal).toBeGreaterThan(known.bytesDone);
    expect((await henge('rebalance', 'rate', '0')).text).toContain('as much as it can');
    await statusWhere(isIdle);
    expect(await missing()).toBe(0);
  });

  test('that is called off goes back: who was to join ends with 0, and everything is where it was', async () => {
    await filled('ab', '--rebalance-rate', SLOW);
    const joining = await cluster.startNode('c');
    await statusWhere(({ state }) => state === 'moving');
    const cancelled = await henge('rebalance', 'cancel', '--watch');
    expect(cancelled).toMatchObject({ status: 0, text: expect.stringContaining('called off') });
    expect(await joining.ended).toBe(0);
    expect(await membersOf()).toBe('ab');
    expect(await missing()).toBe(0);

    const refused = await henge('rebalance', 'cancel');
    expect(refused).toMatchObject({ status: 1, text: '' });
    expect(refused.complaint).toContain('nothing to call off');
  });

  test('is called off also while it is paused, for what goes back is little', async () => {
    await filled('ab');
    expect((await henge('rebalance', 'pause')).status).toBe(0);
    const joining = await cluster.startNode('c');
    await statusWhere(({ state }) => state === 'paused');
    expect(await henge('rebalance', 'cancel', '--watch')).toMatchObject({ status: 0 });
    expect(await joining.ended).toBe(0);
    expect(await membersOf()).toBe('ab');
    expect(await missing()).toBe(0);
  });

  test('that drains a node is called off, and the node stays', async () => {
    await filled('abc', '--rebalance-rate', SLOW);
    const drained = henge('drain', 'c', '--wait', '1m');
    await statusWhere(({ leaving }) => leaving.join() === 'c');
    expect(await tell(cluster.node('b'), 'cancel')).toBe(202);
    await statusWhere(isIdle);
    expect(await membersOf()).toBe('abc');
    expect(await missing()).toBe(0);
    expect((await client.topology()).members.map(({ state }) => state)).toEqual(['in', 'in', 'in']);
    // Asked again, it goes, and the command that waited all the time sees it.
    await henge('rebalance', 'rate', '0');
    expect((await henge('drain', 'c')).status).toBe(0);
    expect(await drained).toMatchObject({ status: 0, text: expect.stringContaining('c has left') });
    expect(await cluster.node('c').ended).toBe(0);
    expect(await missing()).toBe(0);
  });

  test('obeys no page and no nonsense', async () => {
    await filled('a');
    const node = cluster.node('a');
    expect(await tell(node, 'pause', {})).toBe(403);
    expect(await tell(node, 'cancel')).toBe(409);
    expect(await tell(node, 'fly')).toBe(404);
    expect(await tell(node, 'rate?bytes-per-second=-1')).toBe(400);
    expect(await tell(node, 'rate')).toBe(400);
    expect((await fetch(`${node.http}/v1/rebalance/pause`)).status).toBe(405);
    expect(await statusOf(node)).toMatchObject({ state: 'idle', isPaused: false });
    for (const words of [['rate'], ['pause', '5'], ['rate', 'fast'], ['fly']]) {
      expect((await henge('rebalance', ...words)).status).toBe(2);
    }
    expect(await henge('rebalance')).toMatchObject({ status: 0, text: 'nothing moves\n' });
  });
});

describe('a node that drains at its stop', { timeout: TIMEOUT_MS }, () => {
  test('leaves the cluster first, and nothing is lost', async () => {
    await filled('abc', '--drain-on-stop');
    const node = cluster.node('c');
    node.signal('SIGTERM');
    expect(await node.ended).toBe(0);
    expect(node.log.some(({ event }) => event === 'left')).toBe(true);
    expect(await membersOf()).toBe('ab');
    expect(await missing()).toBe(0);
    const record = (await cluster.record('members/c')) as MemberRecord;
    expect(record.wanted).toBe('gone');
  });

  test('stops as usual when it is the last, and when it is told twice', async () => {
    await filled('ab', '--drain-on-stop', '--rebalance-rate', SLOW);
    const [a, b] = [cluster.node('a'), cluster.node('b')];
    expect((await henge('rebalance', 'pause')).status).toBe(0);
    b.signal('SIGTERM');
    await b.event('leaving');
    await statusWhere(({ leaving }) => leaving.join() === 'b');
    b.signal('SIGTERM');
    expect(await b.ended).toBe(0);
    expect(b.log.some(({ event }) => event === 'left')).toBe(false);
    expect(((await cluster.record('members/b')) as MemberRecord).wanted).toBe('in');
    a.signal('SIGTERM');
    expect(await a.ended).toBe(0);
    expect(((await cluster.record('members/a')) as MemberRecord).wanted).toBe('in');
  });

  test('does not wait for others that stop as well', async () => {
    await filled('abc', '--drain-on-stop');
    const nodes = [...'abc'].map((name) => cluster.node(name));
    for (const node of nodes) node.signal('SIGTERM');
    expect(await Promise.all(nodes.map(({ ended }) => ended))).toEqual([0, 0, 0]);
    const records = (await Promise.all([...'abc'].map((name) => cluster.record(`members/${name}`)))) as MemberRecord[];
    // Whoever could not leave is a member still.
    expect(records.some(({ wanted }) => wanted === 'in')).toBe(true);
    expect(records.map(({ wanted }) => wanted)).not.toContain('drain');
  });
});
