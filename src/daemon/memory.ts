/** The node's memory: made, found in its file, or taken over from a daemon that died while its workers live. */
import { createHmac } from 'node:crypto';
import { loadAddon, type NativeArena } from '../store/index.js';
import type { Config } from './config.js';
import type { Logger } from './log.js';
import type { Orphans } from './orphans.js';

export interface Memory {
  readonly arena: NativeArena;
  /** Orphans whose workers use it, and go on until they are told to end. */
  readonly orphans: Orphans | undefined;
}

export interface MemoryNeeds {
  readonly nodeNumber: number;
  readonly secret: string;
  readonly orphans: Orphans | undefined;
  readonly log: Logger;
}

export async function obtainMemory(config: Config, { nodeNumber, secret, orphans, log }: MemoryNeeds): Promise<Memory> {
  const addon = loadAddon();
  const adopted = await orphans?.adoptMemory(addon, config);
  const arena =
    adopted ??
    addon.create({
      bytes: config.memory,
      valueBytesMax: config.maxValue,
      nodeName: config.name,
      nodeNumber,
      replicated: true,
      hashSeed: hashSeedOf(secret),
      ...(config.arena !== undefined && { file: config.arena }),
    });
  const origin = adopted === undefined ? arena.origin : 'adopted';
  const { incarnation, pages } = arena;
  log.info({ event: 'arena', origin, incarnation, bytes: config.memory, pages }, `memory ${origin}`);
  return { arena, orphans: adopted === undefined ? undefined : orphans };
}

/** Deletions travel as hashes, so that all nodes must hash alike; who knows the seed can choose keys that collide. */
function hashSeedOf(secret: string): bigint {
  return createHmac('sha256', secret).update('henge hash seed').digest().readBigUInt64LE();
}

/**
 * Readies a memory that no worker uses for the epoch that is current: what it led it leads again if nothing can be
 * missing, and what was a copy has to be declared in sync.
 */
export function resume({ origin, resume }: NativeArena): void {
  if (origin !== 'new') resume(origin === 'warm');
}
