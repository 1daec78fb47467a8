import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isVersion, readVersion, VERSION_BYTES, type Version, writeVersion } from '../../../src/protocol/index.js';

const parts = fc.record({
  epoch: fc.nat({ max: 0xffffffff }),
  time: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  node: fc.nat({ max: 0xffff }),
});

function onWire({ epoch, time, node }: { epoch: number; time: bigint; node: number }): DataView {
  const view = new DataView(new ArrayBuffer(VERSION_BYTES));
  view.setBigUint64(0, time, true);
  view.setUint32(8, epoch, true);
  view.setUint16(12, node, true);
  return view;
}

describe('a version as text', () => {
  it('says epoch, time and node in 28 hex digits', () => {
    expect(readVersion(onWire({ epoch: 1, time: 0x0123456789abcdefn, node: 7 }), 0)).toBe(
      '000000010123456789abcdef0007',
    );
  });

  it('becomes the same bytes again', () => {
    fc.assert(
      fc.property(parts, (version) => {
        const wire = onWire(version);
        const text = readVersion(wire, 0);
        expect(isVersion(text)).toBe(true);
        const again = new DataView(new ArrayBuffer(VERSION_BYTES));
        writeVersion(again, 0, text);
        expect(Buffer.from(again.buffer)).toEqual(Buffer.from(wire.buffer));
      }),
    );
  });

  it('is ordered as versions are: epoch, time, node', () => {
    const before = (a: Version, b: Version): boolean => a < b;
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        const isOlder = a.epoch !== b.epoch ? a.epoch < b.epoch : a.time !== b.time ? a.time < b.time : a.node < b.node;
        expect(before(readVersion(onWire(a), 0), readVersion(onWire(b), 0))).toBe(isOlder);
      }),
    );
  });
});
