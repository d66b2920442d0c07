/**
 * Remembers which committed messages still lack a receipt, and says when their sessions are told to
 * look for them again: the push may have been lost. Bounded; whoever is not watched is found by the
 * sessions' own check.
 */

import type { Mid, UserId } from "../ports.ts";

/** When a committed message without a receipt is hinted at, ms after its commit. */
const HINT_AFTER_MS = [2_000, 8_000, 30_000] as const;
/** How often to look, ms. */
export const HINT_SWEEP_MS = 1_000;
/** Most messages watched for a receipt; beyond it the sessions' own re-check serves. */
const MAX_WATCHED = 200_000;

interface Watched {
  users: UserId[];
  attempt: number;
  due: number;
}

/** See the module's header. */
export class ReceiptWatch {
  readonly #watched = new Map<Mid, Watched>();

  /** A message was committed; these have yet to confirm it. */
  add(mid: Mid, users: readonly UserId[], now: number): void {
    if (this.#watched.size >= MAX_WATCHED) return;
    this.#watched.set(mid, { users: [...users], attempt: 0, due: now + HINT_AFTER_MS[0] });
  }

  /** A receipt; false when nothing is known of the message. */
  received(mid: Mid, user: UserId): boolean {
    const watched = this.#watched.get(mid);
    if (watched === undefined) return false;
    watched.users = watched.users.filter((u) => u !== user);
    if (watched.users.length === 0) this.#watched.delete(mid);
    return true;
  }

  /** Users to hint at now. After its last hint a message is watched no more. */
  due(now: number): UserId[] {
    const users = new Set<UserId>();
    for (const [mid, watched] of this.#watched) {
      if (watched.due > now) continue;
      for (const user of watched.users) users.add(user);
      watched.attempt++;
      const next = HINT_AFTER_MS[watched.attempt];
      if (next === undefined) this.#watched.delete(mid);
      else watched.due = now + next;
    }
    return [...users];
  }
}
