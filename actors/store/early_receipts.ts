/**
 * Receipts that reach the store before their message does, or while it is being committed: the
 * sender's thread posts the push first, so that a recipient's thread can overtake its append.
 * Forgotten, the pending row would outlive its receipt and the message come again. Bounded: what is
 * dropped costs one repeat.
 */

import type { Mid, UserId } from "../ports.ts";

/** Most messages remembered; the oldest goes. */
const MAX_MESSAGES = 10_000;

/** See the module's header. */
export class EarlyReceipts {
  readonly #users = new Map<Mid, UserId[]>();

  /** Messages remembered. */
  get size(): number {
    return this.#users.size;
  }

  /** `user` has received a message that the store knows nothing of. */
  keep(mid: Mid, user: UserId): void {
    const users = this.#users.get(mid);
    if (users !== undefined) {
      if (!users.includes(user)) users.push(user);
      return;
    }
    this.#users.set(mid, [user]);
    if (this.#users.size <= MAX_MESSAGES) return;
    for (const oldest of this.#users.keys()) {
      this.#users.delete(oldest);
      break;
    }
  }

  /** Who has received a message that has come now. */
  take(mid: Mid): UserId[] {
    const users = this.#users.size === 0 ? undefined : this.#users.get(mid);
    if (users === undefined) return [];
    this.#users.delete(mid);
    return users;
  }
}
