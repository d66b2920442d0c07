/**
 * What this node remembers of users and groups for its commits: who exists, who is in which group.
 * Never the last word: the database vouches for it in every transaction (messages.ts).
 */

import type { Connection } from "mysql2/promise";
import type { Append, GroupId, UserId } from "../../ports.ts";
import { MultiRow } from "./multi.ts";
import { int } from "../rows.ts";

/** Users remembered, about 40 B each; when there are more, all are forgotten. */
const MAX_USERS = 500_000;
/** An account that another node deletes is taken for alive for at most so long, ms. */
const USERS_FOR_MS = 60_000;
/** Members remembered over all groups, about 50 B each. */
const MAX_MEMBERS = 500_000;

const USERS = new MultiRow("SELECT id FROM user WHERE password <> '' AND id IN (", 1, ")");
// The lock, held until the commit, keeps a join out (MysqlPeople.joinGroup): a member is either in
// what we read or joins after our messages are there to be read.
const VERSIONS = new MultiRow(
  "SELECT id, version FROM allgroup FORCE INDEX (PRIMARY) WHERE id IN (",
  1,
  ") LOCK IN SHARE MODE",
);
const MEMBERS = new MultiRow("SELECT groupid, userid FROM groupuser WHERE groupid IN (", 1, ")");

const NO_GROUPS: ReadonlyMap<GroupId, ReadonlySet<UserId>> = new Map();

interface KnownGroup {
  readonly version: number;
  readonly members: Set<UserId>;
}

export class MysqlKnown {
  readonly #users = new Set<UserId>();
  readonly #groups = new Map<GroupId, KnownGroup>();
  #membersKnown = 0;
  #forgottenAt = Date.now();
  #isStale = false;

  /** Users that exist. After `learnUsers`, a user of that batch who is not in it does not. */
  get users(): ReadonlySet<UserId> {
    return this.#users;
  }

  /** Forgets everything: something turned out to be gone. A commit under way goes on with it. */
  forget(): void {
    this.#isStale = true;
  }

  /** Reads what is not known of a batch's users, before its transaction. */
  async learnUsers(
    connection: Connection,
    appends: readonly Append[],
  ): Promise<ReadonlySet<UserId>> {
    this.#makeRoom(Date.now());
    const strangers: UserId[] = [];
    for (const { message: { from, toid, groupid } } of appends) {
      if (groupid !== 0) continue;
      if (!this.#users.has(from)) strangers.push(from);
      if (!this.#users.has(toid)) strangers.push(toid);
    }
    if (strangers.length > 0) {
      const found = await USERS.rows(connection, [...new Set(strangers)]);
      for (const row of found) this.#users.add(int(row, "id"));
    }
    return this.#users;
  }

  /**
   * Locks a batch's groups until the transaction ends.
   * @returns Members of those that exist.
   */
  async lockGroups(
    connection: Connection,
    appends: readonly Append[],
  ): Promise<ReadonlyMap<GroupId, ReadonlySet<UserId>>> {
    const groups = new Set<GroupId>();
    for (const { message: { groupid } } of appends) if (groupid !== 0) groups.add(groupid);
    return groups.size === 0 ? NO_GROUPS : await this.#lock(connection, [...groups]);
  }

  #makeRoom(now: number): void {
    if (this.#isStale) {
      this.#groups.clear();
      this.#membersKnown = 0;
    }
    const isOld = now - this.#forgottenAt > USERS_FOR_MS;
    if (!this.#isStale && !isOld && this.#users.size <= MAX_USERS) return;
    this.#users.clear();
    this.#forgottenAt = now;
    this.#isStale = false;
  }

  async #lock(
    connection: Connection,
    ids: GroupId[],
  ): Promise<ReadonlyMap<GroupId, ReadonlySet<UserId>>> {
    const changed = new Map<GroupId, KnownGroup>();
    const members = new Map<GroupId, ReadonlySet<UserId>>();
    // In one order on every node, and in one statement as a rule: two commits cannot deadlock.
    for (const row of await VERSIONS.rows(connection, ids.sort((a, b) => a - b))) {
      const [id, version] = [int(row, "id"), int(row, "version")];
      const known = this.#groups.get(id);
      if (known?.version === version) members.set(id, known.members);
      else changed.set(id, { version, members: new Set() });
    }
    if (changed.size === 0) return members;
    for (const row of await MEMBERS.rows(connection, [...changed.keys()])) {
      changed.get(int(row, "groupid"))?.members.add(int(row, "userid"));
    }
    for (const [id, group] of changed) {
      members.set(id, group.members);
      this.#remember(id, group);
    }
    return members;
  }

  #remember(id: GroupId, group: KnownGroup): void {
    this.#membersKnown += group.members.size - (this.#groups.get(id)?.members.size ?? 0);
    if (this.#membersKnown > MAX_MEMBERS) {
      this.#groups.clear();
      this.#membersKnown = group.members.size;
    }
    this.#groups.set(id, group);
  }
}
