/**
 * What one user may do a minute, as one session worker counts it: log-ins and RESUMEs, messages, their
 * length and their recipients in groups. A user has one session, so that a worker's count is the user's but for those that he
 * leaves.
 */

import type { Clock, UserId } from "../ports.ts";
import { MinuteBuckets } from "./buckets.ts";

/** Settings of the quotas; 0 is no limit. */
export interface QuotaLimits {
  /** Log-ins and RESUMEs. */
  readonly loginsPerMinute: number;
  readonly messagesPerMinute: number;
  /** UTF-16 units. */
  readonly unitsPerMinute: number;
  /** Recipients, over all messages. */
  readonly deliveriesPerMinute: number;
}

/** How many deliveries a user may cause at once: what he may in so many ms. */
const DELIVERIES_MS = 500;

/** See the module's header. */
export class Quotas {
  readonly #logins: MinuteBuckets<UserId>;
  readonly #messages: MinuteBuckets<UserId>;
  readonly #units: MinuteBuckets<UserId>;
  readonly #deliveries: MinuteBuckets<UserId>;
  readonly #counts: boolean;
  readonly #countsDeliveries: boolean;

  constructor(clock: Pick<Clock, "now">, limits: QuotaLimits) {
    this.#logins = new MinuteBuckets(clock, limits.loginsPerMinute);
    this.#messages = new MinuteBuckets(clock, limits.messagesPerMinute);
    this.#units = new MinuteBuckets(clock, limits.unitsPerMinute);
    this.#deliveries = new MinuteBuckets(clock, limits.deliveriesPerMinute, DELIVERIES_MS);
    this.#counts = limits.messagesPerMinute > 0 || limits.unitsPerMinute > 0;
    this.#countsDeliveries = limits.deliveriesPerMinute > 0;
  }

  /** Counts a log-in. @returns How long the user has to wait first, ms; then it is not counted. */
  logIn(user: UserId): number {
    const wait = this.#logins.wait(user);
    if (wait === 0) this.#logins.add(user);
    return wait;
  }

  /**
   * Counts a message.
   * @param recipients Of a group's message; 0 for one to a user.
   * @returns As {@linkcode logIn}.
   */
  send(user: UserId, units: number, recipients: number): number {
    const isGroup = this.#countsDeliveries && recipients > 0;
    if (!this.#counts && !isGroup) return 0;
    const wait = Math.max(
      this.#messages.wait(user),
      this.#units.wait(user, units),
      isGroup ? this.#deliveries.wait(user, recipients) : 0,
    );
    if (wait > 0) return wait;
    this.#messages.add(user);
    this.#units.add(user, units);
    if (isGroup) this.#deliveries.add(user, recipients);
    return 0;
  }
}
