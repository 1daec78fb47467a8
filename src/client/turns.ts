/** Long work of a thread that answers requests: a little of it in every turn of the event loop. */
import type { Steps } from '../ring/index.js';

/** Requests of a turn wait so long for it, and a step more. */
const TURN_MS = 1;
/** Between turns, as long as nobody waits for the result: most requests then meet no turn. */
const REST_MS = 4;

export interface Demand {
  /** False: nobody wants the result any more. */
  readonly isWanted: () => boolean;
  /** Somebody waits for it. */
  readonly isUrgent: () => boolean;
}

/** Resolves to the result, in a later turn; to undefined when it is wanted no longer. */
export function inTurns<T>(steps: Steps<T>, { isWanted, isUrgent }: Demand): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const take = (): void => {
      if (!isWanted()) {
        resolve(undefined);
        return;
      }
      const untilMs = performance.now() + TURN_MS;
      try {
        do {
          const { done, value } = steps.next();
          if (done === true) {
            resolve(value);
            return;
          }
        } while (performance.now() < untilMs);
      } catch (error) {
        reject(error);
        return;
      }
      next();
    };
    const next = (): void => {
      if (isUrgent()) setImmediate(take);
      else setTimeout(take, REST_MS);
    };
    next();
  });
}
