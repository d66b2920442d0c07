/**
 * When the next connection is tried after a lost one, and when no more. It waits for nothing itself.
 *
 * Invariants: every wait is jittered and none shorter than the server asked for; only a session that
 * lasted makes the waits short again; an outage longer than its limit ends the retries.
 * Source: docs/client.md, "Reconnecting".
 */

import { Backoff } from "./backoff.ts";
import type { Clock } from "./clock.ts";

/** First reconnect waits up to this, in ms; doubled by every failure. */
const RECONNECT_BASE_MS = 500;
/** No reconnect waits longer than this beyond what the server asked, in ms. */
const RECONNECT_CAP_MS = 5_000;
/** A session that lasted so long was a success: the next loss starts with short waits again. */
const STABLE_SESSION_MS = 2_000;

/** The reconnects of one client. */
export class ReconnectPolicy {
  readonly #clock: Clock;
  readonly #giveUpAfterMs: number;
  readonly #backoff: Backoff;
  /** Epoch ms; 0 for none. */
  #onlineSinceMs = 0;
  #outageSinceMs = 0;
  #retryAfterMs = 0;

  /** @param giveUpAfterMs An outage longer than this ends the retries. */
  constructor(clock: Clock, giveUpAfterMs: number) {
    this.#clock = clock;
    this.#giveUpAfterMs = giveUpAfterMs;
    this.#backoff = new Backoff(clock, RECONNECT_BASE_MS, RECONNECT_CAP_MS);
  }

  /** A session is open. */
  online(): void {
    this.#onlineSinceMs = this.#clock.now();
    this.#retryAfterMs = 0;
  }

  /** The server asks not to be tried before so many ms. */
  asked(retryAfterMs: number): void {
    this.#retryAfterMs = retryAfterMs;
  }

  /** The user wants it now: a new series of tries begins. */
  reset(): void {
    this.#backoff.reset();
    this.#outageSinceMs = 0;
  }

  /** A connection has been lost or was not made. @returns Whether to give up. */
  lost(): boolean {
    if (this.#onlineSinceMs !== 0) {
      if (this.#clock.now() - this.#onlineSinceMs >= STABLE_SESSION_MS) this.#backoff.reset();
      this.#onlineSinceMs = 0;
      this.#outageSinceMs = 0;
    }
    this.#outageSinceMs ||= this.#clock.now();
    return this.#clock.now() - this.#outageSinceMs > this.#giveUpAfterMs;
  }

  /** How long to wait before the next try, in ms. */
  nextWaitMs(): number {
    const waitMs = this.#backoff.next(this.#retryAfterMs);
    this.#retryAfterMs = 0;
    return waitMs;
  }
}
