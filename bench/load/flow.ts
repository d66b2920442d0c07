/**
 * One sender: its frame, built once, whose numbers are counted up in place, and what is known of
 * the messages it has sent. Sending a message allocates and copies nothing.
 */

import { frame, type Link } from "./loop.ts";
import { Tracker } from "./tracker.ts";

const SEQ_DIGITS = 9;
/** Where a frame's text has this, the message's number goes. */
export const NUMBER = "0".repeat(SEQ_DIGITS);

/** See the module's header. */
export class Flow {
  /** Messages sent; the last one's number. */
  sent = 0;
  /** Deliveries in the measured time. */
  delivered = 0;
  readonly frame: Uint8Array<ArrayBuffer>;
  /** Offsets of the last digits of the numbers in the frame. */
  readonly #digits: number[] = [];
  readonly acks = new Tracker();
  /** Sending time of message seq at seq & mask; which seq, to know an overwritten entry. */
  readonly #times: Float64Array;
  readonly #seqs: Int32Array;
  /** Receivers still without message seq. */
  readonly #left: Int16Array;

  constructor(readonly sender: Link, text: string, ring: number) {
    this.frame = frame(text);
    for (let at = text.indexOf(NUMBER); at >= 0; at = text.indexOf(NUMBER, at + SEQ_DIGITS)) {
      this.#digits.push(at + SEQ_DIGITS - 1);
    }
    this.#times = new Float64Array(ring);
    this.#seqs = new Int32Array(ring);
    this.#left = new Int16Array(ring);
  }

  /** Counts the frame's numbers up to the next message. */
  count(timeMs: number, receivers: number): void {
    const at = ++this.sent & (this.#times.length - 1);
    this.#times[at] = timeMs;
    this.#seqs[at] = this.sent;
    this.#left[at] = receivers;
    for (const last of this.#digits) {
      let i = last;
      while (this.frame[i] === 0x39) this.frame[i--] = 0x30;
      this.frame[i] = (this.frame[i] ?? 0) + 1;
    }
  }

  /** A receiver has `seq`: how many have not. */
  received(seq: number): number {
    const at = seq & (this.#left.length - 1);
    const left = (this.#left[at] ?? 0) - 1;
    this.#left[at] = left;
    return left;
  }

  /** Sending time of `seq` in ms, or -1 when forgotten. */
  timeOf(seq: number): number {
    const at = seq & (this.#times.length - 1);
    return this.#seqs[at] === seq ? this.#times[at] ?? -1 : -1;
  }
}
