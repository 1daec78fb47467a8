/** The judge on caches that are known to be bad: each fault must be found, and called by its name. */
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../src/cli/load/draw.js';
import type { Cache, Entry } from '../../../src/cli/verify/cache.js';
import { Findings } from '../../../src/cli/verify/findings.js';
import { verdictOf } from '../../../src/cli/verify/verdict.js';
import { Writer } from '../../../src/cli/verify/writer.js';
import { HengeError } from '../../../src/client/index.js';
import type { Version } from '../../../src/protocol/index.js';

const SLOW_MS = 100;
const KEYS = Array.from({ length: 8 }, (_, index) => `key-${index}`);
const TURNS = 2_000;
const FACTS = { keys: KEYS.length, allowed: [] };

/** Time that passes only when somebody sleeps. */
class World {
  nowMs = 0;
  evictions = 0;
  readonly restMs = 1_000;
  readonly random = seededRandom(7);

  now(): number {
    return this.nowMs;
  }

  stalledMs(): number {
    return 0;
  }

  async sleep(ms: number): Promise<void> {
    this.nowMs += ms;
  }

  async hasEvicted(): Promise<boolean> {
    return this.evictions > 0;
  }
}

/** A cache without faults. Those with faults override one operation. */
class SoundCache implements Cache {
  readonly items = new Map<string, { value: unknown; version: Version }>();
  operations = 0;
  #versions = 0;

  constructor(readonly world: World) {}

  async read(key: string): Promise<Entry | undefined> {
    this.operations++;
    return this.items.get(key);
  }

  async set(key: string, value: string | number): Promise<void> {
    this.put(key, value);
  }

  async create(key: string, value: string): Promise<boolean> {
    if (this.items.has(key)) return false;
    this.put(key, value);
    return true;
  }

  async replace(key: string, value: string, version: string): Promise<boolean> {
    if (this.items.get(key)?.version !== version) return false;
    this.put(key, value);
    return true;
  }

  async remove(key: string): Promise<boolean> {
    return this.items.delete(key);
  }

  async increment(key: string): Promise<number | undefined> {
    const item = this.items.get(key);
    if (item === undefined) return undefined;
    this.put(key, (item.value as number) + 1);
    return this.items.get(key)?.value as number;
  }

