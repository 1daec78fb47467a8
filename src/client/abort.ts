/** A caller's AbortSignal, kept off the path of calls that have none. */

import { HengeError } from './errors.js';

/** The promise, given up when the signal fires. What it stands for goes on; its outcome is then nobody's. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal, maybeApplied = false): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(abortError(signal, maybeApplied));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

export function abortError(signal: AbortSignal, maybeApplied = false): HengeError {
  return new HengeError('ABORTED', 'the call was aborted', { cause: signal.reason, maybeApplied });
}
