/**
 * Sends the clients of a node that stops away: told a few at a time, then waited for. That no new
 * ones come is the gateway's doing.
 *
 * Invariant: all sockets that are read are counted, those of closed connections whose peer has not
 * hung up among them: ending the process on a peer that still sends would cost it the BYE.
 */

import type { Connection } from "./connection.ts";

/**
 * What clients are told to wait when a node stops, up to, ms: little, where the window has spread
 * them already, and more where all are told at once.
 */
const RECONNECT_MS = 200;
const RECONNECT_AT_ONCE_MS = 2_000;
/** How often some clients are told to go while draining, ms, and the fewest at a time: 100/s. */
const DRAIN_TICK_MS = 50;
const DRAIN_LEAST = 5;
/** How long the frames in hand of a client that has to go may take, ms. */
const LEAVE_MS = 2_000;
/** How long the last clients may take to hang up after their BYE, and how often that is seen, ms. */
const LINGER_MS = 3_000;
const POLL_MS = 10;

/** See the module's header. */
export class Drain {
  readonly #connections: ReadonlyMap<number, Connection>;
  #sockets = 0;
  #onEmpty: (() => void) | undefined;

  /** @param connections Those that are open; looked at, never changed. */
  constructor(connections: ReadonlyMap<number, Connection>) {
    this.#connections = connections;
  }

  /** A socket is read from now on. */
  opened(): void {
    this.#sockets++;
  }

  /** A socket has been read to its end. */
  hungUp(): void {
    this.#sockets--;
  }

  /** A connection is no longer among the open ones. */
  closed(): void {
    if (this.#connections.size === 0) this.#onEmpty?.();
  }

  /**
   * Tells all clients, spread over `windowMs`, when to come back; never slower than 100 a second, so
   * that a small node stops at once.
   */
  async tellAll(windowMs: number): Promise<void> {
    const all = [...this.#connections.values()];
    const atATime = Math.max(
      DRAIN_LEAST,
      Math.ceil(all.length * DRAIN_TICK_MS / Math.max(1, windowMs)),
    );
    const retryMs = windowMs === 0 ? RECONNECT_AT_ONCE_MS : RECONNECT_MS;
    for (let at = 0; at < all.length; at += atATime) {
      if (at > 0) await new Promise((resolve) => setTimeout(resolve, DRAIN_TICK_MS));
      for (const connection of all.slice(at, at + atATime)) {
        connection.leave(Math.round(Math.random() * retryMs), LEAVE_MS);
      }
    }
  }

  /**
   * Resolves once all are closed, those left after `ms` by force, and their peers have hung up; for
   * the latter it waits LINGER_MS more.
   */
  async untilGone(ms: number): Promise<void> {
    if (this.#connections.size > 0) {
      const empty = new Promise<void>((resolve) => this.#onEmpty = resolve);
      const timer = setTimeout(() => this.#onEmpty?.(), ms);
      await empty;
      clearTimeout(timer);
      for (const connection of [...this.#connections.values()]) connection.close("shutdown");
    }
    for (let waited = 0; this.#sockets > 0 && waited < LINGER_MS; waited += POLL_MS) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
