/**
 * Messages and pending rows in SQLite: the group commit, and what is read back.
 *
 * The commit is the hot path. Rows go in one by one through statements prepared once: in-process
 * that measured faster than multi-row VALUES, whose cost is in binding, not in calls.
 */

import type { DatabaseSync } from "node:sqlite";
import type {
  Append,
  AppendOutcome,
  GroupId,
  HistoryPage,
  Message,
  Mid,
  Receipt,
  UserId,
} from "../../ports.ts";
import { AFTER_ALL_MIDS, NO_SUCH_TARGET, NOT_PERMITTED, receivedHere } from "../batch.ts";
import { int, message, page, str } from "../rows.ts";
import { CROWD } from "../crowd.ts";
import type { SqliteCrowds } from "./crowds.ts";
import type { SqliteMailboxes } from "./mailboxes.ts";
import type { SqlitePeople } from "./people.ts";
import type { Transaction } from "./transaction.ts";

// Text with a NUL is cut when read as text (node:sqlite), so free text is read as bytes.
const MESSAGE = `m.mid, CAST(m.cid AS BLOB) AS cid, m.sender, u.name, m.ts, m.toid, m.groupid,
  CAST(m.msg AS BLOB) AS msg, CAST(m.extra AS BLOB) AS extra`;

export class SqliteMessages {
  readonly #people: SqlitePeople;
  readonly #transaction: Transaction;
  readonly #mailboxes: SqliteMailboxes;
  readonly #crowds: SqliteCrowds;
  readonly #sql;

  constructor(
    db: DatabaseSync,
    people: SqlitePeople,
    transaction: Transaction,
    mailboxes: SqliteMailboxes,
    crowds: SqliteCrowds,
  ) {
    this.#people = people;
    this.#mailboxes = mailboxes;
    this.#crowds = crowds;
    this.#transaction = transaction;
    this.#sql = prepare(db);
  }

