/**
 * Looks at every connection twice a second: PINGs silent v2 peers, and has those told to go that are
 * dead, read nothing, or on which nobody logs in. v1 knows no PING and has TCP's keep-alive.
 *
 * Invariants: connections go by the time of the last look; reading the clock for every frame would
 * cost more than it tells. That time advances by MAX_STEP_MS a look at most and never goes back: a
 * process that stood still, or whose clock was set, has heard nobody meanwhile and blames nobody.
 */

import type { Connection } from "./connection.ts";
import { PING } from "./own_frames.ts";

/** Time between two looks, ms: heartbeats are accurate to this. */
export const TICK_MS = 500;

/** What a look may add to the time. */
const MAX_STEP_MS = 2 * TICK_MS;

/** See the module's header. */
export class PeerWatch {
  readonly #connections: ReadonlyMap<number, Connection>;
  readonly #silentMs: number;
  readonly #loginMs: number;
  readonly #clock: () => number;
  #now: number;
  #readAt: number;
  #timer: ReturnType<typeof setInterval> | undefined;

  /**
   * @param connections Those that are open; looked at, never changed.
   * @param silentMs After this long without a word a peer is asked; it is dead after twice as long.
   * @param loginMs How long nobody may be logged in on a connection; 0: for ever.
   * @param clock Ms since whenever.
   */
  constructor(
    connections: ReadonlyMap<number, Connection>,
    silentMs: number,
    loginMs: number,
    clock: () => number = () => performance.now(),
  ) {
    this.#connections = connections;
    this.#silentMs = silentMs;
    this.#loginMs = loginMs;
    this.#clock = clock;
    this.#now = this.#readAt = clock();
  }

  /** Time of the last look, ms. One function for all connections: each would cost 60 bytes. */
  readonly now = (): number => this.#now;

  /** Looks every TICK_MS from now on. */
  start(): void {
    this.#readAt = this.#clock(); // starting may have taken longer than a heartbeat
    this.#timer = setInterval(() => this.look(), TICK_MS);
  }

  /** Looks no more. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks at all connections now. */
  look(): void {
    const readAt = this.#clock();
    this.#now += Math.max(0, Math.min(MAX_STEP_MS, readAt - this.#readAt));
    this.#readAt = readAt;
    for (const connection of this.#connections.values()) {
      connection.tick();
      this.#lookAt(connection);
    }
  }

  #lookAt(connection: Connection): void {
    const now = this.#now;
    const silentMs = this.#silentMs;
    const loginMs = this.#loginMs;
    if (loginMs > 0 && connection.user === 0 && now - connection.loggedOutAt > loginMs) {
      connection.bye("TRY_LATER", "nobody logged in in time", "login_timeout");
      return;
    }
    if (now - (connection.stuckSince ?? now) > 2 * silentMs) {
      connection.bye("TRY_LATER", "reads nothing; what was not received waits", "slow_reader");
      return;
    }
    if (connection.v === 1) return;
    const silence = now - connection.heardAt;
    if (silence > 2 * silentMs) {
      connection.bye("TRY_LATER", "nothing heard for too long", "silent");
    } else if (silence > silentMs && connection.pingedAt <= connection.heardAt) {
      // Equal when the PONG to the last PING came within its tick.
      connection.pingedAt = now;
      connection.send(PING);
    }
  }
}
