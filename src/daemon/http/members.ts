/**
 * Changes of membership over HTTP: `POST /v1/members/NAME/drain` asks a member to leave, `POST /v1/members/NAME/keep`
 * to stay after all, also when its slots are on the move already; `POST /v1/members/NAME/weight?value=W` gives it
 * another weight.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { NodeState } from './node-state.js';
import { checkOperator, refusingConflicts } from './operator.js';
import { HttpError, respondJson } from './respond.js';

export const MEMBERS_PATH = '/v1/members/';

const WANTED: Readonly<Record<string, 'drain' | 'in'>> = { drain: 'drain', keep: 'in' };

interface Change {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The path behind MEMBERS_PATH: NAME, ACTION. */
  readonly words: readonly string[];
  readonly query: URLSearchParams;
  readonly node: NodeState;
}

/** @throws HttpError */
export async function changeMembers({ request, response, words, query, node }: Change): Promise<void> {
  const [name = '', action = ''] = words;
  const wanted = WANTED[action];
  if ((wanted === undefined && action !== 'weight') || words.length !== 2) {
    throw new HttpError(404, `there is nothing at ${request.url}`);
  }
  checkOperator(request, response);
  request.resume();
  if (wanted !== undefined) {
    await refusingConflicts(node.wantMember(name, wanted));
    return respondJson(response, 202, { member: name, wanted });
  }
  const weight = Number(query.get('value') ?? Number.NaN);
  await refusingConflicts(node.weighMember(name, weight));
  respondJson(response, 202, { member: name, weight });
}
