/**
 * Numbers of conversations in SQLite, remembered: every message that is filed asks for one.
 *
 * Invariant: what is remembered is in the file; whoever rolls back calls `forget`.
 */

import type { DatabaseSync } from "node:sqlite";
import type { GroupId, UserId } from "../../ports.ts";
import { keyOf, whoOf } from "../conversation.ts";
import { int } from "../rows.ts";

/** Conversations remembered, about 60 B each; when there are more, all are forgotten. */
const MAX_KNOWN = 300_000;
export class SqliteConversations {
  readonly #sql;
  readonly #known = new Map<number | string, number>();

  constructor(db: DatabaseSync) {
    this.#sql = {
      find: db.prepare(
        "SELECT id FROM conversation WHERE lowid = ? AND highid = ? AND groupid = ?",
      ),
      add: db.prepare("INSERT INTO conversation (lowid, highid, groupid) VALUES (?, ?, ?)"),
    };
  }

  forget(): void {
    this.#known.clear();
  }

  /** Its number; 0 when nobody has written there. */
  find(from: UserId, toid: UserId, groupid: GroupId): number {
    const who = whoOf(from, toid, groupid);
    const key = keyOf(who);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const row = this.#sql.find.get(...who);
    return row === undefined ? 0 : this.#remember(key, int(row, "id"));
  }

  /** Its number, a new one if it has none; call it inside a transaction. */
  findOrAdd(from: UserId, toid: UserId, groupid: GroupId): number {
    const found = this.find(from, toid, groupid);
    if (found !== 0) return found;
    const who = whoOf(from, toid, groupid);
    return this.#remember(keyOf(who), Number(this.#sql.add.run(...who).lastInsertRowid));
  }

  #remember(key: number | string, id: number): number {
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(key, id);
    return id;
  }
}
