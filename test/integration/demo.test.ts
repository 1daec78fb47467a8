import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const START = fileURLToPath(new URL('../../scripts/start.mjs', import.meta.url));

it('npm start -- --once serves real cities while nodes die, join and leave, and loses nothing', async () => {
  const child = spawn(process.execPath, [START, '--once', '--seconds', '6'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (bytes: Buffer) => {
    text += bytes.toString();
  });
  const [status] = (await once(child, 'close')) as [number | null];

  const figure = (label: string) => new RegExp(`^ +${label} +([\\d,.]+)`, 'm').exec(text)?.[1]?.replaceAll(',', '');
  expect(text).toMatch(/node-3 killed, all its processes/);
  expect(text).toMatch(/epoch 2 after .*: others lead them; writes to them waited [\d.]+ m?s at most/);
  expect(text).toMatch(/node-3 has caught up after .*, and leads its keys again/);
  expect(text).toMatch(/node-4 leads [\d.]+ % of keys after .*; writes took [\d.]+ m?s at most/);
  expect(text).toMatch(/node-2 has left after .*; writes took [\d.]+ m?s at most/);
  expect(Number(figure('requests'))).toBeGreaterThan(1_000);
  expect(Number(figure('hits'))).toBeGreaterThan(0);
  expect(Number(figure('misses'))).toBeGreaterThan(0);
  expect(Number(figure('writes'))).toBeGreaterThan(0);
  expect(figure('failures')).toBe('0');
  expect(figure('lost or wrong')).toBe('0');
  expect(text).toMatch(/calls that failed while no node was dead: 0/);
  expect(text).toMatch(/passed: every acknowledged write was there/);
  expect(status).toBe(0);
});
