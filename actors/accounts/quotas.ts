/**
 * What one user may do a minute, as one session worker counts it: log-ins and RESUMEs, messages and
 * their length. A user has one session, so that a worker's count is the user's but for those that he
 * leaves.
 */

import type { Clock, UserId } from "../ports.ts";
import { MinuteBuckets } from "./buckets.ts";

/** Settings of the quotas; 0 is no limit. */
export interface QuotaLimits {
  readonly messagesPerMinute: number;
  /** UTF-16 units. */
  readonly unitsPerMinute: number;
}

/**
 * Log-ins and RESUMEs of one user a minute: an honest client backs off, and a node that dies costs
 * each of its users one. Each reads and sends the user's lists.
 */
const LOGINS_PER_MINUTE = 120;

/** See the module's header. */
export class Quotas {
  readonly #logins: MinuteBuckets<UserId>;
  readonly #messages: MinuteBuckets<UserId>;
  readonly #units: MinuteBuckets<UserId>;
  readonly #counts: boolean;

  constructor(clock: Pick<Clock, "now">, limits: QuotaLimits) {
    this.#logins = new MinuteBuckets(clock, LOGINS_PER_MINUTE);
    this.#messages = new MinuteBuckets(clock, limits.messagesPerMinute);
    this.#units = new MinuteBuckets(clock, limits.unitsPerMinute);
    this.#counts = limits.messagesPerMinute > 0 || limits.unitsPerMinute > 0;
  }

  /** Counts a log-in. @returns How long the user has to wait first, ms; then it is not counted. */
  logIn(user: UserId): number {
    const wait = this.#logins.wait(user);
    if (wait === 0) this.#logins.add(user);
    return wait;
  }

  /** Counts a message. @returns As {@linkcode logIn}. */
  send(user: UserId, units: number): number {
    if (!this.#counts) return 0;
    const wait = Math.max(this.#messages.wait(user), this.#units.wait(user, units));
    if (wait > 0) return wait;
    this.#messages.add(user);
    this.#units.add(user, units);
    return 0;
  }
}
