/** What upkeep asks of SQLite: a probe, a message's path, what waits, and removing old messages. */

import type { DatabaseSync } from "node:sqlite";
import type { MessageTrace, Mid, Pruned, UserId } from "../../ports.ts";
import { decodeUsers } from "../crowd.ts";
import type { SqliteCrowds } from "./crowds.ts";
import { int, message, str } from "../rows.ts";
import type { Transaction } from "./transaction.ts";
import { NOTHING_PRUNED, PROBE } from "../upkeep_sql.ts";

export class SqliteUpkeep {
  readonly #sql;
  readonly #transaction: Transaction;
  readonly #crowds: SqliteCrowds;

  constructor(db: DatabaseSync, transaction: Transaction, crowds: SqliteCrowds) {
    this.#transaction = transaction;
    this.#crowds = crowds;
    this.#sql = prepare(db);
  }

  probe(value: string): void {
    this.#transaction(() => this.#sql.writeProbe.run(PROBE, value));
    const row = this.#sql.readProbe.get(PROBE);
    if (row === undefined || str(row, "value") !== value) {
      throw new Error("the database does not keep what it was given");
    }
  }

  trace(mid: Mid): MessageTrace | undefined {
    const row = this.#sql.message.get(mid);
    if (row === undefined) return undefined;
    const own = this.#sql.pendingFor.all(mid, mid).map((r) => int(r, "userid"));
    return { message: message(row), pending: [...own, ...this.#crowds.usersOf(mid)] };
  }

  waiting(user: UserId): number {
    const row = this.#sql.waiting.get(user);
    const own = row === undefined ? 0 : int(row, "count");
    return own + this.#crowds.pending(user, "", Number.MAX_SAFE_INTEGER).length;
  }

  prune(after: Mid, before: Mid, limit: number): Pruned {
    return this.#transaction(() => {
      const mids = this.#sql.oldest.all(after, before, limit).map((row) => str(row, "mid"));
      const first = mids[0];
      const last = mids[mids.length - 1];
      if (first === undefined || last === undefined) return NOTHING_PRUNED;
      const waiting = new Set(
        this.#sql.waitedFor.all(first, last, first, last, first, last).map((r) => str(r, "mid")),
      );
      for (const row of this.#sql.crowds.all(first, last)) {
        const users = JSON.stringify(decodeUsers(str(row, "users")));
        // Of deleted accounts nobody will ever receive it.
        if (this.#sql.anybody.get(users) !== undefined) waiting.add(str(row, "mid"));
      }
      const gone = mids.filter((mid) => !waiting.has(mid));
      for (const mid of gone) this.#sql.removeCrowd.run(mid);
      if (gone.length > 0) this.#crowds.forget();
      if (gone.length > 0) this.#sql.remove.run(JSON.stringify(gone));
      return { removed: gone.length, last: mids.length < limit ? "" : last };
    });
  }
}

function prepare(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    writeProbe: sql(
      "INSERT INTO secret (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
    ),
    readProbe: sql("SELECT value FROM secret WHERE name = ?"),
    message: sql(
      `SELECT m.mid, CAST(m.cid AS BLOB) AS cid, m.sender, u.name, m.ts, m.toid, m.groupid,
         CAST(m.msg AS BLOB) AS msg, CAST(m.extra AS BLOB) AS extra
       FROM message m JOIN user u ON u.id = m.sender WHERE m.mid = ?`,
    ),
    // By recipient: pending rows have no index by mid.
    pendingFor: sql(
      `SELECT o.userid FROM message m JOIN offlinemessage o ON o.userid = m.toid AND o.mid = m.mid
         WHERE m.mid = ?
       UNION SELECT o.userid FROM message m JOIN groupuser g ON g.groupid = m.groupid
         JOIN offlinemessage o ON o.userid = g.userid AND o.mid = m.mid WHERE m.mid = ?`,
    ),
    waiting: sql("SELECT COUNT(*) AS count FROM offlinemessage WHERE userid = ?"),
    oldest: sql("SELECT mid FROM message WHERE mid > ? AND mid < ? ORDER BY mid LIMIT ?"),
    // One range of pending rows per possible recipient, not one per message and recipient.
    waitedFor: sql(
      `SELECT o.mid FROM message m CROSS JOIN offlinemessage o ON o.userid = m.toid AND o.mid = m.mid
         WHERE m.mid BETWEEN ? AND ?
       UNION SELECT o.mid FROM (SELECT DISTINCT g.userid FROM message m
           CROSS JOIN groupuser g ON g.groupid = m.groupid WHERE m.mid BETWEEN ? AND ?) r
         CROSS JOIN offlinemessage o ON o.userid = r.userid AND o.mid BETWEEN ? AND ?`,
    ),
    crowds: sql("SELECT mid, users FROM crowdmessage WHERE mid BETWEEN ? AND ?"),
    anybody: sql(
      `SELECT 1 FROM json_each(?) j JOIN user u ON u.id = j.value WHERE u.password <> '' LIMIT 1`,
    ),
    removeCrowd: sql("DELETE FROM crowdmessage WHERE mid = ?"),
    remove: sql("DELETE FROM message WHERE mid IN (SELECT value FROM json_each(?))"),
  };
}
