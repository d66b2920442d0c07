/**
 * Decides when the next connection is tried after a lost one, and when none is any more. It
 * connects nothing.
 *
 * Invariants: every wait is jittered and none shorter than the server asked for; only a session that
 * lasted makes the waits short again; an outage longer than its limit ends the retries, and so does a
 * BYE after which coming back would be wrong.
 * Source: docs/protocol.md, "BYE"; docs/client.md, "Reconnecting".
 */

import type { Bye } from "@chat/wire/messages.ts";
import { Backoff } from "./backoff.ts";
import { type Clock, pause } from "./clock.ts";

/** First reconnect waits up to this, in ms; doubled by every failure. */
const RECONNECT_BASE_MS = 500;
/** No reconnect waits longer than this beyond what the server asked, in ms. */
const RECONNECT_CAP_MS = 5_000;
/** A session that lasted so long was a success: the next loss starts with short waits again. */
const STABLE_SESSION_MS = 2_000;

/** How a connection has ended. */
export interface Ended {
  readonly reason: string;
  /** Nothing is to be tried again. */
  readonly final: boolean;
}

/** The reconnects of one client. */
export class Reconnects {
  readonly #clock: Clock;
  readonly #giveUpAfterMs: number;
  readonly #backoff: Backoff;
  /** Epoch ms; 0 for none. */
  #onlineSinceMs = 0;
  #outageSinceMs = 0;
  #retryAfterMs = 0;
  /** Words of a BYE after which coming back would be wrong. */
  #finalBye: string | undefined;
  /** Cuts the wait that is under way short. */
  #endWait: (() => void) | undefined;

  /** @param giveUpAfterMs An outage longer than this ends the retries. */
  constructor(clock: Clock, giveUpAfterMs: number) {
    this.#clock = clock;
    this.#giveUpAfterMs = giveUpAfterMs;
    this.#backoff = new Backoff(clock, RECONNECT_BASE_MS, RECONNECT_CAP_MS);
  }

  /** There is a new connection: it has not been said goodbye to. */
  connected(): void {
    this.#finalBye = undefined;
  }

  /** A session is open. */
  online(): void {
    this.#onlineSinceMs = this.#clock.now();
    this.#retryAfterMs = 0;
  }

  /** The server asks not to be tried before so many ms; the longest it asked for counts. */
  asked(retryAfterMs: number): void {
    this.#retryAfterMs = Math.max(this.#retryAfterMs, retryAfterMs);
  }

  /** The server closes the connection after this. */
  bye({ errno, errmsg, retryAfterMs = 0 }: Bye): void {
    this.asked(retryAfterMs);
    if (isFinal(errno)) this.#finalBye = errmsg;
  }

  /** The connection has closed. */
  closed(reason: string): Ended {
    return { reason: this.#finalBye ?? reason, final: this.#finalBye !== undefined };
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

  /**
   * Resolves when the next connection is to be tried.
   *
   * @param onWait Is told how long that is, in ms.
   */
  async wait(onWait: (waitMs: number) => void): Promise<void> {
    const waitMs = this.#backoff.next(this.#retryAfterMs);
    this.#retryAfterMs = 0;
    onWait(waitMs);
    const wait = pause(this.#clock, waitMs);
    this.#endWait = wait.stop;
    await wait.done;
    this.#endWait = undefined;
  }

  /** Waits no longer. @returns Whether there was a wait. */
  endWait(): boolean {
    this.#endWait?.();
    return this.#endWait !== undefined;
  }

  /** The user wants it now, also after a final BYE: a new series of tries begins. */
  reset(): void {
    this.#backoff.reset();
    this.#outageSinceMs = 0;
    this.#finalBye = undefined;
  }
}

/** BYE errnos after which the same session must not come back by itself. */
function isFinal(errno: number): boolean {
  // 1: revoked; 2: another client has taken the session; 6: forbidden.
  return errno === 1 || errno === 2 || errno === 6;
}
