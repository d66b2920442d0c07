/**
 * How long to wait before a retry: exponential with full jitter, so that clients that lost the same
 * server do not come back together. The first retry is jittered too.
 * Source: docs/client.md, "Reconnecting".
 */

import type { Clock } from "./clock.ts";

/** Shortest wait in ms: a retry never spins. */
const MIN_WAIT_MS = 20;

/** Delays of one series of retries; `reset` begins a new one. */
export class Backoff {
  readonly #clock: Clock;
  readonly #baseMs: number;
  readonly #capMs: number;
  #attempt = 0;

  /**
   * @param baseMs Upper bound of the first wait.
   * @param capMs Upper bound of every later wait.
   */
  constructor(clock: Clock, baseMs: number, capMs: number) {
    this.#clock = clock;
    this.#baseMs = baseMs;
    this.#capMs = capMs;
  }

  /**
   * The next wait in ms, uniform in [0, min(cap, base · 2^attempt)], added to what the server asked.
   *
   * @param floorMs What the server asked to wait at least (`retryAfterMs`).
   */
  next(floorMs = 0): number {
    const window = Math.min(this.#capMs, this.#baseMs * 2 ** this.#attempt);
    // 2^30 times any base is past every cap; the exponent stays finite.
    if (this.#attempt < 30) this.#attempt++;
    return Math.max(MIN_WAIT_MS, floorMs + this.#clock.random() * window);
  }

  /** The next retry is the first of a new series. */
  reset(): void {
    this.#attempt = 0;
  }
}
