/** The golden bytes of docs/protocol.md, written and read by src/protocol. native/test/wire_test.cc reads the same. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  readHelloAnswer,
  readRequest,
  readResponse,
  requestFrame,
  responseFrame,
} from '../../../src/protocol/index.js';

interface RequestVector {
  readonly name: string;
  readonly meaning: string;
  readonly opcode: number;
  readonly flags: number;
  readonly deadlineMs: number;
  readonly id: number;
  readonly encoding: number;
  readonly extras: string;
  readonly key: string;
  readonly value: string;
  readonly hex: string;
}

interface ResponseVector {
  readonly name: string;
  readonly meaning: string;
  readonly status: number;
  readonly hints: number;
  readonly encoding: number;
  readonly id: number;
  readonly extras: string;
  readonly value: string;
  readonly hex: string;
}

function vectors<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), 'utf8'));
}

const bytes = (hex: string) => Buffer.from(hex, 'hex');

describe('golden requests', () => {
  it.each(vectors<RequestVector>('requests'))('$name: $meaning', ({ name: _, meaning: __, hex, ...fields }) => {
    const frame = { ...fields, extras: bytes(fields.extras), key: bytes(fields.key), value: bytes(fields.value) };
    expect(requestFrame(frame).toString('hex')).toBe(hex);
    expect(readRequest(bytes(hex), 0)).toEqual(frame);
  });
});

describe('golden answers', () => {
  it.each(vectors<ResponseVector>('responses'))('$name: $meaning', ({ name: _, meaning: __, hex, ...fields }) => {
    const frame = { ...fields, extras: bytes(fields.extras), value: bytes(fields.value) };
    expect(responseFrame(frame).toString('hex')).toBe(hex);
    expect(readResponse(bytes(hex), 0)).toEqual(frame);
  });

  it('a hello is answered with version, node number, epoch and limits', () => {
    const answer = vectors<ResponseVector>('responses').find(({ name }) => name === 'hello-answer');
    expect(readHelloAnswer(bytes(answer?.extras ?? ''))).toEqual({
      version: 1,
      nodeNumber: 2,
      epoch: 7,
      valueBytesMax: 1_048_576,
      frameBytesMax: 1_114_191,
    });
  });
});

describe('docs/protocol.md', () => {
  const documented = readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8');
  const known = new Set(
    [...vectors<RequestVector>('requests'), ...vectors<ResponseVector>('responses')].map((v) => v.hex),
  );

  it('shows no example that is not a golden vector', () => {
    const examples = [...documented.matchAll(/^ {4}((?:[0-9a-f]{2} *)+)$/gm)].map(([, hex = '']) =>
      hex.replaceAll(' ', ''),
    );
    expect(examples.length).toBeGreaterThan(5);
    for (const example of examples) expect(known, example).toContain(example);
  });
});
