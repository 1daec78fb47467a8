/**
 * Requests that change the cluster. A page of another origin must not be able to make one: browsers send the header
 * that is asked for only after they were allowed to, and nobody allows them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ConfigError } from '../config.js';
import { HttpError } from './respond.js';

export const OPERATOR_HEADER = 'x-henge-operator';

/** @throws HttpError unless the request may change something */
export function checkOperator(request: IncomingMessage, response: ServerResponse): void {
  if (request.method !== 'POST') {
    response.setHeader('allow', 'POST');
    throw new HttpError(405, `${request.method} is not offered at ${request.url}`);
  }
  if (request.headers[OPERATOR_HEADER] === undefined) {
    throw new HttpError(403, `a request that changes the cluster needs the header ${OPERATOR_HEADER}`);
  }
}

/** What cannot be as the cluster stands is refused in a sentence. */
export async function refusingConflicts(change: Promise<void>): Promise<void> {
  try {
    await change;
  } catch (error) {
    throw error instanceof ConfigError ? new HttpError(409, error.message) : error;
  }
}
