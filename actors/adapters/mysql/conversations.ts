/**
 * Numbers of conversations in MySQL, remembered: they never change, and every message has one.
 */

import type { Connection } from "mysql2/promise";
import type { Append, GroupId, UserId } from "../../ports.ts";
import { keyOf, type Who, whoOf } from "../conversation.ts";
import { int } from "../rows.ts";
import { type Param, rows } from "./link.ts";
import { MultiRow } from "./multi.ts";

/** Conversations remembered, about 60 B each; when there are more, all are forgotten. */
const MAX_KNOWN = 300_000;

const ADD = new MultiRow("INSERT IGNORE INTO conversation (lowid, highid, groupid) VALUES ", 3);
// Only of groups that exist: the number of a conversation is nobody's to use up.
const ADD_GROUPS = new MultiRow(
  "INSERT IGNORE INTO conversation (lowid, highid, groupid) SELECT 0, 0, id FROM allgroup " +
    "WHERE id IN (",
  1,
  ") ORDER BY id",
);
const FIND = new MultiRow(
  "SELECT id, lowid, highid, groupid FROM conversation WHERE (lowid, highid, groupid) IN (",
  3,
  ")",
);
const FIND_ONE = "SELECT id FROM conversation WHERE lowid = ? AND highid = ? AND groupid = ?";

export class MysqlConversations {
  readonly #maxKnown: number;
  readonly #known = new Map<number | string, number>();

  /** @param maxKnown Most that are remembered. @default MAX_KNOWN */
  constructor(maxKnown = MAX_KNOWN) {
    this.#maxKnown = maxKnown;
  }

  /**
   * Learns those of a batch's messages, before its transaction, and makes those that are new in one
   * of their own: what is remembered is then never taken back. Until the next call, `of` knows all of
   * them.
   * @param users Who exists: nothing is made for others.
   */
  async learn(
    connection: Connection,
    appends: readonly Append[],
    users: ReadonlySet<UserId>,
  ): Promise<void> {
    if (this.#known.size + appends.length > this.#maxKnown) this.#known.clear();
    const asked = new Map<number | string, Who>();
    for (const { message: { from, toid, groupid } } of appends) {
      const who = whoOf(from, toid, groupid);
      const key = keyOf(who);
      if (this.#known.has(key)) continue;
      if (groupid !== 0 || (users.has(from) && users.has(toid))) asked.set(key, who);
    }
    if (asked.size === 0) return;
    await this.#find(connection, [...asked.values()]);
    const missing = [...asked].filter(([key]) => !this.#known.has(key)).map(([, who]) => who);
    if (missing.length === 0) return;
    // In one order on every node, so that no two wait for each other.
    missing.sort(([a, b, c], [d, e, f]) => a - d || b - e || c - f);
    const groups = missing.map(([, , group]) => group).filter((group) => group !== 0);
    await ADD_GROUPS.change(connection, groups);
    await ADD.change(connection, params(missing.filter(([, , group]) => group === 0)));
    await connection.query("COMMIT");
    await this.#find(connection, missing);
  }

  /** Its number; 0 when it was not learned. */
  of(from: UserId, toid: UserId, groupid: GroupId): number {
    return this.#known.get(keyOf(whoOf(from, toid, groupid))) ?? 0;
  }

  /** Its number; 0 when nobody has written there. */
  async find(
    connection: Connection,
    from: UserId,
    toid: UserId,
    groupid: GroupId,
  ): Promise<number> {
    const known = this.of(from, toid, groupid);
    if (known !== 0) return known;
    const who = whoOf(from, toid, groupid);
    const [row] = await rows(connection, FIND_ONE, [...who]);
    if (row === undefined) return 0;
    const id = int(row, "id");
    // A commit under way must find what it has learned: only that one makes room.
    if (this.#known.size < this.#maxKnown) this.#known.set(keyOf(who), id);
    return id;
  }

  async #find(connection: Connection, who: readonly Who[]): Promise<void> {
    for (const row of await FIND.rows(connection, params(who))) {
      const found: Who = [int(row, "lowid"), int(row, "highid"), int(row, "groupid")];
      this.#known.set(keyOf(found), int(row, "id"));
    }
  }
}

function params(who: readonly Who[]): Param[] {
  return who.flat();
}
