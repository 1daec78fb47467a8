import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Report } from '../../bench/report/report.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** The first run compiles the harness. */
const RUN_MS_MAX = 120_000;

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bench-test-'));
});
afterAll(() => rm(folder, { recursive: true }));

function bench(...words: string[]) {
  return promisify(execFile)('npm', ['run', '--silent', 'bench', '--', ...words], { cwd: ROOT });
}

test('a suite prints a table and writes its figures as JSON', { timeout: RUN_MS_MAX }, async () => {
  const file = join(folder, 'ring.json');

  const { stdout } = await bench('ring', '--quick', '--json', file);

  const report = JSON.parse(await readFile(file, 'utf8')) as Report;
  expect(report).toMatchObject({
    suite: 'ring',
    at: expect.stringMatching(/^\d{4}-\d{2}-\d{2}T[\d:.]+Z$/),
    machine: { cpu: expect.any(String), cores: expect.any(Number), memoryBytes: expect.any(Number) },
    versions: { henge: expect.stringMatching(/^\d/), node: process.version },
  });
  expect(report.figures.length).toBeGreaterThan(0);
  for (const figure of report.figures) {
    expect(figure).toMatchObject({
      id: expect.stringMatching(/^ring\./),
      value: expect.any(Number),
      unit: expect.any(String),
      spread: expect.any(Number),
      rounds: expect.any(Number),
      command: `npm run bench -- ring --quick --json ${file}`,
    });
    expect(figure).toHaveProperty('against');
    expect(figure).toHaveProperty('ratio');
    expect(stdout).toContain(figure.id);
  }
});

test('the slot table holds what it promises of evenness and movement', { timeout: RUN_MS_MAX }, async () => {
  const file = join(folder, 'goals.json');

  await bench('ring', '--quick', '--json', file);

  const { figures } = JSON.parse(await readFile(file, 'utf8')) as Report;
  const exact = figures.filter(({ id }) => ['ring.peakToMean', 'ring.joinMoves32', 'ring.joinMoves100'].includes(id));
  expect(exact.map(({ isHeld }) => isHeld)).toEqual([true, true, true]);
});

test('without a suite the suites are listed', { timeout: RUN_MS_MAX }, async () => {
  const { stdout } = await bench();
  for (const name of ['client', 'node', 'memory', 'ring', 'hits', 'http', 'failover', 'replication'])
    expect(stdout).toMatch(new RegExp(`^${name} `, 'm'));
});

test('an unknown suite is wrong usage', { timeout: RUN_MS_MAX }, async () => {
  await expect(bench('nonsense')).rejects.toMatchObject({ code: 2 });
});
