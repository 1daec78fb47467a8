/**
 * What callers do: several clients, each with a few calls open at once, on few keys, at all levels; and the history of
 * it.
 *
 * Keys are of kinds, so that each checker gets what it can judge: registers written and read at a quorum (`q`),
 * registers without deletes (`z`), counters (`n`), and keys at level one (`o`), for which only the weaker promises
 * hold. Where nothing but planned changes happens there are registers (`p`) and counters (`pn`) at level one, read at
 * their leaders, for which all promises hold.
 */
import { isVersion, Opcode, RequestFlag, Status } from '../../../src/protocol/index.js';
import { slotOf } from '../../../src/ring/index.js';
import { checkCopies } from '../check/copies.js';
import type { Increment, Level, Operation, Read, ReadLevel, Write } from '../check/history.js';
import { type Reply, type SimClient, versionExtras } from './client.js';
import { SLOTS } from './node.js';
import type { Random } from './random.js';
import type { World } from './world.js';

const KINDS = ['q', 'q', 'z', 'n', 'o'] as const;
const QUIET_KINDS = ['q', 'z', 'n', 'p', 'p', 'pn', 'o'] as const;
type Kind = (typeof QUIET_KINDS)[number];

const LEVELS: Readonly<Record<Level, number>> = { one: 0, quorum: 1, all: 2 };
const READ_LEVELS: Readonly<Record<ReadLevel, number>> = { primary: 0, quorum: 1, nearest: 2, degraded: 3 };

export interface WorkloadOptions {
  readonly keys: number;
  readonly pauseMs: number;
  readonly deadlineMs: number;
  /** Nothing but planned changes happens, so all that is written at any level must be kept. */
  readonly isQuiet: boolean;
}

const BALLAST_BYTES = 900;

export class Workload {
  readonly history: Operation[] = [];
  #sequence = 0;
  #isStopped = false;
  #ballast = 0;
  open = 0;

  constructor(
    private readonly world: World,
    private readonly clients: readonly SimClient[],
    private readonly random: Random,
    private readonly options: WorkloadOptions,
  ) {}

  /** Items that are there to be moved, and must be there in the end. */
  load(keys: number, withinMs: number): void {
    this.#ballast = keys;
    for (let key = 0; key < keys; key++) {
      const [index, client] = [key % this.clients.length, this.clients[key % this.clients.length]];
      if (client === undefined) continue;
      const plan: SetPlan = { index, key: `zb${key}`, level: 'all', bytes: BALLAST_BYTES };
      this.world.schedule.after((withinMs * key) / keys, () => this.#set(client, plan));
    }
  }

  start(): void {
    for (const [index, client] of this.clients.entries()) this.#next(client, index);
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Every key once more: registers are read, counters counted up. */
  readAll(): void {
    const [client] = this.clients;
    if (client === undefined) return;
    for (let key = 0; key < this.options.keys; key++) {
      for (const kind of ['q', 'z']) this.#get(client, 0, `${kind}${key}`, 'quorum');
      this.#increment(client, 0, `n${key}`);
      if (!this.options.isQuiet) continue;
      this.#get(client, 0, `p${key}`, 'primary');
      this.#increment(client, 0, `pn${key}`, 'one');
    }
    // One by one: more at once than a link takes would be refused.
    for (let key = 0; key < this.#ballast; key++) {
      this.world.schedule.after(key, () => this.#get(client, 0, `zb${key}`, 'quorum'));
    }
  }

  #next(client: SimClient, index: number): void {
    if (this.#isStopped) return;
    this.#issue(client, index);
    this.world.schedule.after(this.options.pauseMs * this.random.between(0.2, 2), () => this.#next(client, index));
  }

  #issue(client: SimClient, index: number): void {
    const { isQuiet, keys } = this.options;
    const kind = this.random.pick(isQuiet ? QUIET_KINDS : KINDS);
    const key = `${kind}${this.random.below(keys)}`;
    const isAtOne = kind === 'o' || kind === 'p' || kind === 'pn';
    if (kind === 'n' || kind === 'pn') this.#increment(client, index, key, isAtOne ? 'one' : this.#strictLevel());
    else if (this.random.chance(0.5)) this.#get(client, index, key, this.#readLevel(kind));
    else
      this.#write(client, { index, key, level: isAtOne ? 'one' : this.#strictLevel() }, kind === 'q' || kind === 'p');
  }

  /** A leader that is never lost has the newest of everything. */
  #readLevel(kind: Kind): ReadLevel {
    if (kind === 'o') return this.#easyLevel();
    return kind === 'p' || (this.options.isQuiet && this.random.chance(0.5)) ? 'primary' : 'quorum';
  }

  #easyLevel(): ReadLevel {
    return this.random.pick(['primary', 'nearest']);
  }

  #strictLevel(): Level {
    return this.random.pick(['quorum', 'quorum', 'all']);
  }