  put(key: string, value: unknown): void {
    this.items.set(key, { value, version: String(++this.#versions) as Version });
  }

  /** True once in so many times it is asked, by chance. */
  isTime(oneIn: number): boolean {
    return this.world.random() * oneIn < 1;
  }
}

/** Runs one writer on a cache to its verdict. */
async function findingsOn(cache: SoundCache): Promise<Findings> {
  const findings = new Findings(SLOW_MS);
  const writer = new Writer(KEYS, cache, findings, cache.world);
  let turns = 0;
  const turn = async () => {
    cache.world.nowMs++;
    return ++turns <= TURNS;
  };
  await writer.fill(async () => true);
  await writer.run(turn);
  await writer.check(async () => true);
  return findings;
}

const lost = (maybeApplied: boolean) => new HengeError('CONNECTION_LOST', 'lost', { maybeApplied });

describe('a sound cache', () => {
  it('passes', async () => {
    const findings = await findingsOn(new SoundCache(new World()));
    expect(findings.counts).toEqual({ lost: 0, foreign: 0, stale: 0, failed: 0, slow: 0, evicted: 0 });
    expect(findings.operations).toBeGreaterThan(TURNS);
    expect(verdictOf(findings, FACTS)).toBe('passed');
  });

  it('whose answers get lost now and then has failed, and nothing worse', async () => {
    class Unreliable extends SoundCache {
      override async set(key: string, value: string | number): Promise<void> {
        if (this.isTime(10)) throw lost(false);
        if (this.isTime(2)) this.put(key, value);
        else throw lost(true);
      }

      override async remove(key: string): Promise<boolean> {
        const isRemoved = await super.remove(key);
        if (this.isTime(3)) throw lost(true);
        return isRemoved;
      }

      override async increment(key: string): Promise<number | undefined> {
        if (this.isTime(4)) throw lost(true);
        const count = await super.increment(key);
        if (this.isTime(4)) throw lost(true);
        return count;
      }
    }
    const findings = await findingsOn(new Unreliable(new World()));
    expect(findings.counts).toMatchObject({ lost: 0, foreign: 0, stale: 0 });
    expect(findings.counts.failed).toBeGreaterThan(10);
    expect(verdictOf(findings, FACTS)).toBe('failed');
    expect(verdictOf(findings, { ...FACTS, allowed: ['failed'] })).toBe('passed');
  });
});

describe('a cache that', () => {
  it('loses an acknowledged write has lost', async () => {
    class Forgetful extends SoundCache {
      override async set(key: string, value: string | number): Promise<void> {
        if (!this.isTime(20)) this.put(key, value);
      }
    }
    expect(verdictOf(await findingsOn(new Forgetful(new World())), FACTS)).toBe('lost');
  });

  it('loses an acknowledged compare-and-set has lost', async () => {
    class Forgetful extends SoundCache {
      override async replace(key: string, value: string, version: string): Promise<boolean> {
        return this.isTime(20) || super.replace(key, value, version);
      }
    }
    expect(verdictOf(await findingsOn(new Forgetful(new World())), FACTS)).toBe('lost');
  });

  it('loses an increment has lost', async () => {
    class Forgetful extends SoundCache {
      override async increment(key: string): Promise<number | undefined> {
        const count = await super.increment(key);
        if (this.isTime(20)) this.put(key, (count as number) - 1);
        return count;
      }
    }
    expect(verdictOf(await findingsOn(new Forgetful(new World())), FACTS)).toBe('lost');
  });

  it('lets a deleted key come back has lost the delete', async () => {
    class Undead extends SoundCache {
      override async remove(key: string): Promise<boolean> {
        return this.isTime(10) ? this.items.has(key) : super.remove(key);
      }
    }
    expect(verdictOf(await findingsOn(new Undead(new World())), FACTS)).toBe('lost');
  });

  it('drops a key has lost, unless nodes evicted: then the miss is not judged', async () => {
    class Leaky extends SoundCache {
      override async read(key: string): Promise<Entry | undefined> {
        if (this.isTime(200)) this.items.delete(key);
        return super.read(key);
      }
    }
    expect(verdictOf(await findingsOn(new Leaky(new World())), FACTS)).toBe('lost');

    const evicting = new World();
    evicting.evictions = 1;
    const { counts } = await findingsOn(new Leaky(evicting));
    expect(counts).toMatchObject({ lost: 0, foreign: 0, stale: 0 });
    expect(counts.evicted).toBeGreaterThan(0);
  });

  it('loses what it had is not excused by evictions', async () => {
    class Reverting extends SoundCache {
      override async set(key: string, value: string | number): Promise<void> {
        if (!this.items.has(key) || !this.isTime(20)) this.put(key, value);
      }
    }
    const evicting = new World();
    evicting.evictions = 1;
    expect(verdictOf(await findingsOn(new Reverting(evicting)), FACTS)).toBe('lost');
  });

  it('gives an old value for a while is stale', async () => {
    class Lagging extends SoundCache {
      readonly #old = new Map<string, Entry>();
      #oldUntilMs = 0;

      override put(key: string, value: unknown): void {
        const before = this.items.get(key);
        if (before !== undefined) this.#old.set(key, before);
        super.put(key, value);
      }

      override async read(key: string): Promise<Entry | undefined> {
        if (this.isTime(100)) this.#oldUntilMs = this.world.nowMs + 150;
        const isOld = this.world.nowMs < this.#oldUntilMs && this.items.has(key);
        return (isOld ? this.#old.get(key) : undefined) ?? super.read(key);
      }
    }
    const findings = await findingsOn(new Lagging(new World()));
    expect(findings.counts).toMatchObject({ lost: 0 });
    expect(verdictOf(findings, FACTS)).toBe('stale');
  });

  it('counts twice holds what nobody wrote', async () => {
    class Repeating extends SoundCache {
      override async increment(key: string): Promise<number | undefined> {
        if (this.isTime(20)) await super.increment(key);
        return super.increment(key);
      }
    }
    const findings = await findingsOn(new Repeating(new World()));
    expect(findings.counts.lost).toBe(0);
    expect(verdictOf(findings, FACTS)).toBe('foreign');
  });

  it('writes what it said it refused holds what nobody wrote', async () => {
    class Lying extends SoundCache {
      override async set(key: string, value: string | number): Promise<void> {
        this.put(key, value);
        if (this.isTime(20)) throw lost(false);
      }
    }
    expect(verdictOf(await findingsOn(new Lying(new World())), FACTS)).toBe('foreign');
  });

  it("gives another key's value holds what nobody wrote", async () => {
    class Confused extends SoundCache {
      override async read(key: string): Promise<Entry | undefined> {
        return super.read(key === 'key-1' ? 'key-2' : key);
      }
    }
    expect((await findingsOn(new Confused(new World()))).counts.foreign).toBeGreaterThan(0);
  });

  it('takes its time is slow', async () => {
    class Slow extends SoundCache {
      override async set(key: string, value: string | number): Promise<void> {
        if (this.isTime(20)) await this.world.sleep(SLOW_MS + 1);
        this.put(key, value);
      }
    }
    const findings = await findingsOn(new Slow(new World()));
    expect(verdictOf(findings, FACTS)).toBe('slow');
    expect(verdictOf(findings, { ...FACTS, allowed: ['slow'] })).toBe('passed');
  });

  it('answers no more at the end is not passed, even where failures are allowed', async () => {
    class Gone extends SoundCache {
      override async read(key: string): Promise<Entry | undefined> {
        if (this.operations > TURNS / 2) throw lost(false);
        return super.read(key);
      }
    }
    const findings = await findingsOn(new Gone(new World()));
    expect(findings.unread).toBe(KEYS.length);
    expect(verdictOf(findings, { ...FACTS, allowed: ['failed'] })).toBe('unjudged');
  });
});
