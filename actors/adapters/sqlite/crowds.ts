/**
 * What waits for members of large groups in SQLite: one row a message, with those who have not
 * received it (../crowd.ts). Receipts of one commit change a message's row once, at its end.
 *
 * Invariant: what is remembered is the file's, inside a transaction as after it; whoever rolls back or
 * sees another process's writes calls `forget`.
 */

import type { DatabaseSync } from "node:sqlite";
import type { GroupId, Mid, UserId } from "../../ports.ts";
import {
  CROWD_PAGE,
  decodeUsers,
  encodeUsers,
  hasUser,
  settledBefore,
  WORTH_REMEMBERING,
} from "../crowd.ts";
import { firstIdNear, firstIdOf, midOf } from "../message_id.ts";
import { int, str } from "../rows.ts";

/** Messages whose members are remembered between commits: receipts come soon after, and together. */
const MAX_KNOWN = 64;

interface Waiting {
  readonly users: Set<UserId>;
  changed: boolean;
}

export class SqliteCrowds {
  readonly #sql;
  /** By the message's id. */
  readonly #known = new Map<number, Waiting | undefined>();
  /** Groups in which something may wait; undefined when it has to be read. */
  #groups: Set<GroupId> | undefined;

  constructor(db: DatabaseSync) {
    this.#sql = prepare(db);
  }

  forget(): void {
    this.#known.clear();
    this.#groups = undefined;
  }

  /** A message for these users, in ascending order. */
  add(id: number, group: GroupId, users: readonly UserId[]): void {
    if (users.length === 0) return;
    this.#sql.add.run(id, group, encodeUsers(users));
    this.#read().add(group);
    this.#known.set(id, { users: new Set(users), changed: false });
  }

  /** A user has received a message; nothing happens if it did not wait for him. */
  received(user: UserId, id: number): void {
    if (this.#read().size === 0) return;
    const waiting = this.#of(id);
    if (waiting?.users.delete(user)) waiting.changed = true;
  }

  /** Writes what receipts have changed; before the end of the transaction. */
  flush(): void {
    for (const [id, waiting] of this.#known) {
      if (!waiting?.changed) continue;
      waiting.changed = false;
      if (waiting.users.size === 0) this.#sql.remove.run(id);
      else this.#sql.change.run(encodeUsers([...waiting.users].sort((a, b) => a - b)), id);
    }
    for (const id of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) return;
      this.#known.delete(id);
    }
  }

  /** Whether a message waits for a user. */
  isPending(user: UserId, id: number): boolean {
    return this.#read().size > 0 && (this.#of(id)?.users.has(user) ?? false);
  }

  /** Ids of messages that wait for a user, of each of his groups about `limit`, mids after `after`. */
  pending(user: UserId, after: Mid, limit: number): number[] {
    const crowds = this.#read();
    if (crowds.size === 0) return [];
    const found: number[] = [];
    for (const row of this.#sql.groupsOf.all(user)) {
      const group = int(row, "groupid");
      if (crowds.has(group)) this.#pendingIn(user, group, after, limit, int(row, "read"), found);
    }
    return found;
  }

  #pendingIn(
    user: UserId,
    group: GroupId,
    after: Mid,
    limit: number,
    read: number,
    found: number[],
  ): void {
    const most = found.length + limit;
    const before = found.length;
    const first = after === "" ? 0 : firstIdOf(after);
    let at = Math.max(first, read) - 1;
    let last = 0;
    for (let looked = 0;; looked += CROWD_PAGE) {
      const rows = this.#sql.page.all(group, at, CROWD_PAGE);
      for (const row of rows) {
        at = int(row, "message");
        // Ids of a millisecond are in no order: all of it, or none.
        if (found.length >= most && firstIdNear(at) !== last) return;
        if (midOf(at, str(row, "mid")) <= after || !hasUser(str(row, "users"), user)) continue;
        found.push(at);
        last = firstIdNear(at);
      }
      if (rows.length === CROWD_PAGE) continue;
      const settled = firstIdOf(settledBefore(Date.now()));
      const isAll = first <= read && found.length === before;
      if (isAll && looked >= WORTH_REMEMBERING && settled > read) {
        this.#sql.remember.run(user, group, settled);
      }
      return;
    }
  }

  /** Users for whom a message waits, in ascending order. */
  usersOf(id: number): UserId[] {
    return this.#read().size === 0 ? [] : [...this.#of(id)?.users ?? []].sort((a, b) => a - b);
  }

  #of(id: number): Waiting | undefined {
    if (this.#known.has(id)) return this.#known.get(id);
    const row = this.#sql.users.get(id);
    const users = row === undefined ? [] : decodeUsers(str(row, "users"));
    const waiting = users.length === 0 ? undefined : { users: new Set(users), changed: false };
    if (waiting !== undefined) this.#known.set(id, waiting);
    return waiting;
  }

  #read(): Set<GroupId> {
    return this.#groups ??= new Set(this.#sql.groups.all().map((row) => int(row, "groupid")));
  }
}

function prepare(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    add: sql("INSERT INTO crowdmessage (message, groupid, users) VALUES (?, ?, ?)"),
    change: sql("UPDATE crowdmessage SET users = ? WHERE message = ?"),
    remove: sql("DELETE FROM crowdmessage WHERE message = ?"),
    users: sql("SELECT users FROM crowdmessage WHERE message = ?"),
    groups: sql("SELECT DISTINCT groupid FROM crowdmessage"),
    groupsOf: sql(
      `SELECT g.groupid, COALESCE(r.message, 0) AS read FROM groupuser g
      LEFT JOIN crowdread r ON r.userid = g.userid AND r.groupid = g.groupid WHERE g.userid = ?`,
    ),
    page: sql(
      `SELECT c.message, m.mid, c.users FROM crowdmessage c CROSS JOIN message m ON m.id = c.message
      WHERE c.groupid = ? AND c.message > ? ORDER BY c.message LIMIT ?`,
    ),
    remember: sql(
      "INSERT INTO crowdread (userid, groupid, message) VALUES (?, ?, ?) " +
        "ON CONFLICT (userid, groupid) DO UPDATE SET message = excluded.message",
    ),
  };
}
