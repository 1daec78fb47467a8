/**
 * The first frames of a connection and their answers: who speaks, which version of the protocol, and what fits; and, of
 * a node's connection to another node, the proof on both sides that they know the cluster's secret.
 *
 *   dialer ─ HELLO { number, nonce D } ──────────────────────────▶ listener
 *   dialer ◀──────── OK { nonce L, proof "listener" } ────────────── listener
 *   dialer ─ AUTHENTICATE { proof "dialer" } ──────────────────────▶ listener, which answers OK or REFUSED
 *
 * A proof is HMAC-SHA256 by the secret of the side's label, both nonces and both numbers: it is good for this
 * connection, this direction and these two nodes only. It says who is at the other end, not that nobody stands between:
 * the frames that follow are neither encrypted nor signed. Computing it is the daemon's business
 * (daemon/peer-secret.ts).
 */
import { HELLO_ANSWER_BYTES, HELLO_BYTES, PROTOCOL_MAGIC, PROTOCOL_VERSION, type Role } from './spec.js';

export const NONCE_BYTES = 32;
export const PROOF_BYTES = 32;

export interface HelloAnswer {
  readonly version: number;
  readonly nodeNumber: number;
  readonly epoch: number;
  readonly valueBytesMax: number;
  readonly frameBytesMax: number;
}

/** What a node puts into the authentication field of its hello. */
export interface PeerHello {
  readonly number: number;
  readonly nonce: Buffer;
}

/** What a node answers a peer's hello with, as the answer's value, behind which its name stands. */
export interface PeerChallenge {
  readonly nonce: Buffer;
  readonly proof: Buffer;
}

/** Extras of a HELLO. */
export function helloExtras(role: (typeof Role)[keyof typeof Role], epoch: number): Buffer {
  const extras = Buffer.alloc(HELLO_BYTES);
  extras.writeUInt32LE(PROTOCOL_MAGIC, 0);
  extras[4] = PROTOCOL_VERSION;
  extras[5] = PROTOCOL_VERSION;
  extras[6] = role;
  extras.writeUInt32LE(epoch, 8);
  return extras;
}

/** Extras of the answer to a HELLO. */
export function helloAnswerExtras({ version, nodeNumber, epoch, valueBytesMax, frameBytesMax }: HelloAnswer): Buffer {
  const extras = Buffer.alloc(HELLO_ANSWER_BYTES);
  extras.writeUInt8(version, 0);
  extras.writeUInt16LE(nodeNumber, 2);
  extras.writeUInt32LE(epoch, 4);
  extras.writeUInt32LE(valueBytesMax, 8);
  extras.writeUInt32LE(frameBytesMax, 12);
  return extras;
}

/** Reads the extras of the answer to a HELLO; undefined when they are too short to be one. */
export function readHelloAnswer(extras: Buffer): HelloAnswer | undefined {
  if (extras.length < HELLO_ANSWER_BYTES) return undefined;
  return {
    version: extras.readUInt8(0),
    nodeNumber: extras.readUInt16LE(2),
    epoch: extras.readUInt32LE(4),
    valueBytesMax: extras.readUInt32LE(8),
    frameBytesMax: extras.readUInt32LE(12),
  };
}

export function peerHello({ number, nonce }: PeerHello): Buffer {
  const value = Buffer.alloc(2);
  value.writeUInt16LE(number);
  return Buffer.concat([value, nonce]);
}

/** undefined when it is none. */
export function readPeerHello(value: Buffer): PeerHello | undefined {
  if (value.length !== 2 + NONCE_BYTES) return undefined;
  return { number: value.readUInt16LE(0), nonce: value.subarray(2) };
}

export function peerChallenge({ nonce, proof }: PeerChallenge, name: string): Buffer {
  return Buffer.concat([nonce, proof, Buffer.from(name)]);
}

/** undefined when it is none. */
export function readPeerChallenge(value: Buffer): PeerChallenge | undefined {
  if (value.length < NONCE_BYTES + PROOF_BYTES) return undefined;
  return { nonce: value.subarray(0, NONCE_BYTES), proof: value.subarray(NONCE_BYTES, NONCE_BYTES + PROOF_BYTES) };
}
