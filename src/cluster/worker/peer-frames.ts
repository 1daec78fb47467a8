/**
 * The frames that workers of different nodes answer in JavaScript, written and read: protocol/spec.ts has the layouts.
 */
import { Opcode, requestFrame, responseFrame, Status } from '../../protocol/index.js';
import type { ControlFrame, LinkAnswer, SlotBits } from '../../store/index.js';

/** Native code fills it in. */
const ID = 0;

export interface Heartbeat {
  readonly epoch: number;
  /** Of the sending node's memory: 16 hexadecimal digits. */
  readonly incarnation: string;
  readonly isFenced: boolean;
  readonly wallMs: number;
  /** All that the sender wrote before was applied by the receiver. */
  readonly watermarkMs: number;
}

export interface HeartbeatAnswer {
  readonly epoch: number;
  /** Of the answering node's memory. */
  readonly incarnation: string;
  /** Some slot of the answering node was not declared in sync, or is detached. */
  readonly isLacking: boolean;
}

export interface PullRequest {
  readonly epoch: number;
  readonly sinceMs: number;
  readonly slots: SlotBits;
}

export interface PullAnswer {
  /** In the slots that are in sync the answering node holds whatever the leader before wrote before this. */
  readonly heldUntilMs: number;
  /** For which the answering node was in sync when the leader before ended. */
  readonly slotsInSync: SlotBits;
  /** Which the answering node leads itself: they were handed over to it. */
  readonly slotsLed: SlotBits;
}

export interface Digest {
  readonly sum: bigint;
  readonly items: number;
}

const INCARNATION = /^[0-9a-f]{16}$/;
const HEARTBEAT_BYTES = 24;
const HEARTBEAT_ANSWER_BYTES = 8;
const PULL_BYTES = 16;
const PULL_ANSWER_BYTES = 8;
const DIGEST_BYTES = 12;

export function heartbeatFrame({ epoch, incarnation, isFenced, wallMs, watermarkMs }: Heartbeat): Buffer {
  const extras = Buffer.alloc(HEARTBEAT_BYTES);
  extras.writeUInt32LE(epoch, 0);
  extras[4] = Number(isFenced);
  extras.writeBigUInt64LE(BigInt(Math.floor(wallMs)), 8);
  extras.writeBigUInt64LE(BigInt(Math.floor(watermarkMs)), 16);
  return requestFrame({ opcode: Opcode.HEARTBEAT, id: ID, extras, key: Buffer.from(incarnation) });
}

export function readHeartbeat({ extras, key }: ControlFrame): Heartbeat | undefined {
  const incarnation = key.toString();
  if (extras.length !== HEARTBEAT_BYTES || !INCARNATION.test(incarnation)) return undefined;
  return {
    epoch: extras.readUInt32LE(0),
    incarnation,
    isFenced: extras[4] !== 0,
    wallMs: Number(extras.readBigUInt64LE(8)),
    watermarkMs: Number(extras.readBigUInt64LE(16)),
  };
}

export function heartbeatAnswer(id: number, { epoch, incarnation, isLacking }: HeartbeatAnswer): Buffer {
  const extras = Buffer.alloc(HEARTBEAT_ANSWER_BYTES);
  extras.writeUInt32LE(epoch, 0);
  extras[4] = Number(isLacking);
  return responseFrame({ status: Status.OK, id, extras, value: Buffer.from(incarnation) });
}

export function readHeartbeatAnswer({ status, extras, value }: LinkAnswer): HeartbeatAnswer | undefined {
  if (status !== Status.OK || extras.length !== HEARTBEAT_ANSWER_BYTES) return undefined;
  return { epoch: extras.readUInt32LE(0), incarnation: value.toString(), isLacking: extras[4] !== 0 };
}

export function syncedFrame(epoch: number, slots: SlotBits): Buffer {
  return requestFrame({ opcode: Opcode.SYNCED, id: ID, extras: u32(epoch), value: Buffer.from(slots) });
}

