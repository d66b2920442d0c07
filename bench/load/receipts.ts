/** RECV_ACK frames, built byte by byte from the `mid`s as they stand in what was read. */

import type { Link, Loop } from "./loop.ts";

/** Messages per frame; the server takes up to 1,000. */
const MIDS_PER_FRAME = 500;
const QUOTED_MID_BYTES = 28;
const COMMA = 0x2c;
const TAIL = new TextEncoder().encode("]}\0");

/** Receipts for what one link has got; sent before another link's turn. */
export class Receipts {
  readonly #frame = new Uint8Array(64 + MIDS_PER_FRAME * (QUOTED_MID_BYTES + 1));
  readonly #headBytes = new TextEncoder().encodeInto('{"msgid":13,"mids":[', this.#frame).written;
  #bytes = this.#headBytes;
  #count = 0;

  /** Nothing to send. */
  get empty(): boolean {
    return this.#count === 0;
  }

  /** Time to send. */
  get full(): boolean {
    return this.#count === MIDS_PER_FRAME;
  }

  /** Adds the `mid` whose opening quote is at `at`. */
  add(buffer: Uint8Array, at: number): void {
    const frame = this.#frame;
    let to = this.#bytes;
    if (this.#count++ > 0) frame[to++] = COMMA;
    for (let i = 0; i < QUOTED_MID_BYTES; i++) frame[to++] = buffer[at + i] ?? 0;
    this.#bytes = to;
  }

  /** Sends them and begins anew. */
  send(loop: Loop, link: Link): void {
    this.#frame.set(TAIL, this.#bytes);
    loop.write(link, this.#frame, this.#bytes + TAIL.length);
    this.#bytes = this.#headBytes;
    this.#count = 0;
  }
}
