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
import { int, str } from "../rows.ts";

/** Messages whose members are remembered between commits: receipts come soon after, and together. */
const MAX_KNOWN = 64;

interface Waiting {
  readonly users: Set<UserId>;
  changed: boolean;
}

export class SqliteCrowds {
  readonly #sql;
  readonly #known = new Map<Mid, Waiting | undefined>();
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
  add(mid: Mid, group: GroupId, users: readonly UserId[]): void {
    if (users.length === 0) return;
    this.#sql.add.run(mid, group, encodeUsers(users));
    this.#read().add(group);
    this.#known.set(mid, { users: new Set(users), changed: false });
  }

  /** A user has received a message; nothing happens if it did not wait for him. */
  received(user: UserId, mid: Mid): void {
    if (this.#read().size === 0) return;
    const waiting = this.#of(mid);
    if (waiting?.users.delete(user)) waiting.changed = true;
  }

  /** Writes what receipts have changed; before the end of the transaction. */
  flush(): void {
    for (const [mid, waiting] of this.#known) {
      if (!waiting?.changed) continue;
      waiting.changed = false;
      if (waiting.users.size === 0) this.#sql.remove.run(mid);
      else this.#sql.change.run(encodeUsers([...waiting.users].sort((a, b) => a - b)), mid);
    }
    for (const mid of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) return;
      this.#known.delete(mid);
    }
  }

  /** Whether a message waits for a user. */
  isPending(user: UserId, mid: Mid): boolean {
    return this.#read().size > 0 && (this.#of(mid)?.users.has(user) ?? false);
  }

  /** Ids of messages that wait for a user, of each of his groups at most `limit`, after `after`. */
  pending(user: UserId, after: Mid, limit: number): Mid[] {
    const crowds = this.#read();
    if (crowds.size === 0) return [];
    const found: Mid[] = [];
    for (const row of this.#sql.groupsOf.all(user)) {
      const group = int(row, "groupid");
      if (crowds.has(group)) this.#pendingIn(user, group, after, limit, str(row, "read"), found);
    }
    return found;
  }

  #pendingIn(
    user: UserId,
    group: GroupId,
    after: Mid,
    limit: number,
    read: Mid,
    found: Mid[],
  ): void {
    const most = found.length + limit;
    const before = found.length;
    let at = after > read ? after : read;
    for (let looked = 0;; looked += CROWD_PAGE) {
      const rows = this.#sql.page.all(group, at, CROWD_PAGE);
      for (const row of rows) {
        at = str(row, "mid");
        if (hasUser(str(row, "users"), user)) found.push(at);
        if (found.length >= most) return;
      }
      if (rows.length === CROWD_PAGE) continue;
      const settled = settledBefore(Date.now());
      const isAll = after <= read && found.length === before;
      if (isAll && looked >= WORTH_REMEMBERING && settled > read) {
        this.#sql.remember.run(user, group, settled);
      }
      return;
    }
  }

  /** Users for whom a message waits. */
  usersOf(mid: Mid): UserId[] {
    const row = this.#sql.users.get(mid);
    return row === undefined ? [] : decodeUsers(str(row, "users"));
  }

  #of(mid: Mid): Waiting | undefined {
    if (this.#known.has(mid)) return this.#known.get(mid);
    const users = this.usersOf(mid);
    const waiting = users.length === 0 ? undefined : { users: new Set(users), changed: false };
    if (waiting !== undefined) this.#known.set(mid, waiting);
    return waiting;
  }

  #read(): Set<GroupId> {
    return this.#groups ??= new Set(this.#sql.groups.all().map((row) => int(row, "groupid")));
  }
}

function prepare(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    add: sql("INSERT INTO crowdmessage (mid, groupid, users) VALUES (?, ?, ?)"),
    change: sql("UPDATE crowdmessage SET users = ? WHERE mid = ?"),
    remove: sql("DELETE FROM crowdmessage WHERE mid = ?"),
    users: sql("SELECT users FROM crowdmessage WHERE mid = ?"),
    groups: sql("SELECT DISTINCT groupid FROM crowdmessage"),
    groupsOf: sql(
      `SELECT g.groupid, COALESCE(r.mid, '') AS read FROM groupuser g
      LEFT JOIN crowdread r ON r.userid = g.userid AND r.groupid = g.groupid WHERE g.userid = ?`,
    ),
    page: sql(
      "SELECT mid, users FROM crowdmessage WHERE groupid = ? AND mid > ? ORDER BY mid LIMIT ?",
    ),
    remember: sql(
      "INSERT INTO crowdread (userid, groupid, mid) VALUES (?, ?, ?) " +
        "ON CONFLICT (userid, groupid) DO UPDATE SET mid = excluded.mid",
    ),
  };
}
