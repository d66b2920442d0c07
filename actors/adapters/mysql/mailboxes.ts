/**
 * How many messages wait for each user in MySQL, and of whom, as this node knows: other nodes write
 * and delete rows too, so a number is an estimate that is read again before it refuses anybody, and
 * now and then. A mailbox may thus grow past its limit, by an eighth of it for each node.
 */

import type { Connection } from "mysql2/promise";
import type { Append, AppendOutcome, GroupId, UserId } from "../../ports.ts";
import {
  count,
  emptyMailbox,
  freeFor,
  type Mailbox,
  refusalOf,
  takesFromGroups,
} from "../mailbox.ts";
import { MultiRow } from "./multi.ts";
import { int } from "../rows.ts";

/** Users remembered, about 100 B each and as much for each sender; then all are forgotten. */
const MAX_KNOWN = 500_000;
/** A mailbox that refuses is not counted again for so long, ms, unless its owner reads here. */
const FULL_FOR_MS = 2_000;
/** Part of the limit that may be added before the rows are counted again. */
const TRUSTED_PART = 1 / 8;

const COUNT = new MultiRow(
  "SELECT userid, sender, COUNT(*) AS count FROM offlinemessage WHERE userid IN (",
  1,
  ") GROUP BY userid, sender",
);
const FRIENDS = new MultiRow(
  "SELECT userid, friendid FROM friend WHERE (userid, friendid) IN (",
  2,
  ")",
);

interface Known extends Mailbox {
  /** Rows added by this node since it was counted, epoch ms of which follows. */
  added: number;
  countedAt: number;
}

export class MysqlMailboxes {
  readonly #max: number;
  readonly #free: number;
  readonly #known = new Map<UserId, Known>();
  /** Of the senders of the batch in hand: `owner friend`. */
  #friends: ReadonlySet<string> = new Set();

  /** @param max Messages that may wait for one user; 0: no limit. */
  constructor(max: number) {
    this.#max = max;
    this.#free = freeFor(max);
  }

  /** Counts what is not known of a batch's recipients, or no longer well enough. */
  async learn(
    connection: Connection,
    appends: readonly Append[],
    members: ReadonlyMap<GroupId, ReadonlySet<UserId>>,
  ): Promise<void> {
    if (this.#max === 0) return;
    if (this.#known.size > MAX_KNOWN) this.#known.clear();
    const now = Date.now();
    await this.#count(connection, this.#unknown(appends, members), now);
    this.#friends = await friendsAmong(connection, this.#crowded(appends));
    const doubtful = new Set<UserId>();
    const isDoubtful = (user: UserId, refuses: boolean) => {
      const mailbox = this.#known.get(user);
      if (mailbox === undefined) return false;
      if (mailbox.added > this.#max * TRUSTED_PART) return true;
      return refuses && (mailbox.added > 0 || now - mailbox.countedAt > FULL_FOR_MS);
    };
    for (const { message: { from, toid, groupid } } of appends) {
      if (groupid === 0) {
        if (isDoubtful(toid, this.refusal(toid, from, false) !== undefined)) doubtful.add(toid);
        continue;
      }
      for (const user of members.get(groupid) ?? []) {
        if (isDoubtful(user, this.isFullForGroups(user))) doubtful.add(user);
      }
    }
    await this.#count(connection, doubtful, now);
  }

  #unknown(
    appends: readonly Append[],
    members: ReadonlyMap<GroupId, ReadonlySet<UserId>>,
  ): Set<UserId> {
    const unknown = new Set<UserId>();
    const groups = new Set<GroupId>();
    const look = (user: UserId) => {
      if (!this.#known.has(user)) unknown.add(user);
    };
    for (const { message: { toid, groupid } } of appends) {
      if (groupid === 0) look(toid);
      else groups.add(groupid);
    }
    for (const group of groups) members.get(group)?.forEach(look);
    return unknown;
  }

  /** Pairs of owner and sender, of mailboxes in which it matters who it is. */
  #crowded(appends: readonly Append[]): UserId[] {
    const pairs: UserId[] = [];
    for (const { message: { from, toid, groupid } } of appends) {
      const { total = 0, closedUntil = 0 } = this.#known.get(toid) ?? {};
      const isCrowded = total + appends.length >= this.#free || closedUntil > 0;
      if (groupid === 0 && isCrowded) pairs.push(toid, from);
    }
    return pairs;
  }

  async #count(connection: Connection, users: ReadonlySet<UserId>, now: number): Promise<void> {
    if (users.size === 0) return;
    for (const user of users) {
      const { closed, closedUntil } = this.#known.get(user) ?? emptyMailbox();
      const mailbox = { ...emptyMailbox(), closed, closedUntil };
      this.#known.set(user, { ...mailbox, added: 0, countedAt: now });
    }
    for (const row of await COUNT.rows(connection, [...users])) {
      const mailbox = this.#known.get(int(row, "userid"));
      if (mailbox !== undefined) count(mailbox, int(row, "sender"), int(row, "count"));
    }
  }

  /**
   * Why a message of `from` to `user` alone finds no room.
   * @param isCounted What is known has been counted where it may be wrong: a refusal counts.
   */
  refusal(user: UserId, from: UserId, isCounted = true): AppendOutcome | undefined {
    const mailbox = this.#known.get(user);
    if (this.#max === 0 || mailbox === undefined) return undefined;
    const now = Date.now();
    if (mailbox.total < this.#free && now >= mailbox.closedUntil) return undefined;
    const isFriend = this.#friends.has(`${user} ${from}`);
    return refusalOf(mailbox, this.#max, from, isFriend, now, isCounted);
  }

  /** Whether a group's message finds no room. */
  isFullForGroups(user: UserId): boolean {
    const mailbox = this.#known.get(user);
    if (this.#max === 0 || mailbox === undefined || mailbox.total < this.#free) return false;
    return !takesFromGroups(mailbox, this.#max);
  }

  /** A pending row is being written; `sender` 0 for a group's. */
  added(user: UserId, sender: UserId): void {
    const mailbox = this.#known.get(user);
    if (mailbox === undefined) return;
    count(mailbox, sender, 1);
    mailbox.added++;
  }

  /** The user reads: a mailbox in which much waits is counted anew. */
  received(user: UserId): void {
    const mailbox = this.#known.get(user);
    if (mailbox !== undefined && mailbox.total >= this.#free) mailbox.added = Infinity;
  }

  /** A commit failed: nothing is known. */
  forget(): void {
    this.#known.clear();
  }
}

async function friendsAmong(
  connection: Connection,
  pairs: readonly UserId[],
): Promise<ReadonlySet<string>> {
  if (pairs.length === 0) return new Set();
  const found = await FRIENDS.rows(connection, pairs);
  return new Set(found.map((row) => `${int(row, "userid")} ${int(row, "friendid")}`));
}
