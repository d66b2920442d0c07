/**
 * How many messages wait for each user in SQLite, in memory: a commit asks it for every pending row.
 * Of a user for whom few wait the number alone is kept, of others also whose they are.
 *
 * Invariant: a number that is here is the file's, inside a transaction as after it; whoever rolls
 * back or sees another process's writes calls `forget`.
 */

import type { DatabaseSync } from "node:sqlite";
import type { AppendOutcome, UserId } from "../../ports.ts";
import {
  count,
  emptyMailbox,
  freeFor,
  type Mailbox,
  refusalOf,
  takesFromGroups,
} from "../mailbox.ts";
import { int } from "../rows.ts";

/** Users remembered, about 50 B each; when there are more, all are forgotten. */
const MAX_KNOWN = 500_000;
/** Users of whom it is kept whose messages wait, 100 B for each sender; then all are forgotten. */
const MAX_DETAILED = 2_000;

export class SqliteMailboxes {
  readonly #max: number;
  readonly #free: number;
  readonly #sql;
  readonly #counts = new Map<UserId, number>();
  readonly #detailed = new Map<UserId, Mailbox>();

  /** @param max Messages that may wait for one user; 0: no limit. */
  constructor(db: DatabaseSync, max: number) {
    this.#max = max;
    this.#free = freeFor(max);
    this.#sql = {
      count: db.prepare("SELECT COUNT(*) AS count FROM offlinemessage WHERE userid = ?"),
      senders: db.prepare(
        "SELECT sender, COUNT(*) AS count FROM offlinemessage WHERE userid = ? GROUP BY sender",
      ),
      isFriend: db.prepare("SELECT 1 FROM friend WHERE userid = ? AND friendid = ?"),
    };
  }

  forget(): void {
    this.#counts.clear();
    this.#detailed.clear();
  }

  /** Why a message of `from` to `user` alone finds no room. */
  refusal(user: UserId, from: UserId): AppendOutcome | undefined {
    if (this.#max === 0) return undefined;
    const now = Date.now();
    const closedUntil = this.#detailed.get(user)?.closedUntil ?? 0;
    if (this.#of(user) < this.#free && now >= closedUntil) return undefined;
    const isFriend = this.#sql.isFriend.get(user, from) !== undefined;
    return refusalOf(this.#detail(user), this.#max, from, isFriend, now);
  }

  /** Whether a group's message finds no room. */
  isFullForGroups(user: UserId): boolean {
    if (this.#max === 0 || this.#of(user) < this.#free) return false;
    return !takesFromGroups(this.#detail(user), this.#max);
  }

  /** A pending row was written; `sender` 0 for a group's. */
  added(user: UserId, sender: UserId): void {
    if (this.#max === 0) return;
    const total = this.#of(user) + 1;
    this.#counts.set(user, total);
    const mailbox = this.#detailed.get(user);
    if (mailbox !== undefined) count(mailbox, sender, 1);
  }

  /** Whether it is kept whose messages wait for a user: then it has to be told what goes. */
  isDetailed(user: UserId): boolean {
    return this.#detailed.size > 0 && this.#detailed.has(user);
  }

  /** A pending row has gone; `sender` counts where {@linkcode isDetailed}. */
  dropped(user: UserId, sender: UserId): void {
    const known = this.#counts.get(user);
    if (known !== undefined) this.#counts.set(user, known - 1);
    const mailbox = this.#detailed.get(user);
    if (mailbox !== undefined) count(mailbox, sender, -1);
  }

  #of(user: UserId): number {
    const known = this.#counts.get(user);
    if (known !== undefined) return known;
    const row = this.#sql.count.get(user);
    const total = row === undefined ? 0 : int(row, "count");
    if (this.#counts.size >= MAX_KNOWN) this.#counts.clear();
    this.#counts.set(user, total);
    return total;
  }

  #detail(user: UserId): Mailbox {
    const known = this.#detailed.get(user);
    if (known !== undefined) return known;
    const mailbox = emptyMailbox();
    for (const row of this.#sql.senders.all(user)) {
      count(mailbox, int(row, "sender"), int(row, "count"));
    }
    if (this.#detailed.size >= MAX_DETAILED) this.#detailed.clear();
    this.#detailed.set(user, mailbox);
    return mailbox;
  }
}
