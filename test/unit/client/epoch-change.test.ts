/** The client while an epoch spreads: many requests meet nodes that are not in it yet, and none of them fails. */
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
