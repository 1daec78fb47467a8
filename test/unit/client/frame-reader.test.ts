import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameReader } from '../../../src/client/frame-reader.js';
import { type ResponseFrame, readResponse, responseFrame } from '../../../src/protocol/index.js';

/** Feeds the stream in chunks of the given sizes (repeated), through one read buffer, as a socket does. */
function read(stream: Buffer, sizes: readonly number[], frameBytesMax = 100_000) {
  const frames: ResponseFrame[] = [];
  const reader = new FrameReader(
    {
      takeFrame: (bytes, _, at, end) => {
        frames.push(readResponse(Buffer.from(bytes.subarray(at, end)), 0));
        return true;
      },
    },
    frameBytesMax,
  );
  const buffer = Buffer.alloc(70_000);
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  let isUnderstood = true;
  for (let at = 0, turn = 0; at < stream.length && isUnderstood; turn++) {
    const count = stream.copy(buffer, 0, at, at + (sizes[turn % sizes.length] as number));
    isUnderstood = reader.read(buffer, view, count);
    at += count;
  }
  return { frames, isUnderstood };
}

describe('the frame reader', () => {
  it('finds the same frames however the stream is cut', () => {
    const frame = fc.record({
      status: fc.nat({ max: 255 }),
      hints: fc.nat({ max: 255 }),
      encoding: fc.nat({ max: 255 }),
      id: fc.nat({ max: 0xffffffff }),
      extras: fc.uint8Array({ maxLength: 64 }).map((array) => Buffer.from(array)),
      value: fc.oneof(fc.nat({ max: 60 }), fc.nat({ max: 20_000 })).map((length) => Buffer.alloc(length, length)),
    });
    const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 65_536 })), {
      minLength: 1,
    });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 20 }), sizes, (frames, cuts) => {
        const stream = Buffer.concat(frames.map((one) => responseFrame(one)));
        expect(read(stream, cuts)).toEqual({ frames, isUnderstood: true });
      }),
      { numRuns: 40 },
    );
  });

  it.each([
    ['shorter than a header', 7],
    ['longer than the node said', 100_001],
    ['4 GiB long', 0xffffffff],
  ])('refuses a frame that claims to be %s, before the rest has come', (_, length) => {
    const stream = Buffer.alloc(12);
    stream.writeUInt32LE(length);
    expect(read(stream.subarray(0, 4), [4]).isUnderstood).toBe(false);
    expect(read(stream, [3]).isUnderstood).toBe(false);
  });
});
