/** What upkeep asks of SQLite: a probe, and removing old messages. */

import type { DatabaseSync } from "node:sqlite";
import type { Mid, Pruned } from "../../ports.ts";
import { decodeUsers } from "../crowd.ts";
import { firstIdOf, midOf, SPAN } from "../message_id.ts";
import { int, str } from "../rows.ts";
import type { Transaction } from "./transaction.ts";
import { NOTHING_PRUNED, PROBE } from "../upkeep_sql.ts";

export class SqliteUpkeep {
  readonly #sql;
  readonly #transaction: Transaction;

  constructor(db: DatabaseSync, transaction: Transaction) {
    this.#transaction = transaction;
    this.#sql = prepare(db);
  }

  probe(value: string): void {
    this.#transaction(() => this.#sql.writeProbe.run(PROBE, value));
    const row = this.#sql.readProbe.get(PROBE);
    if (row === undefined || str(row, "value") !== value) {
      throw new Error("the database does not keep what it was given");
    }
  }

  /** @param after Id of the last message looked at, as text. */
  prune(after: string, before: Mid, limit: number): Pruned {
    return this.#transaction(() => {
      const end = firstIdOf(before) + SPAN;
      const found = this.#sql.oldest.all(after === "" ? -1 : Number(after), end, limit).map(
        (row) => {
          const id = int(row, "id");
          return { id, mid: midOf(id, str(row, "mid")) };
        },
      );
      const [first, last] = [found[0]?.id, found[found.length - 1]?.id];
      if (first === undefined || last === undefined) return NOTHING_PRUNED;
      const waiting = new Set(
        this.#sql.waitedFor.all({ first, last }).map((row) => int(row, "message")),
      );
      for (const row of this.#sql.crowds.all(first, last)) {
        const users = JSON.stringify(decodeUsers(str(row, "users")));
        // Of deleted accounts nobody will ever receive it.
        if (this.#sql.anybody.get(users) !== undefined) waiting.add(int(row, "message"));
      }
      const old = found.filter(({ id, mid }) => mid < before && !waiting.has(id));
      const gone = old.map(({ id }) => id);
      for (const id of gone) this.#sql.removeCrowd.run(id);
      if (gone.length > 0) this.#sql.remove.run(JSON.stringify(gone));
      return { removed: gone.length, last: found.length < limit ? "" : `${last}` };
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
    oldest: sql("SELECT id, mid FROM message WHERE id > ? AND id < ? ORDER BY id LIMIT ?"),
    // One range of pending rows per possible recipient, not one per message and recipient.
    waitedFor: sql(
      `SELECT o.message FROM message m JOIN conversation c ON c.id = m.conv
         CROSS JOIN offlinemessage o ON o.userid IN (c.lowid, c.highid) AND o.message = m.id
         WHERE m.id BETWEEN :first AND :last
       UNION SELECT o.message FROM (SELECT DISTINCT g.userid FROM message m
           JOIN conversation c ON c.id = m.conv
           CROSS JOIN groupuser g ON g.groupid = c.groupid WHERE m.id BETWEEN :first AND :last) r
         CROSS JOIN offlinemessage o ON o.userid = r.userid AND o.message BETWEEN :first AND :last`,
    ),
    crowds: sql("SELECT message, users FROM crowdmessage WHERE message BETWEEN ? AND ?"),
    anybody: sql(
      `SELECT 1 FROM json_each(?) j JOIN user u ON u.id = j.value WHERE u.password <> '' LIMIT 1`,
    ),
    removeCrowd: sql("DELETE FROM crowdmessage WHERE message = ?"),
    remove: sql("DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))"),
  };
}
