/**
 * How many messages wait for each user in MySQL, as this node knows: other nodes write and delete
 * rows too, so a number is an estimate that is read again before it refuses anybody, and now and
 * then. A mailbox may thus grow past its limit, by an eighth of it for each node.
 */

import type { Connection } from "mysql2/promise";
import type { UserId } from "../../ports.ts";
import { MultiRow } from "./multi.ts";
import { int } from "../rows.ts";

/** Users remembered, about 100 B each; when there are more, all are forgotten. */
const MAX_KNOWN = 500_000;
/** A mailbox found full is not counted again for so long, ms, unless its owner reads here. */
const FULL_FOR_MS = 2_000;
/** Part of the limit that may be added before the rows are counted again. */
const TRUSTED_PART = 1 / 8;

const COUNT = new MultiRow(
  "SELECT userid, COUNT(*) AS count FROM offlinemessage WHERE userid IN (",
  1,
  ") GROUP BY userid",
);

interface Mailbox {
  count: number;
  /** Rows added by this node since it was counted, epoch ms of which follows. */
  added: number;
  readonly countedAt: number;
}

export class MysqlMailboxes {
  readonly #max: number;
  readonly #known = new Map<UserId, Mailbox>();

  /** @param max Messages that may wait for one user; 0: no limit. */
  constructor(max: number) {
    this.#max = max;
  }

  /** Counts what is not known of these users, or no longer well enough. */
  async learn(connection: Connection, users: Iterable<UserId>): Promise<void> {
    if (this.#max === 0) return;
    if (this.#known.size > MAX_KNOWN) this.#known.clear();
    const now = Date.now();
    const asked = new Set<UserId>();
    for (const user of users) {
      const mailbox = this.#known.get(user);
      if (mailbox === undefined || this.#isDoubtful(mailbox, now)) asked.add(user);
    }
    if (asked.size === 0) return;
    for (const user of asked) this.#known.set(user, { count: 0, added: 0, countedAt: now });
    for (const row of await COUNT.rows(connection, [...asked])) {
      const count = int(row, "count");
      this.#known.set(int(row, "userid"), { count, added: 0, countedAt: now });
    }
  }

  #isDoubtful({ count, added, countedAt }: Mailbox, now: number): boolean {
    if (added > this.#max * TRUSTED_PART) return true;
    return count >= this.#max && (added > 0 || now - countedAt > FULL_FOR_MS);
  }

  isFull(user: UserId): boolean {
    return this.#max > 0 && (this.#known.get(user)?.count ?? 0) >= this.#max;
  }

  /** A pending row is being written. */
  added(user: UserId): void {
    const mailbox = this.#known.get(user);
    if (mailbox === undefined) return;
    mailbox.count++;
    mailbox.added++;
  }

  /** The user reads: a full mailbox is counted anew. */
  received(user: UserId): void {
    const mailbox = this.#known.get(user);
    if (mailbox !== undefined && mailbox.count >= this.#max) this.#known.delete(user);
  }

  /** A commit failed: nothing is known. */
  forget(): void {
    this.#known.clear();
  }
}
