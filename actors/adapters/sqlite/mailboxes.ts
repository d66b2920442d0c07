/**
 * How many messages wait for each user in SQLite, in memory: a commit asks it for every pending row.
 *
 * Invariant: a number that is here is the file's, inside a transaction as after it; whoever rolls
 * back or sees another process's writes calls `forget`.
 */

import type { DatabaseSync } from "node:sqlite";
import type { UserId } from "../../ports.ts";
import { int } from "../rows.ts";

/** Users remembered, about 50 B each; when there are more, all are forgotten. */
const MAX_KNOWN = 500_000;

export class SqliteMailboxes {
  readonly #max: number;
  readonly #count;
  readonly #counts = new Map<UserId, number>();

  /** @param max Messages that may wait for one user; 0: no limit. */
  constructor(db: DatabaseSync, max: number) {
    this.#max = max;
    this.#count = db.prepare(
      "SELECT COUNT(*) AS count FROM offlinemessage WHERE userid = ?",
    );
  }

  forget(): void {
    this.#counts.clear();
  }

  isFull(user: UserId): boolean {
    return this.#max > 0 && this.#of(user) >= this.#max;
  }

  /** A pending row was written; call after `isFull`. */
  added(user: UserId): void {
    if (this.#max > 0) this.#counts.set(user, this.#of(user) + 1);
  }

  /** A pending row has gone. */
  dropped(user: UserId): void {
    const count = this.#counts.get(user);
    if (count !== undefined) this.#counts.set(user, count - 1);
  }

  #of(user: UserId): number {
    const known = this.#counts.get(user);
    if (known !== undefined) return known;
    const row = this.#count.get(user);
    const count = row === undefined ? 0 : int(row, "count");
    if (this.#counts.size >= MAX_KNOWN) this.#counts.clear();
    this.#counts.set(user, count);
    return count;
  }
}
