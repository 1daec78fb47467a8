import { mkdir, mkdtemp, readdir, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RegistryRecord } from '../../../src/cluster/index.js';
import { DirectoryRegistry } from '../../../src/daemon/registry/directory.js';
import { counterText } from '../../../src/daemon/registry/lease-files.js';
import { lockPlace } from '../../../src/daemon/registry/process-lock.js';
import { VersionedFiles } from '../../../src/daemon/registry/versions.js';

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
  const records = await VersionedFiles.open(folder);
  const isPublished = await records.publish('config', 'slept', 3, async () => {
    // What others do while the writer sleeps before it links: many versions, of which only the newest are kept.
    for (const version of [2, 3]) await unlink(join(folder, 'config', `${version}.json`));
    await writeFile(join(folder, 'config', '12.json'), '"newest"');
    return true;
  });
  expect(isPublished).toBeUndefined();
  expect(await readdir(join(folder, 'config'))).toEqual(['1.json', '12.json']);
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

test('a watch tells nothing of numbers, and nothing of what is no record', async () => {
  const seen: string[] = [];
  const watch = other.watch('', ({ key }) => seen.push(key));
  await registry.put('numbers/7', { name: 'a' }, 0);
  for (const name of ['%zz', 'stranger', '..%2F..%2Fsecret', 'members%2F..%2F..%2Fsecret'])
    await writeFile(join(folder, '.news', name), '1\n');
  await registry.put('members/a', 1, 0);
  await expect.poll(() => seen).toEqual(['members/a']);
  await registry.put('members/a', 2, 1);
  await expect.poll(() => seen).toEqual(['members/a', 'members/a']);
  expect(await readdir(join(folder, '.news'))).toContain('members%2Fa');
  watch.close();
});

test('a version is published, and noticed, though nobody can be told of it', async () => {
  const seen: unknown[] = [];
  const watch = other.watch('', ({ value }) => seen.push(value));
  await rm(join(folder, '.news'), { recursive: true });
  expect(await registry.put('config', 'quietly', 0)).toBe(1);
  await expect.poll(() => seen).toEqual(['quietly']);
  watch.close();
});

test('what a hand wrote that is not JSON is given as text, and holds nothing else up', async () => {
  const seen: unknown[] = [];
  const watch = registry.watch('', ({ value }) => seen.push(value));
  await registry.put('topology', 'good', 0);
  await mkdir(join(folder, 'config'));
  await writeFile(join(folder, 'config', '1.json'), '{"tor');
  expect((await other.get('config'))?.value).toBe('{"tor');
  await expect.poll(() => [...seen].sort()).toEqual(['good', '{"tor']);
  watch.close();
});

test('a guard is looked at when everything is written, not only before', async () => {
  const records = await VersionedFiles.open(folder);
  const revision = await records.publish('config', 'late', 0, async () => {
    expect(await readdir(join(folder, '.staging'))).toHaveLength(1);
    return false;
  });
  expect(revision).toBeUndefined();
  expect(await registry.get('config')).toBeUndefined();
  expect(await readdir(join(folder, '.staging'))).toEqual([]);
});

describe('a lease', () => {
  /** A lease as another machine, or another network namespace, would leave it. */
  async function writeForeignLease(ttlMs: number, place: string): Promise<string> {
    const file = join(folder, '.leases', 'foreign');
    await writeFile(file, `${counterText(0)}\n${JSON.stringify({ ttlMs, place })}\n`);
    await mkdir(join(folder, 'alive', 'a'), { recursive: true });
    await writeFile(join(folder, 'alive', 'a', '1.json'), JSON.stringify({ lease: 'foreign', value: { name: 'a' } }));
    return file;
  }

  test('whose process holds no lock is over at once', async () => {
    await writeForeignLease(600_000, await lockPlace());
    expect(await registry.get('alive/a')).toBeUndefined();
    expect(await readdir(join(folder, '.leases'))).toEqual([]);
  });

  test('whose lock cannot be seen from here lives while its counter moves', async () => {
    const file = await writeForeignLease(1_000, 'elsewhere');
    for (let count = 1; count <= 20; count++) {
      await writeFile(file, counterText(count), { flag: 'r+' });
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await registry.get('alive/a')).toEqual({ key: 'alive/a', revision: 1, value: { name: 'a' } });
    }
    await expect.poll(() => registry.get('alive/a'), { timeout: 20_000 }).toBeUndefined();
    expect(await readdir(join(folder, '.leases'))).toEqual([]);
  });

  test('whose file was cut off by a power failure is over', async () => {
    await writeFile(await writeForeignLease(600_000, 'elsewhere'), '0000');
    expect(await registry.get('alive/a')).toBeUndefined();
  });

  test('is lost when its file is removed, and its holder told', async () => {
    const lease = await registry.openLease(2_000);
    await lease.hold('alive/a', {});
    for (const token of await readdir(join(folder, '.leases'))) await unlink(join(folder, '.leases', token));
    await expect.poll(() => lease.isLost, { timeout: 20_000 }).toBe(true);
    await lease.lost;
    expect(await other.get('alive/a')).toBeUndefined();
    await expect(lease.hold('alive/a', {})).rejects.toThrow('the lease is lost');
  });
});
