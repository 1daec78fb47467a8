/**
 * The cluster's secret, by which nodes know each other: out of a file, or, for nodes that share a registry folder and
 * so a machine and a user, made by the first of them and kept in that folder.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Config, ConfigError } from './config.js';
import { parseRegistryLocation } from './registry/location.js';

const SECRET_CHARACTERS_MIN = 16;
const SECRET_BYTES = 32;

/** Empty when the cluster has none. @throws ConfigError */
export async function clusterSecret(config: Pick<Config, 'secretFile' | 'registry'>): Promise<string> {
  if (config.secretFile !== undefined) return secretIn(config.secretFile);
  const registry = parseRegistryLocation(config.registry);
  if (registry.kind !== 'directory') return '';
  const file = join(registry.path, '.secret');
  await makeSecret(registry.path, file);
  return secretIn(file);
}

/** First half of the secret's SHA-256; empty without a secret. */
export function secretFingerprint(secret: string): string {
  return secret === '' ? '' : createHash('sha256').update(secret).digest('hex').slice(0, 32);
}

async function secretIn(file: string): Promise<string> {
  let secret: string;
  try {
    secret = (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new ConfigError(`--secret-file cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (secret.length >= SECRET_CHARACTERS_MIN) return secret;
  throw new ConfigError(`--secret-file ${file}: a secret has at least ${SECRET_CHARACTERS_MIN} characters`);
}

/** Writes a secret, unless there is one. It appears whole: of two nodes that start together one reads the other's. */
async function makeSecret(folder: string, file: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const staged = join(folder, `.secret-${randomUUID()}`);
  await writeFile(staged, `${randomBytes(SECRET_BYTES).toString('hex')}\n`, { mode: 0o600, flag: 'wx' });
  try {
    await link(staged, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(staged);
  }
}
