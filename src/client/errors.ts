/** What can go wrong, as one class with stable codes. */

/**
 * - `INVALID_ARGUMENT`: a call that can never work: a wrong option, `set(key, undefined)`, a value that cannot be
 *   stored.
 * - `INVALID_KEY`: an empty key, or one longer than 65,535 bytes.
 * - `VALUE_TOO_LARGE`: larger than the cluster's largest value, or than a decompressed value may be.
 * - `NOT_A_NUMBER`, `OVERFLOW`: increment met something else than an integer, or would leave the signed 64-bit range.
 * - `UNSAFE_INTEGER`: increment by a number ran, and the result is no safe integer: use bigints. `maybeApplied` is
 *   true.
 * - `CORRUPT_VALUE`: what is stored cannot be decoded.
 * - `DEADLINE`: no answer within `deadlineMs`.
 * - `ABORTED`: the caller's signal; `cause` is its reason.
 * - `CLOSED`: the client was closed.
 * - `UNREACHABLE`: no node of the cluster, or not the one that is needed, could be reached in time.
 * - `CONNECTION_LOST`: the connection broke with the request on it.
 * - `QUEUE_FULL`: too many requests in flight or bytes unsent on this client.
 * - `BUSY`: the node is overloaded, and retries were used up.
 * - `MOVED`: the key's node was still unknown at the deadline.
 * - `OUT_OF_MEMORY`: the node could not secure memory for a write.
 * - `NOT_READY`: until the deadline the key's leader was taking over, fenced, or gone, and no others could answer; a
 *   write did not run.
 * - `NOT_ENOUGH_REPLICAS`: too few acknowledgements by the deadline; or (`maybeApplied` false) too few copies could be
 *   reached for the level asked, and nothing was done.
 * - `REFUSED`: the node understood and will not; the message says why.
 * - `PROTOCOL`: what answers is no Henge node, or speaks another version.
 * - `LOADS_FULL`: getOrSet has `loadsMax` loaders running in this process.
 */
export type HengeErrorCode =
  | 'INVALID_ARGUMENT'
  | 'INVALID_KEY'
  | 'VALUE_TOO_LARGE'
  | 'NOT_A_NUMBER'
  | 'OVERFLOW'
  | 'UNSAFE_INTEGER'
  | 'CORRUPT_VALUE'
  | 'DEADLINE'
  | 'ABORTED'
  | 'CLOSED'
  | 'UNREACHABLE'
  | 'CONNECTION_LOST'
  | 'QUEUE_FULL'
  | 'BUSY'
  | 'MOVED'
  | 'OUT_OF_MEMORY'
  | 'NOT_READY'
  | 'NOT_ENOUGH_REPLICAS'
  | 'REFUSED'
  | 'PROTOCOL'
  | 'LOADS_FULL';

const RETRYABLE: ReadonlySet<HengeErrorCode> = new Set([
  'DEADLINE',
  'UNREACHABLE',
  'CONNECTION_LOST',
  'QUEUE_FULL',
  'BUSY',
  'MOVED',
  'OUT_OF_MEMORY',
  'NOT_READY',
  'NOT_ENOUGH_REPLICAS',
  'LOADS_FULL',
]);

export class HengeError extends Error {
  override readonly name = 'HengeError';
  readonly code: HengeErrorCode;
  /** The same call may succeed later. Look at `maybeApplied` before repeating a write. */
  readonly retryable: boolean;
  /** The write may have been done all the same. Always false for reads. */
  readonly maybeApplied: boolean;

  constructor(code: HengeErrorCode, message: string, options: { maybeApplied?: boolean; cause?: unknown } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.retryable = RETRYABLE.has(code);
    this.maybeApplied = options.maybeApplied ?? false;
  }
}

/**
 * For errors of the moment: a caller that tries again in a loop would otherwise keep the event loop from everything
 * else, reconnecting included.
 */
export const rejectLater = (error: HengeError): Promise<never> =>
  new Promise((_, reject) => setImmediate(reject, error));
