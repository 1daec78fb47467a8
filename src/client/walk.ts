/** Walks over a node's keys, step by step: listing them, and deleting them by prefix. */

import { isUtf8 } from 'node:buffer';
import { Opcode } from '../protocol/index.js';
import { abortError } from './abort.js';
import type { RawAnswer } from './answer.js';
import { AnswerKind, Draft } from './call.js';
import { HengeError } from './errors.js';
import type { Fleet } from './fleet.js';
import type { Key } from './options.js';

/** Keys asked for in a step: an answer of some tens of kilobytes. */
const SCAN_KEYS_WANTED = 500;
const CURSOR_AT = 0;
const WANTED_AT = 8;
const HORIZON_AT = 8;
const DELETED_AT = 16;

/** The keys of one node that begin with the prefix, without their first `skipped` bytes. */
export async function* scanNode(
  fleet: Fleet,
  node: string,
  prefix: Key,
  skipped: number,
  deadlineMs: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<string | Buffer> {
  let cursor = 0n;
  do {
    const draft = walkDraft(Opcode.SCAN, prefix, 10, deadlineMs, signal);
    draft.extrasView.setBigUint64(CURSOR_AT, cursor, true);
    draft.extrasView.setUint16(WANTED_AT, SCAN_KEYS_WANTED, true);
    const { extras, value } = await step(fleet, node, draft);
    cursor = extras.readBigUInt64LE(0);
    yield* keysOf(value, skipped);
  } while (cursor !== 0n);
}

/** Deletes the node's keys that begin with the prefix and were there at the beginning; says how many. */
export async function clearNode(
  fleet: Fleet,
  node: string,
  prefix: Key,
  deadlineMs: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  let cursor = 0n;
  let horizon = 0n;
  let deleted = 0;
  do {
    const draft = walkDraft(Opcode.CLEAR, prefix, 16, deadlineMs, signal);
    draft.extrasView.setBigUint64(CURSOR_AT, cursor, true);
    draft.extrasView.setBigUint64(HORIZON_AT, horizon, true);
    const { extras } = await step(fleet, node, draft);
    cursor = extras.readBigUInt64LE(0);
    horizon = extras.readBigUInt64LE(8);
    deleted += extras.readUInt32LE(DELETED_AT);
  } while (cursor !== 0n);
  return deleted;
}

function walkDraft(
  opcode: number,
  prefix: Key,
  extrasBytes: number,
  deadlineMs: number,
  signal: AbortSignal | undefined,
): Draft {
  if (signal?.aborted) throw abortError(signal, opcode === Opcode.CLEAR);
  const draft = new Draft();
  draft.opcode = opcode;
  draft.answer = AnswerKind.RAW;
  draft.deadlineMs = deadlineMs;
  draft.key = prefix;
  draft.extrasBytes = extrasBytes;
  return draft;
}

async function step(fleet: Fleet, node: string, draft: Draft): Promise<RawAnswer> {
  const answer = (await fleet.issueTo(node, draft)) as RawAnswer | undefined;
  if (answer === undefined) throw new HengeError('PROTOCOL', `node '${node}' gave no answer to a step of a walk`);
  return answer;
}

function* keysOf(list: Buffer, skipped: number): Generator<string | Buffer> {
  for (let at = 0; at < list.length; ) {
    const end = at + 2 + list.readUInt16LE(at);
    const key = list.subarray(at + 2 + skipped, end);
    yield isUtf8(key) ? key.toString() : Buffer.from(key);
    at = end;
  }
}
