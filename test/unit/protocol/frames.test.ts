import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  frameBytes,
  helloExtras,
  Opcode,
  Role,
  readHelloAnswer,
  readRequest,
  readResponse,
  requestFrame,
  responseFrame,
  Status,
} from '../../../src/protocol/index.js';

const bytes = (max: number) => fc.uint8Array({ maxLength: max }).map((array) => Buffer.from(array));
const byte = fc.nat({ max: 0xff });
const id = fc.integer({ min: 0, max: 0xffffffff });

const request = fc.record({
  opcode: byte,
  flags: byte,
  deadlineMs: fc.nat({ max: 0xffff }),
  id,
  encoding: byte,
  extras: bytes(64),
  key: bytes(300),
  value: bytes(300),
});
const response = fc.record({ status: byte, hints: byte, encoding: byte, id, extras: bytes(64), value: bytes(300) });

describe('frames', () => {
  it('a request reads as it was written, wherever it lies', () => {
    fc.assert(
      fc.property(request, fc.nat({ max: 50 }), (frame, at) => {
        const wire = Buffer.concat([Buffer.alloc(at), requestFrame(frame), Buffer.from('next')]);
        expect(readRequest(wire, at)).toEqual(frame);
        expect(frameBytes(wire, at)).toBe(wire.length - at - 4);
      }),
    );
  });

  it('a response reads as it was written', () => {
    fc.assert(
      fc.property(response, (frame) => {
        expect(readResponse(responseFrame(frame), 0)).toEqual(frame);
      }),
    );
  });

  it('a GET has 16 bytes before its key', () => {
    const wire = requestFrame({ opcode: Opcode.GET, id: 0x01020304, key: Buffer.from('stone'), deadlineMs: 1_000 });
    expect(wire.toString('hex')).toBe(`11000000${'01'}${'00'}${'e803'}${'04030201'}${'0500'}${'00'}${'00'}73746f6e65`);
  });

  it('lengths that disagree are a RangeError, never bytes of another frame', () => {
    const wire = requestFrame({ opcode: Opcode.GET, id: 1, key: Buffer.from('stone') });
    wire.writeUInt16LE(6, 12);
    expect(() => readRequest(wire, 0)).toThrow(RangeError);
    const answer = responseFrame({ status: Status.OK, id: 1 });
    answer[7] = 1;
    expect(() => readResponse(answer, 0)).toThrow(RangeError);
  });

  it('a hello begins with HNGE, and its answer tells the limits', () => {
    expect(helloExtras(Role.CLIENT, 3).toString('latin1').slice(0, 4)).toBe('HNGE');
    const extras = Buffer.from('0100070002000000000010000a000000', 'hex');
    expect(readHelloAnswer(extras)).toEqual({
      version: 1,
      nodeNumber: 7,
      epoch: 2,
      valueBytesMax: 1_048_576,
      frameBytesMax: 10,
    });
    expect(readHelloAnswer(extras.subarray(1))).toBeUndefined();
  });
});
