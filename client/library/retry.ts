/**
 * Waits for conditions and repeats requests of one client, each until its deadline.
 */

import { Backoff } from "./backoff.ts";
import { type Clock, pause } from "./clock.ts";
import { ConnectionLost, RequestError } from "./errors.ts";

/** First wait before a request is repeated is up to this, in ms. */
const RETRY_BASE_MS = 200;
/** No such wait is longer than this beyond what the server asked, in ms. */
const RETRY_CAP_MS = 5_000;

/** The waits of one client. */
export class Retries {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #waiters: (() => void)[] = [];
  /** Each cuts the wait before a repetition short. */
  readonly #pauses = new Set<() => void>();
  #ended = false;

  /** @param timeoutMs For one request with all its repetitions. */
  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Repeats an attempt that was refused for a passing reason (errno 7, 9) and, where `again` allows
   * it, one whose connection was lost.
   *
   * @param attempt Is told how much time is left, in ms.
   */
  async retry<T>(attempt: (leftMs: number) => Promise<T>, again: () => boolean): Promise<T> {
    const until = this.#clock.now() + this.#timeoutMs;
    const backoff = new Backoff(this.#clock, RETRY_BASE_MS, RETRY_CAP_MS);
    while (true) {
      let waitMs: number;
      try {
        return await attempt(Math.max(1, until - this.#clock.now()));
      } catch (error) {
        const passing = error instanceof RequestError && (error.errno === 7 || error.errno === 9);
        if (!passing && !(error instanceof ConnectionLost && again())) throw error;
        waitMs = backoff.next(passing ? error.retryAfterMs : 0);
        if (this.#ended || this.#clock.now() + waitMs >= until) throw error;
      }
      const { done, stop } = pause(this.#clock, waitMs);
      this.#pauses.add(stop);
      await done;
      this.#pauses.delete(stop);
    }
  }

  /**
   * Waits until something holds; it is looked at whenever `wake` is called.
   *
   * @returns False when it did not hold within `timeoutMs`.
   */
  async until(holds: () => boolean, timeoutMs: number): Promise<boolean> {
    const end = this.#clock.now() + timeoutMs;
    while (!holds()) {
      const leftMs = end - this.#clock.now();
      if (leftMs <= 0) return false;
      const limit = pause(this.#clock, leftMs);
      this.#waiters.push(limit.stop);
      await limit.done;
      this.#waiters = this.#waiters.filter((stop) => stop !== limit.stop);
    }
    return true;
  }

  /** Nothing is worth waiting for any more: what waits looks once more, and fails or is done. */
  end(): void {
    this.#ended = true;
    for (const stop of this.#pauses) stop();
    this.wake();
  }

  /** Something has changed. */
  wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}
