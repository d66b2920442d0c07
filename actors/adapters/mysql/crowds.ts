/**
 * What waits for members of large groups in MySQL: one row a message, with those who have not received
 * it (../crowd.ts). Rows are locked in the order of their ids, so that two commits cannot wait for each
 * other. Nothing of a row is remembered: other nodes write it too.
 */

import type { Connection } from "mysql2/promise";
import type { GroupId, Mid, UserId } from "../../ports.ts";
import {
  CROWD_PAGE,
  decodeUsers,
  encodeUsers,
  hasUser,
  settledBefore,
  withoutUsers,
  WORTH_REMEMBERING,
} from "../crowd.ts";
import { change, type MysqlLink, type Param, rows } from "./link.ts";
import { MultiRow } from "./multi.ts";
import { int, str } from "../rows.ts";

/** How long it is believed that nothing waits in any large group, ms: a look costs a statement. */
const NOTHING_FOR_MS = 500;

const ADD = new MultiRow("INSERT INTO crowdmessage (mid, groupid, users) VALUES ", 3);
const LOCK = new MultiRow(
  "SELECT mid, users FROM crowdmessage FORCE INDEX (PRIMARY) WHERE mid IN (",
  1,
  ") ORDER BY mid FOR UPDATE",
);
const FOR = new MultiRow("SELECT mid, users FROM crowdmessage WHERE mid IN (", 1, ")");
const GROUPS_OF = `SELECT g.groupid, COALESCE(r.mid, '') AS seen FROM groupuser g
  JOIN (SELECT DISTINCT groupid FROM crowdmessage) c ON c.groupid = g.groupid
  LEFT JOIN crowdread r ON r.userid = g.userid AND r.groupid = g.groupid WHERE g.userid = ?`;
const PAGE = `SELECT mid, users FROM crowdmessage FORCE INDEX (crowdmessage_group)
  WHERE groupid = ? AND mid > ? ORDER BY mid LIMIT ${CROWD_PAGE}`;

export class MysqlCrowds {
  #isAny = false;
  #lookedAt = -Infinity;

  /** Whether something may wait in a large group. */
  async isAny(read: (sql: string) => Promise<readonly unknown[]>): Promise<boolean> {
    if (this.#isAny) return true;
    const now = performance.now();
    if (now - this.#lookedAt < NOTHING_FOR_MS) return false;
    this.#isAny = (await read("SELECT 1 FROM crowdmessage LIMIT 1")).length > 0;
    this.#lookedAt = now;
    return this.#isAny;
  }

  /** Writes messages: id, group, users in ascending order. */
  async add(
    connection: Connection,
    messages: readonly (readonly [Mid, GroupId, readonly UserId[]])[],
  ): Promise<void> {
    if (messages.length === 0) return;
    const params: Param[] = [];
    for (const [mid, group, users] of messages) params.push(mid, group, encodeUsers(users));
    await ADD.change(connection, params);
    this.#isAny = true;
  }

  /** Users have received messages; of the pairs that wait for nobody nothing happens. */
  async received(
    connection: Connection,
    pairs: readonly (readonly [UserId, Mid])[],
  ): Promise<void> {
    if (pairs.length === 0 || !await this.isAny((sql) => rows(connection, sql, []))) return;
    const gone = Map.groupBy(pairs, ([, mid]) => mid);
    for (const row of await LOCK.rows(connection, [...gone.keys()].sort())) {
      const mid = str(row, "mid");
      const users = new Set((gone.get(mid) ?? []).map(([user]) => user));
      const left = withoutUsers(decodeUsers(str(row, "users")), users);
      if (left === undefined) continue;
      if (left.length === 0) {
        await change(connection, "DELETE FROM crowdmessage WHERE mid = ?", [mid]);
      } else {
        const update = "UPDATE crowdmessage SET users = ? WHERE mid = ?";
        await change(connection, update, [encodeUsers(left), mid]);
      }
    }
  }

  /** Users for whom each of these messages waits. */
  async usersOf(
    connection: Connection,
    mids: readonly Mid[],
  ): Promise<ReadonlyMap<Mid, readonly UserId[]>> {
    if (mids.length === 0 || !await this.isAny((sql) => rows(connection, sql, []))) {
      return new Map();
    }
    const found = await FOR.rows(connection, mids);
    return new Map(found.map((row) => [str(row, "mid"), decodeUsers(str(row, "users"))]));
  }

  /** Ids of messages that wait for a user, of each of his groups at most `limit`, after `after`. */
  async pending(link: MysqlLink, user: UserId, after: Mid, limit: number): Promise<Mid[]> {
    if (!await this.isAny((sql) => link.rows(sql, []))) return [];
    const found: Mid[] = [];
    for (const row of await link.rows(GROUPS_OF, [user])) {
      const [group, seen] = [int(row, "groupid"), str(row, "seen")];
      found.push(...await this.#pendingIn(link, user, group, after, limit, seen));
    }
    return found;
  }

  async #pendingIn(
    link: MysqlLink,
    user: UserId,
    group: GroupId,
    after: Mid,
    limit: number,
    seen: Mid,
  ): Promise<Mid[]> {
    const found: Mid[] = [];
    let at = after > seen ? after : seen;
    for (let looked = 0;; looked += CROWD_PAGE) {
      const page = await link.rows(PAGE, [group, at]);
      for (const row of page) {
        at = str(row, "mid");
        if (hasUser(str(row, "users"), user)) found.push(at);
        if (found.length >= limit) return found;
      }
      if (page.length === CROWD_PAGE) continue;
      const settled = settledBefore(Date.now());
      const isAll = after <= seen && found.length === 0;
      if (isAll && looked >= WORTH_REMEMBERING && settled > seen) {
        const remember = "REPLACE INTO crowdread (userid, groupid, mid) VALUES (?, ?, ?)";
        await link.change(remember, [user, group, settled]);
      }
      return found;
    }
  }
}
