/**
 * What holds while nothing happens but planned changes of the list of members: every call succeeds, at any level, and
 * none takes longer than a call and a hand-over do.
 */
import { WAIT_MS_MAX } from '../world/moves.js';
import { type Complaint, describeOperation, type Operation } from './history.js';

/** What a call takes here without any change, with the client's ways and pauses. */
const CALL_MS_MAX = 10;

export function checkQuiet(operations: readonly Operation[]): Complaint[] {
  return operations.flatMap((operation) => {
    if (operation.outcome === 'failed' || operation.outcome === 'unknown') {
      return [`a planned change made a call fail: ${describeOperation(operation)}`];
    }
    const tookMs = operation.endedMs - operation.beganMs;
    const isSlow = tookMs > WAIT_MS_MAX + CALL_MS_MAX;
    return isSlow ? [`a call took ${tookMs.toFixed(1)} ms: ${describeOperation(operation)}`] : [];
  });
}
