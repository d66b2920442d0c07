/**
 * What the client knows of the server's time and messages, to be said of a chat's first sending.
 *
 * Invariant: both are rather too small than too large: a chat sent again is never put after what its
 * sender had not seen.
 * Source: docs/protocol.md, "Rules of delivery".
 */

import type { FirstSending } from "./outbox.ts";

/** The context of one client. */
export class CausalContext {
  /** Server's clock less ours, ms, when it was last told; no more than it really is. */
  #serverAheadMs: number | undefined;
  /** The greatest `mid` that has come. */
  #seen = "";

  /**
   * The server has told its time, or that it tells none.
   *
   * @param serverNow By its clock, epoch ms.
   * @param now By ours, when the answer came. What it took to come makes the difference too small.
   */
  told(serverNow: number | undefined, now: number): void {
    this.#serverAheadMs = serverNow === undefined ? undefined : serverNow - now;
  }

  /** A message has come; "" for none. */
  saw(mid: string): void {
    if (mid > this.#seen) this.#seen = mid;
  }

  /** The greatest `mid` that has come; "" for none. */
  get seen(): string {
    return this.#seen;
  }

  /** What is known at `now`, our time; undefined while the server's clock is not. */
  at(now: number): FirstSending | undefined {
    const aheadMs = this.#serverAheadMs;
    return aheadMs === undefined ? undefined : { at: now + aheadMs, seen: this.#seen };
  }
}
