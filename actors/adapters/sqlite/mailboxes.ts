/**
 * How many messages wait for each user in SQLite, in memory: a commit asks it for every recipient.
 * Of a user for whom few wait the number alone is kept, of others also whose they are.
 *
 * Invariant: what is here of the filed rows is the file's, inside a transaction as after it; whoever
 * rolls back or sees another process's writes calls `forget`. What is not filed is counted apart.
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
import type { UnfiledMessages } from "./unfiled.ts";

/** Users remembered, about 80 B each; when there are more, those are forgotten that can be. */
const MAX_KNOWN = 500_000;
/** Users of whom it is kept whose messages wait, 100 B for each sender; then all are forgotten. */
const MAX_DETAILED = 2_000;

/** What waits for a user. */
interface Counts {
  /** In the tables; -1 while it has not been counted. */
  filed: number;
  unfiled: number;
}

export class SqliteMailboxes {
  readonly #max: number;
  readonly #free: number;
  readonly #sql;
  readonly #unfiled: UnfiledMessages;
  readonly #counts = new Map<UserId, Counts>();
  readonly #detailed = new Map<UserId, Mailbox>();

  /** @param max Messages that may wait for one user; 0: no limit. */
  constructor(db: DatabaseSync, max: number, unfiled: UnfiledMessages) {
    this.#max = max;
    this.#free = freeFor(max);
    this.#unfiled = unfiled;
    this.#sql = {
      count: db.prepare("SELECT COUNT(*) AS count FROM offlinemessage WHERE userid = ?"),
      senders: db.prepare(
        "SELECT sender, COUNT(*) AS count FROM offlinemessage WHERE userid = ? GROUP BY sender",
      ),
      isFriend: db.prepare("SELECT 1 FROM friend WHERE userid = ? AND friendid = ?"),
    };
  }

  forget(): void {
    this.#detailed.clear();
    for (const [user, counts] of this.#counts) {
      if (counts.unfiled === 0) this.#counts.delete(user);
      else counts.filed = -1;
    }
  }

  /** Nothing is unfiled, and nothing is known of the rest. */
  reset(): void {
    this.#detailed.clear();
    this.#counts.clear();
  }

  /** Why a message of `from` to `user` alone finds no room. */
  refusal(user: UserId, from: UserId): AppendOutcome | undefined {
    if (this.#max === 0) return undefined;
    const now = Date.now();
    const closedUntil = this.#detailed.get(user)?.closedUntil ?? 0;
    if (this.#total(user) < this.#free && now >= closedUntil) return undefined;
    const isFriend = this.#sql.isFriend.get(user, from) !== undefined;
    return refusalOf(this.#detail(user), this.#max, from, isFriend, now);
  }

  /** Whether a group's message finds no room. */
  isFullForGroups(user: UserId): boolean {
    if (this.#max === 0 || this.#total(user) < this.#free) return false;
    return !takesFromGroups(this.#detail(user), this.#max);
  }

  /** A message was committed that waits for a user; `sender` 0 for a group's. */
  added(user: UserId, sender: UserId): void {
    if (this.#max === 0) return;
    this.#of(user).unfiled++;
    this.#count(user, sender, 1);
  }

  /** One that was not filed waits no more. */
  received(user: UserId, sender: UserId): void {
    if (this.#max === 0) return;
    this.#of(user).unfiled--;
    this.#count(user, sender, -1);
  }

  /** One that waits has got its row. */
  filed(user: UserId): void {
    if (this.#max === 0) return;
    const counts = this.#of(user);
    counts.unfiled--;
    if (counts.filed >= 0) counts.filed++;
  }

  /** Whether it is kept whose messages wait for a user: then it has to be told what goes. */
  isDetailed(user: UserId): boolean {
    return this.#detailed.size > 0 && this.#detailed.has(user);
  }

  /** A row has gone; `sender` counts where {@linkcode isDetailed}. */
  dropped(user: UserId, sender: UserId): void {
    const counts = this.#counts.get(user);
    if (counts !== undefined && counts.filed > 0) counts.filed--;
    this.#count(user, sender, -1);
  }

  #count(user: UserId, sender: UserId, by: number): void {
    if (!this.isDetailed(user)) return;
    const mailbox = this.#detailed.get(user);
    if (mailbox !== undefined) count(mailbox, sender, by);
  }

  #of(user: UserId): Counts {
    const known = this.#counts.get(user);
    if (known !== undefined) return known;
    if (this.#counts.size >= MAX_KNOWN) this.forget();
    const counts = { filed: -1, unfiled: 0 };
    this.#counts.set(user, counts);
    return counts;
  }

  #total(user: UserId): number {
    const counts = this.#of(user);
    if (counts.filed < 0) {
      const row = this.#sql.count.get(user);
      counts.filed = row === undefined ? 0 : int(row, "count");
    }
    return counts.filed + counts.unfiled;
  }

  #detail(user: UserId): Mailbox {
    const known = this.#detailed.get(user);
    if (known !== undefined) return known;
    const mailbox = emptyMailbox();
    for (const row of this.#sql.senders.all(user)) {
      count(mailbox, int(row, "sender"), int(row, "count"));
    }
    for (const { message } of this.#unfiled.select((entry) => entry.waitsFor(user))) {
      count(mailbox, message.groupid === 0 ? message.from : 0, 1);
    }
    if (this.#detailed.size >= MAX_DETAILED) this.#detailed.clear();
    this.#detailed.set(user, mailbox);
    return mailbox;
  }
}
