/**
 * A seed's run is the same in every process, event for event: another process, which is this file run once more, writes
 * the hashes of its traces down, and they are compared.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { simulate } from './run.js';

const SEEDS = [1, 7, 28, 48, 111, 293, 404, 500];
/** Set in the other process: where it writes to. */
const FILE = process.env.SIMULATION_HASHES;
const TIMEOUT_MS = 120_000;

const hashes = (): string => SEEDS.map((seed) => `${seed} ${simulate({ seed }).traceHash}`).join('\n');

function compareProcesses(): void {
  const folder = mkdtempSync(join(tmpdir(), 'henge-replay-'));
  try {
    const file = join(folder, 'hashes');
    const env = { ...process.env, SIMULATION_HASHES: file };
    const { status, stdout } = spawnSync('npx', ['vitest', 'run', 'test/simulation/replay.test.ts'], { env });
    expect(status, String(stdout)).toBe(0);
    expect(readFileSync(file, 'utf8')).toBe(hashes());
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (FILE !== undefined) it('writes hashes down', () => writeFileSync(FILE, hashes()), TIMEOUT_MS);
else it('does the same from the same seed in another process', compareProcesses, TIMEOUT_MS);
