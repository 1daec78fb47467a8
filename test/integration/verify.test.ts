/** `henge verify` on real nodes that are killed while it runs: what was promised is there, what was not is missed. */
import { expect, test } from 'vitest';
import { TestCluster } from '../support/cluster.js';
import { type Command, commandFor, type Outcome } from '../support/command.js';

const TIMEOUT_MS = 90_000;

interface Result {
  readonly lost: number;
  readonly stale: number;
  readonly foreign: number;
  readonly failed: number;
  readonly unread: number;
  readonly evicted: number;
  readonly slow: number;
  readonly p99Ms: number;
  readonly longestMs: number;
  readonly reads: number;
  readonly writes: number;
  readonly verdict: string;
  readonly epochs: readonly [number, number];
  readonly quiet: { readonly count: number };
  readonly during: { readonly count: number };
  readonly examples: readonly { readonly kind: string; readonly key: string }[];
}

const resultOf = ({ text }: Outcome): Result => JSON.parse(text) as Result;

/** Starts it, and waits until its keys are there. */
async function begin(henge: Command, ...words: readonly string[]): Promise<{ readonly outcome: Promise<Outcome> }> {
  const outcome = henge('verify', '--json', '--keys', '300', '--rate', '600', ...words);
  while ((await henge('scan', 'henge-verify:', '--limit', '200')).text.split('\n').length < 200);
  return { outcome };
}

test('a cluster that nobody touches passes, and is left as it was', { timeout: TIMEOUT_MS }, async () => {
  await using cluster = await TestCluster.start('abc', '--rf=2', '--workers=1');
  const henge = commandFor(cluster.seeds.join(','));
  const outcome = await henge('verify', '--json', '--keys=200', '--rate=500', '--duration=2s', '--allow=slow');
  const result = resultOf(outcome);
  expect(result).toMatchObject({ lost: 0, stale: 0, foreign: 0, failed: 0, evicted: 0, unread: 0, verdict: 'passed' });
  expect(outcome).toMatchObject({ status: 0, complaint: '' });
  expect(result.reads).toBeGreaterThan(500);
  expect(result.writes).toBeGreaterThan(200);
  expect(result.quiet.count + result.during.count).toBe(result.reads + result.writes);
  expect((await henge('scan', 'henge-verify:')).text).toBe('');
});

test('a node that is killed takes nothing with it that was acknowledged at quorum', {
  timeout: TIMEOUT_MS,
}, async () => {
  await using cluster = await TestCluster.start('abc', '--rf=2', '--workers=1');
  const henge = commandFor(cluster.seeds.join(','));
  const { outcome } = await begin(henge, '--level=quorum', '--duration=12s', '--deadline=5s', '--allow=failed,slow');
  cluster.node('c').killAll();
  const result = resultOf(await outcome);
  expect(result).toMatchObject({ lost: 0, stale: 0, foreign: 0, unread: 0, verdict: 'passed' });
  expect(result.examples).toEqual([]);
  expect((await outcome).status).toBe(0);
  // It has seen what happened.
  expect(result.epochs[1]).toBeGreaterThan(result.epochs[0]);
  expect(result.during.count).toBeGreaterThan(0);
  expect(result.failed + result.slow).toBeGreaterThan(0);
});

test('a node that is killed and comes back empty has lost what it alone held', { timeout: TIMEOUT_MS }, async () => {
  await using cluster = await TestCluster.start('abc', '--rf=1', '--workers=1');
  const henge = commandFor(cluster.seeds.join(','));
  const { outcome } = await begin(henge, '--duration=14s', '--allow=failed,slow');
  cluster.node('c').killAll();
  await cluster.startNode('c');
  const result = resultOf(await outcome);
  expect((await outcome).status).toBe(1);
  expect(result.verdict).toBe('lost');
  // About a third of the keys, of which some were absent by right.
  expect(result.lost).toBeGreaterThan(30);
  expect(result.lost).toBeLessThan(170);
  expect(result.examples[0]).toMatchObject({
    kind: 'lost',
    key: expect.stringMatching(/^henge-verify:[0-9a-f]{8}:\d+$/),
  });
});

test('a node that is killed and waited for fails its callers', { timeout: TIMEOUT_MS }, async () => {
  await using cluster = await TestCluster.start('abc', '--rf=1', '--workers=1', '--on-partition=fence');
  const henge = commandFor(cluster.seeds.join(','));
  const { outcome } = await begin(henge, '--duration=10s');
  cluster.node('c').killAll();
  const result = resultOf(await outcome);
  expect((await outcome).status).toBe(1);
  expect(result.verdict).toBe('failed');
  expect(result).toMatchObject({ lost: 0, stale: 0, foreign: 0 });
  expect(result.unread).toBeGreaterThan(50);
});
