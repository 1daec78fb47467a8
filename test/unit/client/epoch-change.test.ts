/** The client while an epoch spreads: many requests meet nodes that are not in it yet, and none of them fails. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Henge } from '../../../src/index.js';
import { Opcode, type RequestFrame } from '../../../src/protocol/index.js';
import { movedTo, ReferenceCluster } from '../../support/client-cluster.js';

const PORT = 17_150;
/** More than the client's stock of retries. */
const WRITES = 300;

let cluster: ReferenceCluster;
let client: Henge;

beforeEach(async () => {
  cluster = await ReferenceCluster.start(3, PORT, { rf: 2 });
  client = await Henge.connect({ seeds: cluster.seeds, deadlineMs: 10_000 });
});

afterEach(async () => {
  await client.close();
  await cluster.stop();
});

/** Resolves to what a listener is told first. */
const once = <T>(listen: (tell: (value: T) => void) => unknown): Promise<T> =>
  new Promise((resolve) => listen(resolve));

const isSet = ({ opcode }: RequestFrame): boolean => opcode === Opcode.SET;

/** Says of each request how often its key was asked for before. */
function counting(): (frame: RequestFrame) => number {
  const counts = new Map<string, number>();
  return ({ key }) => {
    const before = counts.get(key.toString()) ?? 0;
    counts.set(key.toString(), before + 1);
    return before;
  };
}

it('waits for a node that is behind it, free of charge', async () => {
  cluster.publish(['a']);
  const keys = cluster.keysOf(['b'], WRITES);
  const asked = counting();
  cluster.disturb('b', (frame) => (isSet(frame) && asked(frame) < 4 ? movedTo(1) : undefined));
  await Promise.all(keys.map((key) => client.set(key, 1)));
  expect(await client.getMany(keys)).toEqual(keys.map(() => 1));
});

it('goes by the topology it has when a node pushes one that makes no ring, and takes the next one', async () => {
  const { topology } = cluster.server('a') as { topology: { members: object[] } };
  const heavy = topology.members.map((member) => ({ ...member, weight: 1_000 }));
  cluster.server('a').push({ ...topology, epoch: 2, members: heavy });
  await client.set('k', 1);
  // Routes are made beside the requests: those of the broken one would be done by then.
  await sleep(100);
  expect(await client.get('k')).toBe(1);
  const news = once((tell) => client.on('topology', tell));
  cluster.server('a').push({ ...topology, epoch: 3 });
  expect(await news).toMatchObject({ epoch: 3 });
  expect(await client.get('k')).toBe(1);
});

it('waits for the address of a leader that has just started', async () => {
  const { topology } = cluster.server('a') as { topology: { members: { name: string; address: string }[] } };
  const [key = ''] = cluster.keysOf(['b'], 1);
  const unheard = topology.members.map((member) => (member.name === 'b' ? { ...member, address: '' } : member));
  for (const { name } of topology.members) cluster.server(name).push({ ...topology, epoch: 1, members: unheard });
  await sleep(50);
  const write = client.set(key, 'v');
  await sleep(100);
  cluster.server('a').push(topology);
  await write;
  expect(await client.get(key)).toBe('v');
});

it('is closed also for a call that waits for an address', async () => {
  const { topology } = cluster.server('a') as { topology: { members: { name: string; address: string }[] } };
  const [key = ''] = cluster.keysOf(['b'], 1);
  const unheard = topology.members.map((member) => (member.name === 'b' ? { ...member, address: '' } : member));
  cluster.server('a').push({ ...topology, members: unheard });
  await sleep(50);
  const write = client.set(key, 'v');
  const failed = expect(write).rejects.toMatchObject({ code: 'CLOSED' });
  await client.close();
  await failed;
});

it('goes on with a node whose address was gone for a moment, while an answer was on its way', async () => {
  const { topology } = cluster.server('a') as { topology: { members: { name: string; address: string }[] } };
  const [slow = '', next = ''] = cluster.keysOf(['b'], 2);
  cluster.disturb('b', ({ key }) => (key.toString() === slow ? { delayMs: 300 } : undefined));
  const write = client.set(slow, 'v');
  await sleep(50);
  const unheard = topology.members.map((member) => (member.name === 'b' ? { ...member, address: '' } : member));
  for (const members of [unheard, topology.members]) cluster.server('a').push({ ...topology, members });
  await sleep(50);
  await Promise.all([write, client.set(next, 'v')]);
  expect(await client.getMany([slow, next])).toEqual(['v', 'v']);
});
