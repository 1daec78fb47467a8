/**
 * How data moves, over HTTP: `GET /v1/rebalance` tells how far a change of the list of members is, and
 * `POST /v1/rebalance/pause`, `resume`, `cancel` and `rate` say how it is to go on. The answer is the state after it.
 *
 * A rate is a number of bytes a second for each node, as `?bytes-per-second=` or as `{ "bytesPerSecond": … }` in the
 * body; 0: as fast as it can, null or `default`: what each node's own configuration says.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import type { RebalanceWord } from '../rebalance.js';
import { readBody } from './body.js';
import type { NodeState } from './node-state.js';
import { checkOperator, refusingConflicts } from './operator.js';
import { HttpError, respondJson } from './respond.js';

export const REBALANCE_PATH = '/v1/rebalance/';

/** Room for a number and its name. */
const BODY_BYTES_MAX = 1_024;
const PARAMETER = 'bytes-per-second';
const RateBody = z.object({ bytesPerSecond: z.number().min(0).nullable() });

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The path behind REBALANCE_PATH. */
  readonly action: string;
  readonly query: URLSearchParams;
  readonly node: NodeState;
}

/** @throws HttpError */
export async function directRebalance(call: Call): Promise<void> {
  const { request, response, action, node } = call;
  if (!['pause', 'resume', 'cancel', 'rate'].includes(action)) {
    throw new HttpError(404, `there is nothing at ${request.url}`);
  }
  checkOperator(request, response);
  await refusingConflicts(node.directRebalance(await wordOf(call)));
  respondJson(response, 202, node.rebalance);
}

async function wordOf({ request, action, query }: Call): Promise<RebalanceWord> {
  if (action === 'rate') return { kind: 'rate', bytesPerSecond: await rateOf(request, query) };
  request.resume();
  return { kind: action as 'pause' | 'resume' | 'cancel' };
}

async function rateOf(request: IncomingMessage, query: URLSearchParams): Promise<number | undefined> {
  const text = query.get(PARAMETER);
  if (text === null) return rateIn((await readBody(request, BODY_BYTES_MAX, noRate)).toString());
  request.resume();
  if (text === 'default') return undefined;
  const bytesPerSecond = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isFinite(bytesPerSecond) && bytesPerSecond >= 0) return bytesPerSecond;
  throw new HttpError(400, `${PARAMETER}=${text} is not a number of bytes, 0 or 'default'`);
}

function rateIn(body: string): number | undefined {
  try {
    return RateBody.parse(JSON.parse(body)).bytesPerSecond ?? undefined;
  } catch {
    throw noRate();
  }
}

const noRate = (): HttpError =>
  new HttpError(400, `give ?${PARAMETER}=N, or a body { "bytesPerSecond": N }; N is 0 or more, or null`);
