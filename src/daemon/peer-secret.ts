/**
 * Proofs that a node knows the cluster's secret, for the handshake of protocol/hello.ts. A cluster without a secret has
 * the empty one, which anybody knows: such a node is bound to loopback unless its operator insisted.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { NONCE_BYTES } from '../protocol/index.js';

/** What both sides of a handshake know of it. */
export interface Handshake {
  readonly dialer: number;
  readonly dialerNonce: Buffer;
  readonly listener: number;
  readonly listenerNonce: Buffer;
}

export const freshNonce = (): Buffer => randomBytes(NONCE_BYTES);

export function prove(secret: string, side: 'dialer' | 'listener', handshake: Handshake): Buffer {
  const numbers = Buffer.alloc(4);
  numbers.writeUInt16LE(handshake.dialer, 0);
  numbers.writeUInt16LE(handshake.listener, 2);
  return createHmac('sha256', secret)
    .update(`henge peer ${side}`)
    .update(numbers)
    .update(handshake.dialerNonce)
    .update(handshake.listenerNonce)
    .digest();
}

/** Takes the same time whatever is wrong. */
export function isProof(secret: string, side: 'dialer' | 'listener', handshake: Handshake, proof: Buffer): boolean {
  const expected = prove(secret, side, handshake);
  return proof.length === expected.length && timingSafeEqual(proof, expected);
}
