import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lruMisses } from '../../../bench/traces/lru.js';
import { readTraces, syntheticTraces, type Trace } from '../../../bench/traces/trace.js';

describe('exact LRU', () => {
  const traceOf = (items: number[], valueBytes: number[]): Trace => ({
    name: 'made for a test',
    items: Uint32Array.from(items),
    valueBytes: Uint32Array.from(valueBytes),
  });

  test('what fits altogether is missed once each', () => {
    expect(lruMisses(traceOf([0, 1, 2, 0, 1, 2, 0], [10, 10, 10]), 30, 0)).toBe(3);
  });

  test('a loop one item longer than the cache misses always', () => {
    expect(lruMisses(traceOf([0, 1, 2, 0, 1, 2], [10, 10, 10]), 20, 0)).toBe(6);
  });

  test('a hit makes an item the youngest', () => {
    // 0 is used again before 2 comes, so 1 is the one that leaves.
    expect(lruMisses(traceOf([0, 1, 0, 2, 0], [10, 10, 10]), 20, 0)).toBe(3);
  });

  test('an item is charged its overhead', () => {
    expect(lruMisses(traceOf([0, 1, 0], [10, 10]), 20, 1)).toBe(3);
  });

  test('a large item makes room by as many old ones as it takes, and none when it can never fit', () => {
    expect(lruMisses(traceOf([0, 1, 2, 0, 1], [10, 10, 15]), 20, 0)).toBe(5);
    expect(lruMisses(traceOf([0, 1, 2, 0, 1], [10, 10, 25]), 20, 0)).toBe(3);
  });
});

describe('traces', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'traces-test-'));
    await writeFile(join(folder, 'blocks.csv.gz'), gzipSync('512,7\n4096,9\n1024,7\n'));
    await writeFile(join(folder, 'pages.u32be'), Buffer.from([0, 0, 1, 0, 0, 0, 0, 5, 0, 0, 1, 0]));
    await writeFile(join(folder, 'README.md'), 'not a trace');
  });
  afterAll(() => rm(folder, { recursive: true }));

  test('lines of size,id are read, an id keeping its largest size', () => {
    const blocks = readTraces(folder, 1000).find(({ name }) => name === 'blocks');
    expect([...(blocks?.items ?? [])]).toEqual([0, 1, 0]);
    expect([...(blocks?.valueBytes ?? [])]).toEqual([1024, 4096]);
  });

  test('big-endian ids are read, each with a size of its own', () => {
    const pages = readTraces(folder, 1000).find(({ name }) => name === 'pages');
    expect([...(pages?.items ?? [])]).toEqual([0, 1, 0]);
    expect(new Set(pages?.valueBytes).size).toBe(2);
  });

  test('other files of the folder are left alone', () => {
    expect(readTraces(folder, 1000).map(({ name }) => name)).toEqual(['blocks', 'pages']);
  });

  test('no more requests are taken than were asked for', () => {
    expect(readTraces(folder, 2).map(({ items }) => items.length)).toEqual([2, 2]);
  });

  test('the synthetic ones are the same in every run', () => {
    expect(syntheticTraces(4_000)).toEqual(syntheticTraces(4_000));
  });

  test('the synthetic ones give every item a size', () => {
    for (const { items, valueBytes } of syntheticTraces(4_000)) {
      expect(Math.max(...items)).toBe(valueBytes.length - 1);
      expect(Math.min(...valueBytes)).toBeGreaterThan(0);
    }
  });
});
