/**
 * A version as text: 28 hex digits, big-endian, in the order in which versions are compared (epoch, milliseconds,
 * counter, node), so that comparing the strings compares the versions. On the wire it is 16 little-endian bytes
 * (spec.ts).
 */

declare const versionBrand: unique symbol;

/** When and by whom an item was written. Opaque; of two versions of a key the greater string is the newer write. */
export type Version = string & { readonly [versionBrand]: 'Version' };

const HEX_DIGITS = 28;
const HEX_PATTERN = /^[0-9a-f]{28}$/;

export const isVersion = (text: unknown): text is Version => typeof text === 'string' && HEX_PATTERN.test(text);

const scratch = Buffer.alloc(HEX_DIGITS / 2);

/** Hot path of getEntry and of conditional writes: one string, no other allocation. */
export function readVersion(view: DataView, at: number): Version {
  scratch.writeUInt32BE(view.getUint32(at + 8, true), 0);
  scratch.writeUInt32BE(view.getUint32(at + 4, true), 4);
  scratch.writeUInt32BE(view.getUint32(at, true), 8);
  scratch.writeUInt16BE(view.getUint16(at + 12, true), 12);
  return scratch.toString('hex') as Version;
}

export function writeVersion(view: DataView, at: number, version: Version): void {
  scratch.write(version, 'hex');
  view.setUint32(at, scratch.readUInt32BE(8), true);
  view.setUint32(at + 4, scratch.readUInt32BE(4), true);
  view.setUint32(at + 8, scratch.readUInt32BE(0), true);
  view.setUint16(at + 12, scratch.readUInt16BE(12), true);
  view.setUint16(at + 14, 0, true);
}
