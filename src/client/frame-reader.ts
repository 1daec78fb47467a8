/**
 * Cuts the bytes of a connection into frames. Complete frames are handed on where they lie in the read buffer; only one
 * that is cut by the buffer's end is put together elsewhere, in memory that grows with the bytes that have arrived and
 * never with the length a header claims.
 */

const LENGTH_BYTES = 4;
const HEADER_REST_BYTES_MIN = 8;
const CARRY_BYTES_MIN = 4_096;

export interface FrameSink {
  /** A frame lies in bytes [at, end). False: it cannot be understood, and nothing after it either. */
  takeFrame(bytes: Buffer, view: DataView, at: number, end: number): boolean;
}

export class FrameReader {
  /** Beginning of a frame whose end has not arrived. */
  #carry = Buffer.alloc(0);
  #carryView = new DataView(this.#carry.buffer, this.#carry.byteOffset, 0);
  #carried = 0;

  constructor(
    public sink: FrameSink,
    public frameBytesMax: number,
  ) {}

  /** Takes the first `count` bytes. False: the peer broke the protocol, close the connection. */
  read(bytes: Buffer, view: DataView, count: number): boolean {
    let at = 0;
    while (this.#carried > 0) {
      const missing = this.#missingBytes();
      if (missing < 0) return false;
      if (missing === 0) {
        const frameEnd = this.#carried;
        this.#carried = 0;
        if (!this.sink.takeFrame(this.#carry, this.#carryView, 0, frameEnd)) return false;
        break;
      }
      if (at === count) return true;
      const taken = Math.min(missing, count - at);
      this.#keep(bytes, at, at + taken);
      at += taken;
    }
    return this.#readInPlace(bytes, view, at, count);
  }

  /** Hot path: no allocation, no copy. */
  #readInPlace(bytes: Buffer, view: DataView, from: number, to: number): boolean {
    let at = from;
    while (to - at >= LENGTH_BYTES) {
      const rest = view.getUint32(at, true);
      if (rest < HEADER_REST_BYTES_MIN || rest > this.frameBytesMax) return false;
      const end = at + LENGTH_BYTES + rest;
      if (end > to) break;
      if (!this.sink.takeFrame(bytes, view, at, end)) return false;
      at = end;
    }
    if (at < to) this.#keep(bytes, at, to);
    return true;
  }

  /** Bytes the carried frame still lacks; negative when its length is impossible. */
  #missingBytes(): number {
    if (this.#carried < LENGTH_BYTES) return LENGTH_BYTES - this.#carried;
    const rest = this.#carryView.getUint32(0, true);
    if (rest < HEADER_REST_BYTES_MIN || rest > this.frameBytesMax) return -1;
    return LENGTH_BYTES + rest - this.#carried;
  }

  #keep(bytes: Buffer, from: number, to: number): void {
    const needed = this.#carried + to - from;
    if (needed > this.#carry.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(CARRY_BYTES_MIN, 2 * needed));
      this.#carry.copy(larger, 0, 0, this.#carried);
      this.#carry = larger;
      this.#carryView = new DataView(larger.buffer, larger.byteOffset, larger.length);
    }
    bytes.copy(this.#carry, this.#carried, from, to);
    this.#carried = needed;
  }
}