  commit(appends: readonly Append[], receipts: readonly Receipt[]): AppendOutcome[] {
    if (appends.length === 0 && receipts.length === 0) return [];
    try {
      return this.#transaction(() => {
        if (this.#people.refresh()) this.#forget();
        const received = receivedHere(appends, receipts);
        const outcomes = appends.map(({ message, confirmed }) =>
          this.#append(message, confirmed, received?.get(message.mid))
        );
        for (const { user, mid } of receipts) this.#drop(user, mid);
        this.#crowds.flush();
        return outcomes;
      });
    } catch (error) {
      this.#forget();
      throw error;
    }
  }

  #forget(): void {
    this.#mailboxes.forget();
    this.#crowds.forget();
  }

  #drop(user: UserId, mid: Mid): void {
    // Asked for only where it counts: a RETURNING costs every receipt as much again.
    const sender = this.#mailboxes.isDetailed(user) ? this.#senderOf(user, mid) : 0;
    if (this.#sql.dropPending.run(user, mid).changes === 1) this.#mailboxes.dropped(user, sender);
    else this.#crowds.received(user, mid);
  }

  #senderOf(user: UserId, mid: Mid): UserId {
    const row = this.#sql.pendingSender.get(user, mid);
    return row === undefined ? 0 : int(row, "sender");
  }

  /** @param received Recipients with a receipt in the same batch. */
  #append(
    message: Message,
    confirmed: readonly UserId[],
    received: readonly UserId[] | undefined,
  ): AppendOutcome {
    const { mid, cid, from, toid, groupid } = message;
    const members = groupid === 0 ? undefined : this.#people.membersOf(groupid);
    const isReceived = (user: UserId) =>
      confirmed.includes(user) || (received?.includes(user) ?? false);
    const refusal = this.#refusal(message, members, isReceived(toid));
    const isNew = refusal === undefined && this.#add(message);
    if (!isNew) {
      // A retry gets the first answer even if it would be refused today.
      const first = this.#stored(cid, from);
      if (first === undefined) {
        if (refusal !== undefined) return refusal;
        throw new Error(`mid ${mid} was given to two messages`);
      }
      if (first.mid !== mid) return first;
      for (const user of confirmed) this.#drop(user, mid);
    }
    if (members !== undefined && members.size > CROWD) {
      return { status: "stored", pending: this.#inCrowd(message, members, isReceived, isNew) };
    }
    const pending: UserId[] = [];
    const recipients = groupid === 0 ? [toid] : members ?? [];
    for (const user of recipients) {
      if (groupid !== 0 && user === from) continue;
      if (isReceived(user)) continue;
      if (isNew) {
        if (groupid !== 0 && this.#mailboxes.isFullForGroups(user)) continue;
        const sender = groupid === 0 ? from : 0;
        this.#sql.addPending.run(user, mid, sender);
        this.#mailboxes.added(user, sender);
      } else if (!this.#isPending(user, mid)) continue;
      pending.push(user);
    }
    return { status: "stored", pending };
  }

  /** Members of a large group that have yet to receive a message. */
  #inCrowd(
    { mid, from, groupid }: Message,
    members: ReadonlySet<UserId>,
    isReceived: (user: UserId) => boolean,
    isNew: boolean,
  ): UserId[] {
    const pending: UserId[] = [];
    for (const user of members) {
      if (user === from || isReceived(user)) continue;
      if (isNew || this.#isPending(user, mid)) pending.push(user);
    }
    pending.sort((a, b) => a - b);
    if (isNew) this.#crowds.add(mid, groupid, pending);
    return pending;
  }

  #isPending(user: UserId, mid: Mid): boolean {
    return this.#sql.isPending.get(user, mid) !== undefined || this.#crowds.isPending(user, mid);
  }

  /** False when its mid or its (sender, cid) is there already. */
  #add({ mid, from, cid, toid, groupid, ts, msg, extra }: Message): boolean {
    const isGroup = groupid !== 0;
    const target = isGroup ? null : toid;
    const { changes } = this.#sql.add
      .run(mid, from, cid, target, isGroup ? groupid : null, ts, msg, extra);
    return changes === 1;
  }

  #refusal(
    { from, toid, groupid }: Message,
    members: ReadonlySet<UserId> | undefined,
    isReceived: boolean,
  ): AppendOutcome | undefined {
    if (groupid !== 0) {
      if (members === undefined) return NO_SUCH_TARGET;
      return members.has(from) ? undefined : NOT_PERMITTED;
    }
    if (!this.#people.exists(toid)) return NO_SUCH_TARGET;
    if (!this.#people.exists(from)) return NOT_PERMITTED;
    return isReceived ? undefined : this.#mailboxes.refusal(toid, from);
  }

  #stored(cid: string, from: UserId): AppendOutcome & { status: "duplicate" } | undefined {
    const row = this.#sql.byCid.get(cid, from);
    if (row === undefined) return undefined;
    return { status: "duplicate", mid: str(row, "mid"), ts: int(row, "ts") };
  }

  pending(user: UserId, after: Mid, limit: number): Message[] {
    const own = this.#sql.pending.all(user, after, limit).map(message);
    const mids = this.#crowds.pending(user, after, limit);
    if (mids.length === 0) return own;
    const crowd = mids.flatMap((mid) => {
      const row = this.#sql.byMid.get(mid);
      return row === undefined ? [] : [message(row)];
    });
    return [...own, ...crowd].sort((a, b) => a.mid < b.mid ? -1 : 1).slice(0, limit);
  }

  lastMid(from: UserId, toid: UserId, groupid: GroupId): Mid {
    const row = groupid === 0
      ? this.#sql.lastToUser.get(toid, from)
      : this.#sql.lastToGroup.get(from, groupid);
    return row === undefined ? "" : str(row, "mid");
  }

  historyWith(user: UserId, peer: UserId, before: Mid, limit: number): HistoryPage {
    const end = before === "" ? AFTER_ALL_MIDS : before;
    const [most, sql] = [limit + 1, this.#sql.historyWith];
    return page(sql.all(user, peer, end, most, peer, user, end, most, most), limit);
  }

  historyOf(user: UserId, groupid: GroupId, before: Mid, limit: number): HistoryPage | undefined {
    if (this.#sql.isMember.get(groupid, user) === undefined) return undefined;
    const end = before === "" ? AFTER_ALL_MIDS : before;
    return page(this.#sql.historyOf.all(groupid, end, limit + 1), limit);
  }
}

function prepare(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  // One range of message_pair, newest first.
  const range = `SELECT * FROM (SELECT mid FROM message
    WHERE toid = ? AND sender = ? AND groupid IS NULL AND mid < ? ORDER BY mid DESC LIMIT ?)`;
  return {
    add: sql(
      `INSERT INTO message (mid, sender, cid, toid, groupid, ts, msg, extra)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
    ),
    byCid: sql("SELECT mid, ts FROM message WHERE cid = ? AND sender = ?"),
    addPending: sql("INSERT INTO offlinemessage (userid, mid, sender) VALUES (?, ?, ?)"),
    isPending: sql("SELECT 1 FROM offlinemessage WHERE userid = ? AND mid = ?"),
    dropPending: sql("DELETE FROM offlinemessage WHERE userid = ? AND mid = ?"),
    pendingSender: sql("SELECT sender FROM offlinemessage WHERE userid = ? AND mid = ?"),
    byMid: sql(
      `SELECT ${MESSAGE} FROM message m JOIN user u ON u.id = m.sender WHERE m.mid = ?`,
    ),
    pending: sql(
      `SELECT ${MESSAGE} FROM offlinemessage o CROSS JOIN message m ON m.mid = o.mid
      JOIN user u ON u.id = m.sender WHERE o.userid = ? AND o.mid > ? ORDER BY o.mid LIMIT ?`,
    ),
    lastToUser: sql(
      `SELECT mid FROM message WHERE toid = ? AND sender = ? AND groupid IS NULL
      ORDER BY mid DESC LIMIT 1`,
    ),
    lastToGroup: sql(
      `SELECT mid FROM message INDEXED BY message_pair
      WHERE toid IS NULL AND sender = ? AND groupid = ? ORDER BY mid DESC LIMIT 1`,
    ),
    // UNION, not UNION ALL: the two ranges are one when somebody writes to himself.
    historyWith: sql(
      `SELECT ${MESSAGE} FROM (${range} UNION ${range} ORDER BY mid DESC LIMIT ?) h
      CROSS JOIN message m ON m.mid = h.mid JOIN user u ON u.id = m.sender ORDER BY h.mid DESC`,
    ),
    isMember: sql("SELECT 1 FROM groupuser WHERE groupid = ? AND userid = ?"),
    historyOf: sql(
      `SELECT ${MESSAGE} FROM message m JOIN user u ON u.id = m.sender
      WHERE m.groupid = ? AND m.mid < ? ORDER BY m.mid DESC LIMIT ?`,
    ),
  };
}
