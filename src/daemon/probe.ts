/**
 * Asks another node whether it lives: over its data port, by a worker, in the way of every peer. One connection a
 * question, for that somebody listens is part of the answer.
 */
import { z } from 'zod';
import { type MemberRecord, PROBE_MS_MAX, type ProbeResult } from '../cluster/index.js';
import { frameBytes, Opcode, readResponse, requestFrame, Status } from '../protocol/index.js';
import { dialPeer } from './peer-dial.js';

const PROBE_ID = 3;
/** A worker's answer is far below it. */
const ANSWER_BYTES_MAX = 4_096;

const Answer = z.object({ name: z.string(), incarnation: z.string(), epoch: z.number(), isFenced: z.boolean() });

export interface Prober {
  readonly self: { readonly name: string; readonly number: number };
  readonly secret: string;
}

/** Resolves within `timeoutMs`; whatever goes wrong is silence, unless the address proves that nobody is there. */
export async function probeMember(
  { self, secret }: Prober,
  { address, number }: MemberRecord,
  timeoutMs: number = PROBE_MS_MAX,
): Promise<ProbeResult> {
  const startedMs = performance.now();
  let received = Buffer.alloc(0);
  let heard: (isWhole: boolean) => void = () => {};
  const answered = new Promise<boolean>((resolve) => {
    heard = resolve;
  });
  const onChunk = (bytes: number, input: Uint8Array): boolean => {
    received = Buffer.concat([received, input.subarray(0, bytes)]);
    const length = frameBytes(received, 0);
    if (length !== undefined && received.length >= length) heard(true);
    if (received.length > ANSWER_BYTES_MAX) heard(false);
    return true;
  };
  try {
    const socket = await dialPeer({ address, number, self, secret, onChunk, timeoutMs });
    const timer = setTimeout(() => heard(false), Math.max(0, timeoutMs - (performance.now() - startedMs)));
    socket.once('close', () => heard(false)).on('error', () => heard(false));
    socket.write(requestFrame({ opcode: Opcode.PROBE, id: PROBE_ID }));
    const isWhole = await answered;
    clearTimeout(timer);
    socket.destroy();
    return isWhole ? readAnswer(received) : 'silent';
  } catch (error) {
    const { cause } = error as { readonly cause?: NodeJS.ErrnoException };
    return cause?.code === 'ECONNREFUSED' ? 'refused' : 'silent';
  }
}

function readAnswer(bytes: Buffer): ProbeResult {
  const { status, value } = readResponse(bytes, 0);
  if (status !== Status.OK) return 'silent';
  const answer = Answer.safeParse(JSON.parse(value.toString()));
  return answer.success ? answer.data : 'silent';
}
