/**
 * What an operator asks and tells a cluster: over HTTP, at any node that answers, for each of them can do all of it.
 */
import type { Topology } from '../client/index.js';
import type { RebalanceStatus } from '../cluster/index.js';
import { DEADLINE_MS_DEFAULT, Failure } from './command.js';

const OPERATOR = { 'x-henge-operator': 'henge' };
/** What changes the cluster is written to the registry, perhaps more than once, before it is answered. */
const CHANGE_MS_MAX = 10_000;

/** @throws Failure when no node answers, or one refuses */
export async function readProgress(topology: Topology): Promise<RebalanceStatus> {
  return (await askAny(topology, '/v1/rebalance', {}, DEADLINE_MS_DEFAULT)) as RebalanceStatus;
}

/** @throws Failure when no node answers, or one refuses */
export async function tellAny(topology: Topology, path: string): Promise<unknown> {
  return askAny(topology, path, { method: 'POST', headers: OPERATOR }, CHANGE_MS_MAX);
}

async function askAny({ members }: Topology, path: string, how: RequestInit, deadlineMs: number): Promise<unknown> {
  for (const { http, state } of members) {
    if (http === undefined || state === 'away') continue;
    const signal = AbortSignal.timeout(deadlineMs);
    const answer = await fetch(`http://${http}${path}`, { ...how, signal }).catch(() => undefined);
    const body: unknown = await answer?.json().catch(() => undefined);
    // A node that is ending, or of another release: another one may do it.
    if (answer === undefined || body === undefined || answer.status >= 500) continue;
    if (answer.ok) return body;
    throw new Failure((body as { readonly error: string }).error);
  }
  throw new Failure(
    'no node answers over HTTP (--http): only that way can nodes be asked and told how data is to move',
  );
}
