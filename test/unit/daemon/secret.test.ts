import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { clusterSecret, secretFingerprint } from '../../../src/daemon/secret.js';
import { scratch } from '../../support/daemon.js';

const folder = scratch();
afterAll(() => folder[Symbol.dispose]());

const inFolder = (name: string) => ({ secretFile: undefined, registry: `dir:${folder.path}/${name}` });

test('nodes that start together in a folder find one secret there, which only their user can read', async () => {
  const secrets = await Promise.all(Array.from({ length: 8 }, () => clusterSecret(inFolder('together'))));
  expect(new Set(secrets).size).toBe(1);
  expect(secrets[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(readdirSync(`${folder.path}/together`)).toEqual(['.secret']);
  expect(statSync(`${folder.path}/together/.secret`).mode & 0o777).toBe(0o600);
});

test('there is no fingerprint of no secret', () => {
  expect(secretFingerprint('')).toBe('');
});

test('a file counts before the folder; one too short is refused', async () => {
  mkdirSync(`${folder.path}/files`);
  writeFileSync(`${folder.path}/files/good`, 'sixteen letters!\n');
  writeFileSync(`${folder.path}/files/short`, 'fifteen letters\n');
  const from = (name: string) => clusterSecret({ ...inFolder('files'), secretFile: `${folder.path}/files/${name}` });
  expect(await from('good')).toBe('sixteen letters!');
  await expect(from('short')).rejects.toThrow(/a secret has at least 16 characters/);
  await expect(from('missing')).rejects.toThrow(/--secret-file cannot be read: .*ENOENT/);
});
