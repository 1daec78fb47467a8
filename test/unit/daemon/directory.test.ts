import { mkdtemp, readdir, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RegistryRecord } from '../../../src/cluster/index.js';
import { DirectoryRegistry } from '../../../src/daemon/registry/directory.js';

let folder: string;
let registry: DirectoryRegistry;
let other: DirectoryRegistry;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'henge-registry-'));
  registry = await DirectoryRegistry.open(folder);
  other = await DirectoryRegistry.open(folder);
});
afterEach(async () => {
  await registry.close();
  await other.close();
  await rm(folder, { recursive: true });
});

test('there is nothing in an empty registry', async () => {
  expect(await registry.get('topology')).toBeUndefined();
  expect(await registry.list('')).toEqual([]);
});

test('what one process puts, another gets', async () => {
  expect(await registry.put('members/a', { number: 1 }, 0)).toBe(1);
  expect(await other.get('members/a')).toEqual({ key: 'members/a', revision: 1, value: { number: 1 } });
});

test('a version is published only upon the one it was made from', async () => {
  await registry.put('topology', 'first', 0);
  expect(await other.put('topology', 'founder too', 0)).toBeUndefined();
  expect(await other.put('topology', 'second', 1)).toBe(2);
  expect(await registry.put('topology', 'late', 1)).toBeUndefined();
  expect((await registry.get('topology'))?.value).toBe('second');
});

test('of writers at the same time exactly one wins each revision', async () => {
  let revision = 0;
  for (let round = 0; round < 20; round++) {
    const puts = Array.from({ length: 8 }, (_, writer) =>
      (writer % 2 ? registry : other).put('config', writer, revision),
    );
    const winners = (await Promise.all(puts)).filter((result) => result !== undefined);
    expect(winners).toEqual([revision + 1]);
    revision++;
  }
});

test('old versions are removed, the first one and the newest stay', async () => {
  for (let revision = 0; revision < 30; revision++) await registry.put('config', revision, revision);
  const versions = (await readdir(join(folder, 'config')))
    .map((name) => Number.parseInt(name, 10))
    .sort((a, b) => a - b);
  expect(versions).toEqual([1, 23, 24, 25, 26, 27, 28, 29, 30]);
});

test('a writer that slept while its base was removed does not bring an old version back', async () => {
  for (let revision = 0; revision < 3; revision++) await registry.put('config', revision, revision);
  // As it looks to one who listed revision 3 as the newest, and links 4 only after 4 and its base are gone.
  await unlink(join(folder, 'config', '2.json'));
  const link = registry.put('config', 'slept', 3);
  await unlink(join(folder, 'config', '3.json'));
  expect(await link).toBeUndefined();
  expect(await readdir(join(folder, 'config'))).toEqual(['1.json']);
});

test('a half-written version is never read', async () => {
  await registry.put('config', 'whole', 0);
  await writeFile(join(folder, '.staging', 'half'), '{"tor');
  expect((await registry.get('config'))?.value).toBe('whole');
});

test('a watch tells what is there and what comes, each version once', async () => {
  await registry.put('members/a', 1, 0);
  const seen: RegistryRecord[] = [];
  const watch = other.watch('members/', (record) => seen.push(record));
  await expect.poll(() => seen.length).toBe(1);
  await registry.put('members/b', 2, 0);
  await registry.put('members/a', 3, 1);
  await expect
    .poll(() => seen.map(({ key, value }) => `${key}=${value}`).sort())
    .toEqual(['members/a=1', 'members/a=3', 'members/b=2']);
  watch.close();
});
