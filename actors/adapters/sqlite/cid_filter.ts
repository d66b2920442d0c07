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
const LEAST_MESSAGES = 500_000;
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

/** The bits of one filter. */
class Bits {
  readonly capacity: number;
  readonly isLargest: boolean;
  readonly #words: Uint32Array;
  readonly #mask: number;

  constructor(messages: number) {
    this.capacity = Math.max(LEAST_MESSAGES, 2 * messages);
    const bytes = 2 ** Math.ceil(Math.log2(this.capacity * BITS_EACH / 8));
    this.isLargest = bytes >= MOST_BYTES;
    this.#words = new Uint32Array(Math.min(MOST_BYTES, bytes) / 4);
    this.#mask = this.#words.length * 32 - 1;
  }

  add({ a, b }: CidHash): void {
    for (let i = 0, at = a; i < PROBES; i++, at = (at + b) | 0) {
      const bit = at & this.#mask;
      this.#words[bit >>> 5] = (this.#words[bit >>> 5] ?? 0) | (1 << (bit & 31));
    }
  }

  mayHave({ a, b }: CidHash): boolean {
    for (let i = 0, at = a; i < PROBES; i++, at = (at + b) | 0) {
      const bit = at & this.#mask;
      if (((this.#words[bit >>> 5] ?? 0) & (1 << (bit & 31))) === 0) return false;
    }
    return true;
  }
}

/** See the module's header. */
export class CidFilter {
  /** Holds all of the file. */
  #whole: Bits | undefined;
  #count = 0;
  /** Is being built. */
  #next: Bits | undefined;
  #counted = 0;

  /** Whether one has to be built: there is none, or it is too small and a larger one may be made. */
  get isWanted(): boolean {
    if (this.#whole === undefined) return true;
    return this.#count > this.#whole.capacity && !this.#whole.isLargest;
  }

  /** Whether one is being built. */
  get isBuilding(): boolean {
    return this.#next !== undefined;
  }

  /** Begins a new one, for about so many messages and as many again. */
  begin(messages: number): void {
    this.#next = new Bits(messages);
    this.#counted = 0;
  }

  /** Adds to the one that is being built what is in the file. */
  build(hash: CidHash): void {
    this.#next?.add(hash);
    this.#counted++;
  }

  /** The new one has everything that is in the file. */
  end(): void {
    this.#whole = this.#next;
    this.#count = this.#counted;
    this.#next = undefined;
  }

  /** The file is not what it was: nothing is known. */
  forget(): void {
    this.#whole = this.#next = undefined;
  }

  /** A message is being added to the file. */
  add(hash: CidHash): void {
    this.#whole?.add(hash);
    this.#count++;
    if (this.#next === undefined) return;
    this.#next.add(hash);
    this.#counted++;
  }

  /** False: it is not in the file. */
  mayHave(hash: CidHash): boolean {
    return this.#whole?.mayHave(hash) ?? true;
  }
}
