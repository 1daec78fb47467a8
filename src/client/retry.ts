/**
 * What becomes of a request that was refused or lost. Pure: time and randomness are the caller's, so the same rules run
 * in the client and under a simulator.
 *
 * The rules: what provably did not run is sent again while there is time; a read is sent again too, or goes round a
 * leader that cannot answer it; a write that may have run never is. What follows from a change and not from load is
 * free: a request's first redirect, the first repetition of a read whose connection broke, waiting for a leader that is
 * not ready or has not heard yet that it leads. Every other repetition is paid from a budget, so that clients of an
 * overloaded cluster add a tenth to its load and not a multiple.
 */

/** Retries are a tenth of the requests at most, and so are hedges of the reads. */
const BUDGET_RATIO = 0.1;
/** Beyond that, a small stock for clients that ask little. */
const RETRY_STOCK_MAX = 100;

/** Tokens that repetitions are paid with; every request adds a tenth of one. */
export class Budget {
  #tokens: number;

  constructor(private readonly stockMax: number = RETRY_STOCK_MAX) {
    this.#tokens = stockMax;
  }

  earn(requests: number): void {
    this.#tokens = Math.min(this.stockMax, this.#tokens + requests * BUDGET_RATIO);
  }

  spend(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

/**
 * Why a request got no usable answer:
 *
 * - `moved`: the node does not lead the slot.
 * - `handed`: the node does not lead the slot, which is being handed over, and another one does or is about to.
 * - `behind`: so it says, but in an older epoch than the client's: it leads the slot as soon as it has heard.
 * - `busy`: the node is overloaded.
 * - `lost`: the connection broke with the request on it.
 * - `notReady`: the node leads the slot and cannot run this yet.
 * - `sealed`: the same while the list of members changes: the slot is being handed over, most likely.
 * - `notInSync`: the copy asked may lack something; the leader is asked next.
 * - `short`: the leader cannot answer, and too few other copies can.
 */
export type MishapKind =
  | 'moved'
  | 'handed'
  | 'behind'
  | 'busy'
  | 'lost'
  | 'notReady'
  | 'sealed'
  | 'notInSync'
  | 'short';

export interface Mishap {
  readonly kind: MishapKind;
  readonly isWrite: boolean;
  /** Enough other copies can be asked at this moment, and may be: it is an ordinary read. */
  readonly canDetour: boolean;
  /** How often the request was sent again before. */
  readonly attempts: number;
  readonly msLeft: number;
}

export type Verdict =
  | { readonly kind: 'retry'; readonly delayMs: number }
  /** Round the leader, to other copies. */
  | { readonly kind: 'detour' }
  | { readonly kind: 'fail' };

const RETRY_DELAY_MS = 5;
const RETRY_DELAY_MS_MAX = 250;
/** Short beside a take-over, long beside a request: a node that takes over is not drowned by those who wait for it. */
const NOT_READY_DELAY_MS_MIN = 5;
const NOT_READY_DELAY_MS_MAX = 50;
/** A hand-over takes a round trip between two nodes, and two while writes are in flight. */
const HANDED_DELAY_MS_MAX = 4;
const SEALED_DELAY_MS = 2;
/** A slot that is not ready after so many tries, some 50 ms, is not being handed over. */
const SEALED_ATTEMPTS_MAX = 6;
/** With less time left, a request that was told "not ready" would only end as one that perhaps ran. */
const NOT_READY_MS_LEFT_MIN = 10;

/** Whether, where and when a request is sent again. */
export function judge(mishap: Mishap, budget: Budget, random: () => number): Verdict {
  const { kind, isWrite, canDetour, attempts, msLeft } = mishap;
  if (kind === 'lost' && isWrite) return { kind: 'fail' };
  if (msLeft <= 0) return { kind: 'fail' };
  if ((kind === 'lost' || kind === 'notReady') && canDetour) return { kind: 'detour' };
  const delayMs = delayAfter(kind, attempts, random);
  if (delayMs + msNeeded(kind) >= msLeft) return { kind: 'fail' };
  if (!isFree(kind, attempts) && !budget.spend()) return { kind: 'fail' };
  return { kind: 'retry', delayMs };
}

function isFree(kind: MishapKind, attempts: number): boolean {
  if (waitsForLeader(kind) || kind === 'notInSync' || kind === 'handed') return true;
  return kind !== 'busy' && attempts === 0;
}

const msNeeded = (kind: MishapKind): number => (waitsForLeader(kind) ? NOT_READY_MS_LEFT_MIN : 0);

/** What ends by itself when the nodes are done with a change of epoch, or a slot's hand-over. */
const waitsForLeader = (kind: MishapKind): boolean =>
  kind === 'notReady' || kind === 'sealed' || kind === 'behind' || kind === 'short';

/** What a NOT_READY means for a request that was sent again so often. `isChanging`: the list of members is. */
export const whyNotReady = (isChanging: boolean, attempts: number): MishapKind =>
  isChanging && attempts < SEALED_ATTEMPTS_MAX ? 'sealed' : 'notReady';

function delayAfter(kind: MishapKind, attempts: number, random: () => number): number {
  switch (kind) {
    case 'notReady':
    case 'behind':
    case 'short':
      return Math.ceil(NOT_READY_DELAY_MS_MIN + random() * (NOT_READY_DELAY_MS_MAX - NOT_READY_DELAY_MS_MIN));
    case 'sealed':
      return Math.ceil(1 + random() * SEALED_DELAY_MS * 2 ** Math.min(attempts, SEALED_ATTEMPTS_MAX));
    case 'handed':
      return attempts === 0 ? 0 : Math.ceil(random() * HANDED_DELAY_MS_MAX);
    case 'lost':
      // It waits for the next connection, which has pauses of its own.
      return 0;
    case 'notInSync':
      return 0;
    default:
      return isFree(kind, attempts) ? 0 : retryDelayMs(attempts, random);
  }
}

/** Full jitter: anything up to the doubled bound, so that clients that failed together do not return together. */
function retryDelayMs(attempts: number, random: () => number): number {
  return Math.ceil(random() * Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS * 2 ** attempts));
}

const RECONNECT_MS = 25;
/** A killed worker is back within a second; its clients should not be what takes longer. */
const RECONNECT_MS_MAX = 500;

/** Pause before the next attempt to connect: none after a loss, then growing, at least half of it random. */
export function reconnectDelayMs(attempts: number, random: () => number): number {
  if (attempts === 0) return 0;
  const bound = Math.min(RECONNECT_MS_MAX, RECONNECT_MS * 2 ** Math.min(attempts, 16));
  return Math.ceil(bound / 2 + (random() * bound) / 2);
}
