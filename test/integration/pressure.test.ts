/** A node that is given far more than it can hold: real processes, memory as the kernel counts it. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Henge } from '../../src/index.js';
import { scratch, TestDaemon } from '../support/daemon.js';

const MIB = 1024 * 1024;
const MEMORY_BYTES = 64 * MIB;
const WRITTEN_BYTES = 10 * MEMORY_BYTES;
/** What a node of this memory may take from the machine, tables of its own included. */
const SHARED_BYTES_MAX = MEMORY_BYTES * 1.05;
const BATCH = 256;

test('ten times its memory written: every write is taken, what is found is right, no more memory is used', async () => {
  using folder = scratch();
  await using daemon = await TestDaemon.start(folder.path, `--memory=${MEMORY_BYTES}`);
  await using client = await Henge.connect({ seeds: daemon.address, deadlineMs: 10_000 });
  const random = seeded(20_240_607);
  const source = Buffer.from(Array.from({ length: 64 * 1024 }, () => Math.floor(random() * 256)));

  let written = 0;
  let last: [string, Buffer][] = [];
  for (let batch = 0; written < WRITTEN_BYTES; batch++) {
    // From a few bytes to some 50 KiB, small ones as likely as large ones.
    last = Array.from({ length: BATCH }, (_, i) => [`${batch}:${i}`, source.subarray(0, Math.exp(random() * 10.8))]);
    await client.setMany(last);
    written += last.reduce((sum, [, value]) => sum + value.length, 0);
  }

  const found = await client.getMany(last.map(([key]) => key));
  const kept = last.filter((_, i) => found[i] !== undefined);
  // Any item may be evicted at any time, one that nobody has asked for again rather than others.
  expect(kept.length).toBeGreaterThan(BATCH / 2);
  expect(found.filter((value) => value !== undefined)).toEqual(kept.map(([, value]) => value));
  expect(await daemon.metric('henge_evictions_total')).toBeGreaterThan(0);
  expect(await daemon.metric('henge_out_of_memory_total')).toBe(0);
  expect(await daemon.metric('henge_memory_used_bytes')).toBeLessThanOrEqual(MEMORY_BYTES);
  expect(sharedBytes(daemon)).toBeLessThanOrEqual(SHARED_BYTES_MAX);
});

/** Shared memory of the daemon and its workers, pages that several of them map counted once. */
function sharedBytes({ child }: TestDaemon): number {
  const primary = Number(child.pid);
  const tasks = readdirSync(`/proc/${primary}/task`);
  const workers = tasks.flatMap((task) => readFileSync(`/proc/${primary}/task/${task}/children`, 'utf8').split(' '));
  const kilobytes = [primary, ...workers.filter(Boolean)].map((pid) => {
    const match = /^Pss_Shmem: +(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
    return Number(match?.[1]);
  });
  return kilobytes.reduce((sum, each) => sum + each, 0) * 1024;
}

/** Park and Miller's generator. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