  #write(client: SimClient, plan: SetPlan, isAnyKind: boolean): void {
    if (isAnyKind && this.random.chance(0.2)) this.#delete(client, plan.index, plan.key, plan.level);
    else if (isAnyKind && this.random.chance(0.3)) this.#compareAndSet(client, plan.index, plan.key, plan.level);
    else this.#set(client, plan);
  }

  #begin(): number {
    this.open++;
    return this.world.schedule.nowMs;
  }

  #record(operation: Operation): void {
    this.open--;
    this.history.push(operation);
    const { kind, key, outcome } = operation;
    this.world.note(`call ${kind} ${key} ${outcome} ${JSON.stringify(operation)}`);
    this.#checkCopies(operation);
    const tookMs = operation.endedMs - operation.beganMs;
    if (tookMs > this.options.deadlineMs + 1) this.world.violation(`a call took ${tookMs} ms: ${kind} ${key}`);
  }

  #checkCopies(operation: Operation): void {
    const { kind, key, outcome, beganMs } = operation;
    if (kind !== 'set' || outcome !== 'ok' || operation.level === 'one' || operation.version === undefined) return;
    // A node that is down is not looked into.
    if (!this.world.keptMemoriesSince(beganMs) || this.world.nodes.some((node) => !node.isUp && !node.hasLeft)) return;
    const { level, version } = operation;
    const slot = slotOf(key) % SLOTS;
    for (const complaint of checkCopies(this.world, { key, slot, version, level })) this.world.violation(complaint);
  }

  #set(client: SimClient, { index, key, level, ifVersion, bytes = 0 }: SetPlan): void {
    const value = `${index}.${this.#sequence++}`;
    const beganMs = this.#begin();
    const ttl = Buffer.alloc(8);
    const isConditional = ifVersion !== undefined && isVersion(ifVersion);
    client.request(
      {
        opcode: Opcode.SET,
        key,
        flags: LEVELS[level] | (isConditional ? RequestFlag.IF_VERSION : 0),
        extras: isConditional ? versionExtras(ttl, ifVersion) : ttl,
        value: Buffer.from(value.padEnd(bytes)),
      },
      this.options.deadlineMs,
      (reply) =>
        this.#record({
          kind: 'set',
          key,
          value,
          level,
          ...(ifVersion !== undefined && { ifVersion }),
          beganMs,
          endedMs: this.world.schedule.nowMs,
          client: index,
          ...outcomeOf(reply),
        } satisfies Write),
    );
  }

  #delete(client: SimClient, index: number, key: string, level: Level): void {
    const beganMs = this.#begin();
    client.request({ opcode: Opcode.DELETE, key, flags: LEVELS[level] }, this.options.deadlineMs, (reply) =>
      this.#record({
        kind: 'delete',
        key,
        value: undefined,
        level,
        beganMs,
        endedMs: this.world.schedule.nowMs,
        client: index,
        ...outcomeOf(reply),
      } satisfies Write),
    );
  }

  /** Reads at a quorum, and sets if nobody else has meanwhile. */
  #compareAndSet(client: SimClient, index: number, key: string, level: Level): void {
    this.#get(client, index, key, level === 'one' ? 'primary' : 'quorum', (read) => {
      if (read.version !== undefined) this.#set(client, { index, key, level, ifVersion: read.version });
    });
  }

  #get(client: SimClient, index: number, key: string, level: ReadLevel, then?: (read: Read) => void): void {
    const beganMs = this.#begin();
    client.request({ opcode: Opcode.GET, key, flags: READ_LEVELS[level] }, this.options.deadlineMs, (reply) => {
      const isHit = reply.kind === 'answer' && reply.status === Status.OK;
      const isMiss = reply.kind === 'answer' && reply.status === Status.NOT_FOUND;
      const read: Read = {
        kind: 'get',
        key,
        level,
        beganMs,
        endedMs: this.world.schedule.nowMs,
        outcome: isHit || isMiss ? 'ok' : 'failed',
        ...(isHit && { value: reply.value?.toString().trimEnd() ?? '' }),
        ...(isHit && reply.version !== undefined && { version: reply.version }),
        client: index,
      };
      this.#record(read);
      if (isHit) then?.(read);
    });
  }

  #increment(client: SimClient, index: number, key: string, level: Level = 'quorum'): void {
    const delta = 1 + this.random.below(3);
    const extras = Buffer.alloc(24);
    extras.writeBigInt64LE(BigInt(delta), 0);
    extras.writeBigInt64LE(BigInt(delta), 8);
    const beganMs = this.#begin();
    client.request(
      { opcode: Opcode.INCREMENT, key, flags: LEVELS[level], extras },
      this.options.deadlineMs,
      (reply) => {
        const { outcome } = outcomeOf(reply);
        const operation: Increment = {
          kind: 'increment',
          key,
          delta,
          level,
          beganMs,
          endedMs: this.world.schedule.nowMs,
          outcome: outcome === 'refused' ? 'failed' : outcome,
          ...(outcome === 'ok' && { result: Number(reply.value?.readBigInt64LE(0)) }),
          client: index,
        };
        this.#record(operation);
      },
    );
  }
}

interface SetPlan {
  readonly index: number;
  readonly key: string;
  readonly level: Level;
  readonly ifVersion?: string;
  /** The value is as long at least. */
  readonly bytes?: number;
}

function outcomeOf(reply: Reply): { outcome: Write['outcome']; version?: string } {
  if (reply.kind === 'unknown') return { outcome: 'unknown' };
  if (reply.kind === 'failed') return { outcome: 'failed' };
  if (reply.status === Status.OK) {
    return { outcome: 'ok', ...(reply.version !== undefined && { version: reply.version }) };
  }
  const isRefusal = reply.status === Status.VERSION_MISMATCH || reply.status === Status.NOT_FOUND;
  return { outcome: isRefusal ? 'refused' : 'failed' };
}
