/** Hedged reads: a second copy is asked when the first takes longer than most, and never for more than a tenth. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Henge } from '../../../src/index.js';
import { Opcode, RequestFlag, type RequestFrame, Status } from '../../../src/protocol/index.js';
import { ReferenceCluster } from '../../support/client-cluster.js';

const PORT = 17_140;
const STOCK = 10;

let cluster: ReferenceCluster;
let client: Henge;

beforeEach(async () => {
  cluster = await ReferenceCluster.start(3, PORT, { rf: 3 });
  client = await Henge.connect({ seeds: cluster.seeds, hedge: true });
  // Enough to know what is usual.
  for (let i = 0; i < 300; i++) await client.get(`warm:${i}`);
});

afterEach(async () => {
  await client.close();
  await cluster.stop();
});

const isRead = ({ opcode }: RequestFrame): boolean => opcode === Opcode.GET;
const levelOf = ({ flags }: RequestFrame): number => flags & RequestFlag.LEVEL_MASK;
const isHedge = (frame: RequestFrame): boolean => isRead(frame) && levelOf(frame) === 2;
const hedges = (): RequestFrame[] => cluster.servers.flatMap(({ seen }) => seen.filter(isHedge));

it('a read whose node forgot it is answered by another copy, once', async () => {
  const [key = ''] = cluster.keysOf(['a'], 1);
  await client.set(key, 'value');
  const before = hedges().length;
  cluster.disturb('a', (frame) => (isRead(frame) && frame.key.toString() === key ? 'ignore' : undefined));
  expect(await client.getEntry(key, { deadlineMs: 30_000 })).toMatchObject({ value: 'value', isDegraded: false });
  expect(hedges().length).toBe(before + 1);
});

it('the answer that comes second is ignored, and confuses nobody', async () => {
  const keys = cluster.keysOf(['a'], 8);
  await client.setMany(keys.map((key) => [key, key] as const));
  cluster.disturb('a', (frame) => (isRead(frame) ? { delayMs: 60 } : undefined));
  expect(await client.getMany(keys)).toEqual(keys);
  await new Promise((resolve) => setTimeout(resolve, 100));
  cluster.calm('a');
  expect(await client.getMany(keys)).toEqual(keys);
  for (const server of cluster.servers) expect(server.connections).toBe(1);
});

it('a copy that may lack something is no answer', async () => {
  const [key = ''] = cluster.keysOf(['a'], 1);
  await client.set(key, 'value');
  cluster.disturb('a', (frame) => (isRead(frame) ? { delayMs: 60 } : undefined));
  for (const name of ['b', 'c']) {
    cluster.disturb(name, (frame) => (isHedge(frame) ? { status: Status.NOT_IN_SYNC } : undefined));
  }
  expect(await client.get(key)).toBe('value');
});

it('no more than a tenth of the reads are asked twice, however slow all nodes become', async () => {
  const before = hedges().length;
  for (const { name } of cluster.servers) {
    cluster.disturb(name, (frame) => (isRead(frame) ? { delayMs: 20 } : undefined));
  }
  const reads = 2_000;
  for (let i = 0; i < reads; i += 100) {
    await client.getMany(Array.from({ length: 100 }, (_, j) => `slow:${i + j}`));
  }
  const count = hedges().length - before;
  expect(count).toBeGreaterThan(0);
  expect(count).toBeLessThanOrEqual(reads / 10 + STOCK);
});

it('reads at quorum are asked of their leader only', async () => {
  const before = hedges().length;
  for (const { name } of cluster.servers) {
    cluster.disturb(name, (frame) => (isRead(frame) ? { delayMs: 60 } : undefined));
  }
  await client.getMany(
    Array.from({ length: 20 }, (_, i) => `key:${i}`),
    { read: 'quorum' },
  );
  expect(hedges().length).toBe(before);
});
