/**
 * Socket bytes → the byte ranges of complete JSON objects. No I/O, no parsing, no session state.
 *
 * Objects may be glued, cut anywhere, or separated by white space or NUL bytes.
 * Invariants: at most `maxBytes` of an unfinished object are held, and a byte is scanned once,
 * however the stream is cut. Whether a range is valid JSON is the codec's concern: only braces
 * outside strings are counted, so that a malformed object leaves the stream in step.
 * Source: docs/protocol.md, "Framing".
 */

import { MAX_FRAME_BYTES } from "./limits.ts";

/** Why a stream cannot be cut further: it is out of step and must be closed. */
export type SplitError =
  /** An object is larger than the limit. */
  | "too_large"
  /** Something other than white space or NUL stands between objects. */
  | "garbage";

const OPEN = 0x7b; // {
const CLOSE = 0x7d; // }
const QUOTE = 0x22; // "
const BACKSLASH = 0x5c; // \

/** First size of the buffer for a cut object, in bytes; it doubles up to the limit. */
const FIRST_CARRY_BYTES = 512;
/** A larger carry buffer is let go once empty: an idle connection should hold little. */
const KEEP_CARRY_BYTES = 4_096;

/** Cuts one connection's stream. */
export class FrameSplitter {
  readonly #sink: (bytes: Uint8Array, start: number, end: number) => void;
  readonly #maxBytes: number;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #carry: Uint8Array | undefined;
  #carried = 0;
  #error: SplitError | undefined;

  /**
   * @param sink Called for each complete object, in stream order, while `feed` runs; the bytes are
   * borrowed and change after it returns.
   * @param maxBytes Largest object, braces included.
   */
  constructor(
    sink: (bytes: Uint8Array, start: number, end: number) => void,
    maxBytes = MAX_FRAME_BYTES,
  ) {
    this.#sink = sink;
    this.#maxBytes = maxBytes;
  }

  /** Bytes held of an unfinished object. */
  get heldBytes(): number {
    return this.#carried;
  }

  /**
   * Takes the next bytes of the stream.
   *
   * @param chunk Borrowed, not kept after the call returns.
   * @returns The error that ends the stream, for this and every later call; else undefined.
   */
  feed(chunk: Uint8Array): SplitError | undefined {
    if (this.#error !== undefined) return this.#error;
    const length = chunk.length;
    let depth = this.#depth;
    let start = 0;
    let at = 0;
    while (at < length) {
      if (this.#inString) {
        at = this.#skipString(chunk, at);
        continue;
      }
      const byte = chunk[at];
      if (byte === QUOTE && depth > 0) {
        this.#inString = true;
      } else if (byte === OPEN) {
        if (depth === 0) start = at;
        depth++;
      } else if (byte === CLOSE && depth > 0) {
        depth--;
        if (depth === 0 && !this.#emit(chunk, start, at + 1)) {
          return this.#fail("too_large");
        }
      } else if (depth === 0 && !isSeparator(byte)) {
        return this.#fail("garbage");
      }
      at++;
    }
    this.#depth = depth;
    if (depth > 0 && !this.#keep(chunk, this.#carried > 0 ? 0 : start)) {
      return this.#fail("too_large");
    }
    return undefined;
  }

  /** Index after the string's closing quote, or the chunk's length when it is cut. */
  #skipString(chunk: Uint8Array, from: number): number {
    let at = from;
    if (this.#escaped) {
      this.#escaped = false;
      at++;
    }
    for (; at < chunk.length; at++) {
      const byte = chunk[at];
      if (byte === BACKSLASH) {
        at++;
        if (at === chunk.length) this.#escaped = true;
      } else if (byte === QUOTE) {
        this.#inString = false;
        return at + 1;
      }
    }
    return chunk.length;
  }

  #emit(chunk: Uint8Array, start: number, end: number): boolean {
    if (this.#carried === 0) {
      if (end - start > this.#maxBytes) return false;
      this.#sink(chunk, start, end);
      return true;
    }
    if (!this.#keep(chunk.subarray(0, end), 0)) return false;
    const carry = this.#carry ?? chunk;
    const held = this.#carried;
    this.#carried = 0;
    if (carry.length > KEEP_CARRY_BYTES) this.#carry = undefined;
    this.#sink(carry, 0, held);
    return true;
  }

  #keep(chunk: Uint8Array, start: number): boolean {
    const needed = this.#carried + chunk.length - start;
    if (needed > this.#maxBytes) return false;
    let carry = this.#carry;
    if (carry === undefined || carry.length < needed) {
      let size = carry?.length ?? FIRST_CARRY_BYTES;
      while (size < needed) size *= 2;
      const larger = new Uint8Array(Math.min(size, Math.max(this.#maxBytes, needed)));
      if (carry !== undefined) larger.set(carry.subarray(0, this.#carried));
      this.#carry = carry = larger;
    }
    carry.set(start === 0 ? chunk : chunk.subarray(start), this.#carried);
    this.#carried = needed;
    return true;
  }

  #fail(error: SplitError): SplitError {
    this.#error = error;
    this.#carry = undefined;
    this.#carried = 0;
    return error;
  }
}

/** White space of JSON, or the NUL that classic clients end an object with. */
function isSeparator(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09 || byte === 0;
}
