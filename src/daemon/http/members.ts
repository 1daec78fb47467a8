/**
 * Changes of membership over HTTP: `POST /v1/members/NAME/drain` asks a member to leave, `POST /v1/members/NAME/keep`
 * to stay after all, also when its slots are on the move already.
 *
 * A page of another origin must not be able to: browsers send the header that is asked for only after they were allowed
 * to, and nobody allows them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ConfigError } from '../config.js';
import type { NodeState } from './node-state.js';
import { HttpError, respondJson } from './respond.js';

export const MEMBERS_PATH = '/v1/members/';
export const OPERATOR_HEADER = 'x-henge-operator';

const WANTED: Readonly<Record<string, 'drain' | 'in'>> = { drain: 'drain', keep: 'in' };

interface Change {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The path behind MEMBERS_PATH: NAME, ACTION. */
  readonly words: readonly string[];
  readonly node: NodeState;
}

/** @throws HttpError */
export async function changeMembers({ request, response, words, node }: Change): Promise<void> {
  const [name = '', action = ''] = words;
  const wanted = WANTED[action];
  if (wanted === undefined || words.length !== 2) throw new HttpError(404, `there is nothing at ${request.url}`);
  if (request.method !== 'POST') {
    response.setHeader('allow', 'POST');
    throw new HttpError(405, `${request.method} is not offered at ${request.url}`);
  }
  if (request.headers[OPERATOR_HEADER] === undefined) {
    throw new HttpError(403, `a request that changes the cluster needs the header ${OPERATOR_HEADER}`);
  }
  request.resume();
  try {
    await node.wantMember(name, wanted);
  } catch (error) {
    if (error instanceof ConfigError) throw new HttpError(409, error.message);
    throw error;
  }
  respondJson(response, 202, { member: name, wanted });
}