export function handOverFrame(epoch: number, slots: SlotBits): Buffer {
  return requestFrame({ opcode: Opcode.HANDOVER, id: ID, extras: u32(epoch), value: Buffer.from(slots) });
}

export function pullFrame({ epoch, sinceMs, slots }: PullRequest): Buffer {
  const extras = Buffer.alloc(PULL_BYTES);
  extras.writeUInt32LE(epoch, 0);
  extras.writeBigUInt64LE(BigInt(Math.floor(sinceMs)), 8);
  return requestFrame({ opcode: Opcode.PULL, id: ID, extras, value: Buffer.from(slots) });
}

export function readPull({ extras, value }: ControlFrame): PullRequest | undefined {
  if (extras.length !== PULL_BYTES) return undefined;
  return {
    epoch: extras.readUInt32LE(0),
    sinceMs: Number(extras.readBigUInt64LE(8)),
    slots: value,
  };
}

export function pullAnswer(id: number, { heldUntilMs, slotsInSync, slotsLed }: PullAnswer): Buffer {
  const extras = Buffer.alloc(PULL_ANSWER_BYTES);
  extras.writeBigUInt64LE(BigInt(Math.floor(heldUntilMs)), 0);
  return responseFrame({ status: Status.OK, id, extras, value: Buffer.concat([slotsInSync, slotsLed]) });
}

export function readPullAnswer({ status, extras, value }: LinkAnswer): PullAnswer | undefined {
  if (status !== Status.OK || extras.length !== PULL_ANSWER_BYTES) return undefined;
  const half = value.length / 2;
  const [slotsInSync, slotsLed] = [value.subarray(0, half), value.subarray(half)];
  return { heldUntilMs: Number(extras.readBigUInt64LE(0)), slotsInSync, slotsLed };
}

export function itemsFrame(epoch: number, records: Buffer): Buffer {
  return requestFrame({ opcode: Opcode.ITEMS, id: ID, extras: u32(epoch), value: records });
}

export function digestsFrame(epoch: number, slots: readonly number[]): Buffer {
  const value = Buffer.alloc(slots.length * 2);
  slots.forEach((slot, at) => {
    value.writeUInt16LE(slot, at * 2);
  });
  return requestFrame({ opcode: Opcode.DIGESTS, id: ID, extras: u32(epoch), value });
}

export function readDigestsWanted({ value }: ControlFrame): readonly number[] {
  return Array.from({ length: value.length >> 1 }, (_, at) => value.readUInt16LE(at * 2));
}

export function digestsAnswer(id: number, digests: readonly Digest[]): Buffer {
  const value = Buffer.alloc(digests.length * DIGEST_BYTES);
  digests.forEach(({ sum, items }, at) => {
    value.writeBigUInt64LE(sum, at * DIGEST_BYTES);
    value.writeUInt32LE(items, at * DIGEST_BYTES + 8);
  });
  return responseFrame({ status: Status.OK, id, value });
}

export function readDigests(value: Buffer): readonly Digest[] {
  return Array.from({ length: Math.floor(value.length / DIGEST_BYTES) }, (_, at) => ({
    sum: value.readBigUInt64LE(at * DIGEST_BYTES),
    items: value.readUInt32LE(at * DIGEST_BYTES + 8),
  }));
}

export const topologyFrame = (): Buffer => requestFrame({ opcode: Opcode.TOPOLOGY, id: ID });

/** The epoch in a frame's or an answer's first four bytes of extras; 0 when there is none. */
export const epochOf = (extras: Buffer): number => (extras.length < 4 ? 0 : extras.readUInt32LE(0));

/** "You are not whom I take this from", and the epoch that says so. */
export const staleAnswer = (id: number, epoch: number): Buffer =>
  responseFrame({ status: Status.STALE, id, extras: u32(epoch) });

export const refusal = (status: Status, id: number, sentence: string): Buffer =>
  responseFrame({ status, id, value: Buffer.from(sentence) });

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
