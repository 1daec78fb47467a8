import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const START = fileURLToPath(new URL('../../scripts/start.mjs', import.meta.url));

it('npm start -- --once serves real cities, survives the death of a worker, and loses nothing', async () => {
  const child = spawn(process.execPath, [START, '--once', '--seconds', '6'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (bytes: Buffer) => {
    text += bytes.toString();
  });
  const [status] = (await once(child, 'close')) as [number | null];

  const figure = (label: string) => new RegExp(`^ +${label} +([\\d,.]+)`, 'm').exec(text)?.[1]?.replaceAll(',', '');
  expect(text).toMatch(/worker \d+ of node-3 killed/);
  expect(text).toMatch(/another took its place after \d+ ms/);
  expect(Number(figure('requests'))).toBeGreaterThan(1_000);
  expect(Number(figure('hits'))).toBeGreaterThan(0);
  expect(Number(figure('misses'))).toBeGreaterThan(0);
  expect(Number(figure('writes'))).toBeGreaterThan(0);
  expect(figure('failures')).toBe('0');
  expect(figure('lost or wrong')).toBe('0');
  expect(status).toBe(0);
});
