/** What upkeep asks of MySQL: a probe, a message's path, what waits, and removing old messages. */

import type { Connection } from "mysql2/promise";
import type { MessageTrace, Mid, Pruned, UserId } from "../../ports.ts";
import { MESSAGE, WHOSE } from "./columns.ts";
import type { MysqlCrowds } from "./crowds.ts";
import { change, type MysqlLink, rows } from "./link.ts";
import { MultiRow } from "./multi.ts";
import { int, message, str } from "../rows.ts";
import { NOTHING_PRUNED, PROBE } from "../upkeep_sql.ts";

const BY_MID = `SELECT ${MESSAGE} FROM message m ${WHOSE} WHERE m.mid = ?`;
// By recipient: pending rows have no index by mid.
const PENDING_FOR = `SELECT o.userid FROM message m JOIN conversation c ON c.id = m.conv
    JOIN offlinemessage o ON o.userid IN (c.lowid, c.highid) AND o.mid = m.mid WHERE m.mid = ?
  UNION SELECT o.userid FROM message m JOIN conversation c ON c.id = m.conv
    JOIN groupuser g ON g.groupid = c.groupid
    JOIN offlinemessage o ON o.userid = g.userid AND o.mid = m.mid WHERE m.mid = ?`;
// One range of pending rows per possible recipient, not one per message and recipient.
const WAITED_FOR = `SELECT o.mid FROM message m STRAIGHT_JOIN conversation c ON c.id = m.conv
    STRAIGHT_JOIN offlinemessage o ON o.userid = c.lowid AND o.mid = m.mid
    WHERE m.mid BETWEEN ? AND ?
  UNION SELECT o.mid FROM message m STRAIGHT_JOIN conversation c ON c.id = m.conv
    STRAIGHT_JOIN offlinemessage o ON o.userid = c.highid AND o.mid = m.mid
    WHERE m.mid BETWEEN ? AND ?
  UNION SELECT o.mid FROM (SELECT DISTINCT g.userid FROM message m
      STRAIGHT_JOIN conversation c ON c.id = m.conv
      STRAIGHT_JOIN groupuser g ON g.groupid = c.groupid WHERE m.mid BETWEEN ? AND ?) r
    STRAIGHT_JOIN offlinemessage o ON o.userid = r.userid AND o.mid BETWEEN ? AND ?`;

const ALIVE = new MultiRow("SELECT id FROM user WHERE password <> '' AND id IN (", 1, ") LIMIT 1");

export class MysqlUpkeep {
  readonly #link: MysqlLink;
  readonly #crowds: MysqlCrowds;

  constructor(link: MysqlLink, crowds: MysqlCrowds) {
    this.#link = link;
    this.#crowds = crowds;
  }

  /** In one transaction: another node's probe must not come between. */
  async probe(value: string): Promise<void> {
    const kept = await this.#link.transaction(async (connection) => {
      await change(
        connection,
        "INSERT INTO secret (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE value = ?",
        [PROBE, value, value],
      );
      const [row] = await rows(connection, "SELECT value FROM secret WHERE name = ?", [PROBE]);
      return row === undefined ? undefined : str(row, "value");
    });
    if (kept !== value) throw new Error("the database does not keep what it was given");
  }

  trace(mid: Mid): Promise<MessageTrace | undefined> {
    return this.#link.session(async (connection) => {
      const [row] = await rows(connection, BY_MID, [mid]);
      if (row === undefined) return undefined;
      const own = await rows(connection, PENDING_FOR, [mid, mid]);
      const crowd = (await this.#crowds.usersOf(connection, [mid])).get(mid) ?? [];
      const pending = [...own.map((r) => int(r, "userid")), ...crowd];
      return { message: message(row), pending };
    });
  }

  async waiting(user: UserId): Promise<number> {
    const crowd = await this.#crowds.pending(this.#link, user, "", Number.MAX_SAFE_INTEGER);
    return crowd.length + await this.#link.session(async (connection) => {
      const count = "SELECT COUNT(*) AS count FROM offlinemessage WHERE userid = ?";
      const [row] = await rows(connection, count, [user]);
      return row === undefined ? 0 : int(row, "count");
    });
  }

  /** No transaction: an old message gets no new pending row. */
  prune(after: Mid, before: Mid, limit: number): Promise<Pruned> {
    return this.#link.session(async (connection) => {
      const old = await rows(
        connection,
        "SELECT mid FROM message WHERE mid > ? AND mid < ? ORDER BY mid LIMIT ?",
        [after, before, limit],
      );
      const mids = old.map((row) => str(row, "mid"));
      const first = mids[0];
      const last = mids[mids.length - 1];
      if (first === undefined || last === undefined) return NOTHING_PRUNED;
      const range = [first, last];
      const waited = await rows(connection, WAITED_FOR, [...range, ...range, ...range, ...range]);
      const waiting = new Set(waited.map((row) => str(row, "mid")));
      for (const [mid, users] of await this.#crowds.usersOf(connection, mids)) {
        // Of deleted accounts nobody will ever receive it.
        if (await isAnybody(connection, users)) waiting.add(mid);
      }
      const gone = mids.filter((mid) => !waiting.has(mid));
      if (gone.length > 0) {
        const marks = gone.map(() => "?").join(",");
        await change(connection, `DELETE FROM crowdmessage WHERE mid IN (${marks})`, gone);
        await change(connection, `DELETE FROM message WHERE mid IN (${marks})`, gone);
      }
      return { removed: gone.length, last: mids.length < limit ? "" : last };
    });
  }
}

async function isAnybody(connection: Connection, users: readonly UserId[]): Promise<boolean> {
  return (await ALIVE.rows(connection, users)).length > 0;
}
