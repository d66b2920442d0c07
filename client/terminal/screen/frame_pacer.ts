/**
 * When the next frame is drawn: soon after it was asked for, and not more often than a terminal shows.
 *
 * Invariant: however often it is asked, one frame is under way, and the last request is followed by one.
 */

import type { Clock } from "../../library/clock.ts";

/** Frames are at least so far apart, in ms. */
const FRAME_MS = 16;

/** The frames of one screen. */
export class FramePacer {
  readonly #clock: Clock;
  readonly #draw: () => void;
  #drawnAt = 0;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, draw: () => void) {
    this.#clock = clock;
    this.#draw = draw;
  }

  /** Draws soon: in the next turn, or when the frame before is old enough. */
  request(): void {
    if (this.#cancel !== undefined) return;
    const sinceMs = this.#clock.now() - this.#drawnAt;
    const waitMs = Math.min(FRAME_MS, Math.max(0, FRAME_MS - sinceMs));
    this.#cancel = this.#clock.after(waitMs, () => {
      this.#cancel = undefined;
      this.now();
    });
  }

  /** Draws at once. */
  now(): void {
    this.#drawnAt = this.#clock.now();
    this.#draw();
  }

  /** Nothing is drawn any more unless it is asked for again. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
