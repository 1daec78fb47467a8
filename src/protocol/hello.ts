/** The first frame of a connection and its answer: who speaks, which version of the protocol, and what fits. */
import { HELLO_ANSWER_BYTES, HELLO_BYTES, PROTOCOL_MAGIC, PROTOCOL_VERSION, type Role } from './spec.js';

export interface HelloAnswer {
  readonly version: number;
  readonly nodeNumber: number;
  readonly epoch: number;
  readonly valueBytesMax: number;
  readonly frameBytesMax: number;
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
