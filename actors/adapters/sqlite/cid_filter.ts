/**
 * Tells of most cids that they are not in the file, without looking: a Bloom filter over the sender
 * and cid of every message. A look-up in the index costs 3 µs, and nearly every message is new.
 *
 * Built from the file a part at a time, after a start and when there are more messages than it was
 * made for; until then everything may be in the file. What is removed from the file stays in it.
 */

import type { UserId } from "../../ports.ts";

/** Bits a message, in at most so many bytes: one look-up in 300 is in vain; beyond that, more. */
const BITS_EACH = 12;
const MOST_BYTES = 64 * 1_024 * 1_024;
const LEAST_MESSAGES = 65_536;
const PROBES = 4;

/** What is remembered of a sender and cid: two numbers of 32 bits. */
export interface CidHash {
  readonly a: number;
  readonly b: number;
}

/** Mixes a sender and a cid. Not secret: whoever makes cids that collide makes his own look-ups. */
export function cidHash(sender: UserId, cid: string): CidHash {
  let a = Math.imul(sender ^ 0x9e3779b9, 0x85ebca6b);
  let b = Math.imul(sender ^ 0x7f4a7c15, 0xc2b2ae35);
  for (let i = 0; i < cid.length; i++) {
    const unit = cid.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x5bd1e995);
    b ^= b >>> 15;
  }
  a ^= a >>> 16;
  a = Math.imul(a, 0x7feb352d);
  return { a: a ^ (a >>> 15), b: (b ^ (b >>> 13)) | 1 };
}

/** See the module's header. */
export class CidFilter {
  #bits = new Uint32Array(0);
  /** Of the filter in use. */
  #capacity = 0;
  #count = 0;
  #isWhole = false;

  /** Whether it holds all of the file; while it does not, nothing is told by it. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** It has to be built (anew): for so many messages, and as many again. */
  begin(messages: number): void {
    this.#isWhole = false;
    this.#count = 0;
    this.#capacity = Math.max(LEAST_MESSAGES, 2 * messages);
    const bytes = Math.min(MOST_BYTES, this.#capacity * BITS_EACH / 8);
    this.#bits = new Uint32Array(2 ** Math.ceil(Math.log2(bytes)) / 4);
  }

  /** Everything in the file has been added. */
  end(): void {
    this.#isWhole = true;
  }

  /** Whether there are more messages than it was made for, and a larger one would tell more. */
  get isTooSmall(): boolean {
    return this.#count > this.#capacity && this.#bits.byteLength < MOST_BYTES;
  }

  add({ a, b }: CidHash): void {
    const mask = this.#bits.length * 32 - 1;
    for (let i = 0, at = a; i < PROBES; i++, at = (at + b) | 0) {
      const bit = at & mask;
      const word = this.#bits[bit >>> 5];
      if (word !== undefined) this.#bits[bit >>> 5] = word | (1 << (bit & 31));
    }
    this.#count++;
  }

  /** False: it is not in the file. */
  mayHave({ a, b }: CidHash): boolean {
    if (!this.#isWhole) return true;
    const mask = this.#bits.length * 32 - 1;
    for (let i = 0, at = a; i < PROBES; i++, at = (at + b) | 0) {
      const bit = at & mask;
      if (((this.#bits[bit >>> 5] ?? 0) & (1 << (bit & 31))) === 0) return false;
    }
    return true;
  }
}
