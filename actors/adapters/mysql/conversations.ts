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
const FIND = new MultiRow(
  "SELECT id, lowid, highid, groupid FROM conversation WHERE (lowid, highid, groupid) IN (",
  3,
  ")",
);
const FIND_ONE = "SELECT id FROM conversation WHERE lowid = ? AND highid = ? AND groupid = ?";

export class MysqlConversations {
  readonly #known = new Map<number | string, number>();

  /**
   * Learns those of a batch's messages, before its transaction, and makes those that are new in one
   * of their own: what is remembered is then never taken back.
   */
  async learn(connection: Connection, appends: readonly Append[]): Promise<void> {
    const asked = new Map<number | string, Who>();
    for (const { message: { from, toid, groupid } } of appends) {
      const who = whoOf(from, toid, groupid);
      const key = keyOf(who);
      if (!this.#known.has(key)) asked.set(key, who);
    }
    if (asked.size === 0) return;
    if (this.#known.size + asked.size > MAX_KNOWN) this.#known.clear();
    await this.#find(connection, [...asked.values()]);
    const missing = [...asked].filter(([key]) => !this.#known.has(key)).map(([, who]) => who);
    if (missing.length === 0) return;
    // In one order on every node, so that no two wait for each other.
    missing.sort(([a, b, c], [d, e, f]) => a - d || b - e || c - f);
    await ADD.change(connection, params(missing));
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
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(keyOf(who), id);
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
