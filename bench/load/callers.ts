/** Whom a paced load calls: a client of Henge, or ioredis' client of a Redis Cluster behind the same words. */
import { once } from 'node:events';
import type { Cluster } from 'ioredis';
import { Henge } from '../../src/index.js';

export type CallersName = 'henge' | 'redis-cluster';

export interface Callers {
  get(key: string, options?: { readonly deadlineMs?: number }): Promise<unknown>;
  set(key: string, value: string, options?: object): Promise<unknown>;
  increment(key: string, by: number, options?: object): Promise<unknown>;
  on(event: 'degraded', listener: (count: number) => void): unknown;
  close(): Promise<void>;
}

export function connectCallers(name: CallersName, seeds: readonly string[]): Promise<Callers> {
  return name === 'henge' ? Henge.connect({ seeds: [...seeds] }) : RedisCallers.connect(seeds);
}

/** As it comes: it asks again where a slot has moved to, and knows no levels and no deadlines. */
class RedisCallers implements Callers {
  private constructor(private readonly cluster: Cluster) {}

  static async connect(seeds: readonly string[]): Promise<RedisCallers> {
    const ioredis = await import('ioredis');
    const cluster = new ioredis.Cluster([...seeds]);
    await once(cluster, 'ready');
    return new RedisCallers(cluster);
  }

  async get(key: string): Promise<string | undefined> {
    return (await this.cluster.get(key)) ?? undefined;
  }

  set(key: string, value: string): Promise<unknown> {
    return this.cluster.set(key, value);
  }

  increment(key: string, by: number): Promise<unknown> {
    return this.cluster.incrby(key, by);
  }

  /** No copy answers for a master here. */
  on(): void {}

  async close(): Promise<void> {
    await this.cluster.quit();
  }
}
