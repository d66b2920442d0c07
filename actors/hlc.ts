/**
 * Message ids from a hybrid logical clock: a ULID whose text order is causal order.
 *
 * 10 characters of time (48 bits, ms), 5 of a counter within that ms, 11 that tell this clock from
 * every other. The clock never goes back, and moves past every `mid` it observes, so that a reply
 * sorts after what it replies to although nodes' wall clocks differ.
 * Source of the alphabet: the ULID specification (Crockford's base 32).
 */

import type { Mid } from "./ports.ts";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TIME_CHARS = 10;
const COUNTER_CHARS = 5;
const ORIGIN_CHARS = 11;
const PREFIX_CHARS = TIME_CHARS + COUNTER_CHARS;
/** Counter values within one ms; the clock borrows the next ms when they run out. */
const MAX_COUNTER = 32 ** COUNTER_CHARS;

/** So many random bytes. */
export type RandomBytes = (count: number) => Uint8Array;
const cryptoBytes: RandomBytes = (count) => crypto.getRandomValues(new Uint8Array(count));

/**
 * How far into the past a chat that is sent again may be stamped, ms. A first attempt further away
 * counts for nothing: the past is not for writing.
 */
export const MAX_RESENT_MS = 10 * 60_000;

/**
 * How far ahead of the wall clock a client's word may move a clock, ms: nodes' clocks differ by less
 * where anything keeps them right, and what is ahead stays ahead for so long.
 */
const MAX_AHEAD_MS = 5_000;

/** Gives message ids; one per thread that stamps messages. */
export class HybridClock {
  readonly #now: () => number;
  readonly #random: RandomBytes;
  readonly #origin: string;
  #time = 0;
  #counter = 0;
  #timeText = "";

  /**
   * @param now Wall time, epoch ms.
   * @param random Tells this clock's ids from every other's; five bits of each byte count.
   */
  constructor(now: () => number, random: RandomBytes = cryptoBytes) {
    this.#now = now;
    this.#random = random;
    this.#origin = this.#suffix();
  }

  /** A new id, greater than every id given or observed before. */
  next(): Mid {
    const now = this.#now();
    if (now > this.#time) this.#set(now, 0);
    else if (++this.#counter >= MAX_COUNTER) this.#set(this.#time + 1, 0);
    return this.#timeText + encode(this.#counter, COUNTER_CHARS) + this.#origin;
  }

  /**
   * An id for a message that was sent before, and may have been pushed under an id that died with a
   * node: early enough for every reply to it, and after what its sender had seen.
   *
   * @param at When it was first sent, epoch ms.
   * @param after Ids it must sort after; "" for none.
   */
  resent(at: number, ...after: readonly Mid[]): Mid {
    // One ms early: within the same ms the lost id's counter is not known.
    let prefix = encode(at - 1, TIME_CHARS) + encode(0, COUNTER_CHARS);
    for (const mid of after) {
      if (mid !== "" && mid.slice(0, PREFIX_CHARS) >= prefix) prefix = following(mid);
    }
    // Ids of this clock's own past may have the prefix: a suffix of its own keeps this one unique.
    const mid = prefix + this.#suffix();
    this.observe(mid); // its sender's next message sorts after it, also when `after` is ahead of us
    return mid;
  }

  /** Moves past `mid`, as seen in a message of another clock. */
  observe(mid: Mid): void {
    // Own ids and older ms need no parsing: text order is time order.
    if (mid < this.#timeText || mid.endsWith(this.#origin)) return;
    const time = midTime(mid);
    const counter = decode(mid, TIME_CHARS, TIME_CHARS + COUNTER_CHARS);
    if (time > this.#time) this.#set(time, counter);
    else if (time === this.#time && counter > this.#counter) this.#counter = counter;
  }

  /**
   * Whether a client's word of `mid` may be taken: it moves this clock by little, or not at all. A
   * word of a far future would drag every clock along that hears of it.
   */
  believes(mid: Mid): boolean {
    return midTime(mid) <= Math.max(this.#time, this.#now() + MAX_AHEAD_MS);
  }

  /** Time of the latest id given or observed, epoch ms. */
  get time(): number {
    return this.#time;
  }

  /** Moves past every id of a time: what an earlier worker had pushed may be answered here. */
  pass(time: number): void {
    if (time > this.#time) this.#set(time + 1, 0);
  }

  #suffix(): string {
    return Array.from(this.#random(ORIGIN_CHARS), (n) => ALPHABET.charAt(n & 31)).join("");
  }

  #set(time: number, counter: number): void {
    if (time !== this.#time || this.#timeText === "") this.#timeText = encode(time, TIME_CHARS);
    this.#time = time;
    this.#counter = counter;
  }
}

/** The next time and counter after those of `mid`. */
function following(mid: Mid): string {
  const counter = decode(mid, TIME_CHARS, PREFIX_CHARS) + 1;
  return counter < MAX_COUNTER
    ? mid.slice(0, TIME_CHARS) + encode(counter, COUNTER_CHARS)
    : encode(midTime(mid) + 1, TIME_CHARS) + encode(0, COUNTER_CHARS);
}

/** Time part of a `mid`: when it was stamped, epoch ms of the hybrid clock. */
export function midTime(mid: Mid): number {
  return decode(mid, 0, TIME_CHARS);
}

/** The smallest `mid` of a given time, for comparisons. */
export function midAt(time: number): Mid {
  return encode(Math.max(0, time), TIME_CHARS).padEnd(
    TIME_CHARS + COUNTER_CHARS + ORIGIN_CHARS,
    "0",
  );
}

function encode(value: number, chars: number): string {
  let text = "";
  let rest = value;
  for (let i = 0; i < chars; i++) {
    text = ALPHABET.charAt(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

function decode(text: string, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    value = value * 32 + Math.max(0, ALPHABET.indexOf(text.charAt(i)));
  }
  return value;
}
