/**
 * The same slots as a real redis-server in cluster mode, asked with CLUSTER KEYSLOT about thousands of random keys.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { slotOf } from '../../../src/ring/index.js';

const isInstalled = spawnSync('redis-server', ['--version']).status === 0;
if (!isInstalled && process.env.CI === 'true') throw new Error('CI needs redis-server: apt-get install redis-server');
if (!isInstalled) console.warn('skipped: slots against redis-server, which is not installed (redis-server)');

const KEYS_PER_BATCH = 500;
const BATCHES = 10;

const randomKey = fc
  .array(
    fc.oneof(
      fc.constantFrom('{', '}', '{}', '{tag}').map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
      fc.string({ unit: 'grapheme', maxLength: 6 }).map((text) => Buffer.from(text)),
    ),
    { maxLength: 6 },
  )
  .map((parts) => Buffer.concat(parts));

describe.skipIf(!isInstalled)('slotOf beside redis-server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'henge-redis-slots-'));
  const port = 17_000 + (process.pid % 100);
  let server: ChildProcess;
  let redis: Redis;

  beforeAll(async () => {
    const options = ['--port', `${port}`, '--cluster-enabled', 'yes', '--dir', folder, '--save', ''];
    server = spawn('redis-server', [...options, '--bind', '127.0.0.1'], { stdio: 'ignore' });
    redis = new Redis({ port, retryStrategy: () => 50, maxRetriesPerRequest: 200 });
    redis.on('error', () => {}); // refused until the server listens; the ping below tells whether it ever does
    await redis.ping();
  }, 15_000);

  afterAll(() => {
    redis.disconnect();
    server.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  it(`agrees on ${BATCHES * KEYS_PER_BATCH} random keys, with and without hash tags`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(randomKey, { minLength: KEYS_PER_BATCH, maxLength: KEYS_PER_BATCH }), async (keys) => {
        const theirs = await Promise.all(keys.map((key) => redis.call('CLUSTER', 'KEYSLOT', key)));
        expect(keys.map((key) => slotOf(key))).toEqual(theirs);
      }),
      { numRuns: BATCHES, endOnFailure: true },
    );
  });
});
