/**
 * Users, friends, groups, tokens and secrets in SQLite; and, in memory, which users exist and who
 * is in which group, for the messages' sake.
 *
 * Invariant: the memory agrees with the file. Own writes keep it so; a commit compares the file's
 * version and forgets everything when another process has written.
 */

import type { DatabaseSync } from "node:sqlite";
import {
  type ContactsRow,
  DELETED_NAME,
  type GroupId,
  type GroupRow,
  type JoinedGroup,
  listedOf,
  MAX_LISTED_GROUPS,
  MAX_LISTED_MEMBERS,
  MAX_ORIGINS,
  ORIGIN_FRESH_MS,
  type PersonRow,
  type RenewedToken,
  type UserId,
  type UserRow,
} from "../../ports.ts";
import { nameKey } from "../name_key.ts";
import type { Transaction } from "./transaction.ts";
import { deletedKey, groupRow, int, named, person, str, userRow } from "../rows.ts";

/** Users remembered, about 40 B each; when there are more, all are forgotten. */
const MAX_USERS_CACHED = 500_000;
/** Members remembered over all groups, about 50 B each. */
const MAX_MEMBERS_CACHED = 500_000;
/** Expired tokens are removed once in so many tokens saved, and at most so many at once. */
const TOKENS_PER_PURGE = 256;
const MAX_PURGED = 4 * TOKENS_PER_PURGE;

const MEMBER = "SELECT u.id, u.name, g.grouprole, g.groupid FROM groupuser g " +
  "JOIN user u ON u.id = g.userid";
// Text with a NUL is cut when read as text (node:sqlite), so free text is read as bytes.
const GROUP = "SELECT id, groupname, CAST(groupdesc AS BLOB) AS groupdesc, members FROM allgroup";

export class SqlitePeople {
  readonly #sql;
  readonly #transaction: Transaction;
  readonly #now: () => number;
  readonly #users = new Set<UserId>();
  /** Group ⇒ its members. A set is never changed: messages that are not filed hold on to theirs. */
  readonly #members = new Map<GroupId, ReadonlySet<UserId>>();
  #membersCached = 0;
  #version: unknown;
  #tokensSaved = 0;

  /** @param now Wall time, epoch ms. */
  constructor(db: DatabaseSync, transaction: Transaction, now: () => number = Date.now) {
    this.#sql = prepare(db);
    this.#transaction = transaction;
    this.#now = now;
  }

  /**
   * Call inside a transaction: forgets what another process may have changed.
   * @returns Whether it had to.
   */
  refresh(): boolean {
    const version = this.#sql.dataVersion.get()?.data_version;
    if (version === this.#version) return false;
    this.#version = version;
    this.#users.clear();
    this.#members.clear();
    this.#membersCached = 0;
    return true;
  }

  exists(user: UserId): boolean {
    if (this.#users.has(user)) return true;
    if (this.#sql.userExists.get(user) === undefined) return false;
    if (this.#users.size >= MAX_USERS_CACHED) this.#users.clear();
    this.#users.add(user);
    return true;
  }

  /** Everyone in a group at this moment; undefined when there is no such group. It never changes. */
  membersOf(group: GroupId): ReadonlySet<UserId> | undefined {
    const cached = this.#members.get(group);
    if (cached !== undefined) return cached;
    const rows = this.#sql.memberIds.all(group);
    // A group has its creator at least, so an empty one does not exist.
    if (rows.length === 0) return undefined;
    if (this.#membersCached + rows.length > MAX_MEMBERS_CACHED) {
      this.#members.clear();
      this.#membersCached = 0;
    }
    const members = new Set(rows.map((row) => int(row, "userid")));
    this.#members.set(group, members);
    this.#membersCached += members.size;
    return members;
  }

  register(name: string, hash: string): UserId | undefined {
    // Looked for first, as a refused INSERT would use an id up. So with groups.
    const key = nameKey(name);
    if (this.#sql.userByKey.get(key) !== undefined) return undefined;
    const { changes, lastInsertRowid } = this.#sql.register.run(name, key, hash);
    return changes === 0 ? undefined : Number(lastInsertRowid);
  }

  userById(id: UserId): UserRow | undefined {
    return userRow(this.#sql.userById.get(id));
  }

  userByName(name: string): UserRow | undefined {
    return userRow(named(this.#sql.userByKey.get(nameKey(name)), "name", name));
  }

  setHash(id: UserId, hash: string, expected?: string): void {
    if (expected === undefined) this.#sql.setHash.run(hash, id);
    else this.#sql.replaceHash.run(hash, id, expected);
  }

  changePassword(id: UserId, hash: string, renewed?: RenewedToken): void {
    this.#transaction(() => {
      this.#sql.setHash.run(hash, id);
      if (renewed !== undefined) {
        const { from, to, expires } = renewed;
        this.#sql.renewToken.run(to, expires, id, from);
      }
      this.#sql.revokeOthers.run(id, renewed?.to ?? "");
    });
  }

  deleteUser(id: UserId): GroupId[] {
    const groups = this.#transaction(() => {
      const ids = this.#sql.groupIds.all(id).map((row) => int(row, "groupid"));
      this.#sql.dropFriends.run(id, id);
      this.#sql.dropMemberships.run(id);
      for (const group of ids) this.#sql.grow.run(-1, group);
      this.#sql.dropMailbox.run(id);
      this.#sql.revokeAll.run(id);
      this.#sql.dropAllOrigins.run(id);
      this.#sql.endUser.run(DELETED_NAME, deletedKey(id), id);
      return ids;
    });
    this.#users.delete(id);
    for (const group of groups) {
      const members = new Set(this.#members.get(group));
      if (!members.delete(id)) continue;
      this.#membersCached--;
      if (members.size === 0) this.#members.delete(group);
      else this.#members.set(group, members);
    }
    return groups;
  }

  contacts(user: UserId): ContactsRow {
    const friends = this.#sql.friends.all(user).map(person);
    const rows = this.#sql.groupsOf.all(user);
    const each = listedOf(rows.length);
    const groups = rows.map((row, at) =>
      groupRow(row, at < MAX_LISTED_GROUPS ? this.#sql.members.all(int(row, "id"), each) : [])
    );
    return { friends, groups };
  }

  addFriend(user: UserId, friend: UserId | string, most = 0): PersonRow | "full" | undefined {
    const found = typeof friend === "string" ? this.userByName(friend) : this.userById(friend);
    if (found === undefined || !this.exists(user)) return undefined;
    if (most > 0 && this.#sql.isFriend.get(user, found.id) === undefined) {
      const row = this.#sql.friendCount.get(user);
      if (row !== undefined && int(row, "count") >= most) return "full";
    }
    this.#sql.addFriend.run(user, found.id);
    return { id: found.id, name: found.name };
  }

  removeFriend(user: UserId, friend: UserId | string): PersonRow | undefined {
    const found = typeof friend === "string" ? this.userByName(friend) : this.userById(friend);
    if (found === undefined) return undefined;
    this.#sql.removeFriend.run(user, found.id);
    return { id: found.id, name: found.name };
  }

  createGroup(
    user: UserId,
    name: string,
    desc: string,
    mostGroups = 0,
  ): GroupId | "too_many" | undefined {
    if (!this.exists(user)) return undefined;
    const key = nameKey(name);
    if (this.#sql.groupByKey.get(key) !== undefined) return undefined;
    if (this.#isInTooMany(user, mostGroups)) return "too_many";
    return this.#transaction(() => {
      const { changes, lastInsertRowid } = this.#sql.createGroup.run(name, key, desc);
      if (changes === 0) return undefined;
      const group = Number(lastInsertRowid);
      this.#addMember(group, user, "creator");
      return group;
    });
  }

  /** @param beforeJoin Told of the group before it has a new member. */
  joinGroup(
    user: UserId,
    group: GroupId | string,
    most = 0,
    mostGroups = 0,
    beforeJoin: (group: GroupId) => void = () => {},
  ): JoinedGroup | "full" | "too_many" | undefined {
    const find = () =>
      typeof group === "string"
        ? named(this.#sql.groupByKey.get(nameKey(group)), "groupname", group)
        : this.#sql.groupById.get(group);
    const row = find();
    if (row === undefined || !this.exists(user)) return undefined;
    const id = int(row, "id");
    if (this.#sql.isMember.get(id, user) !== undefined) {
      return { isNew: false, group: groupRow(row, []) };
    }
    if (most > 0 && int(row, "members") >= most) return "full";
    if (this.#isInTooMany(user, mostGroups)) return "too_many";
    beforeJoin(id);
    this.#transaction(() => this.#addMember(id, user, "normal"));
    const cached = this.#members.get(id);
    if (cached !== undefined) {
      this.#members.set(id, new Set(cached).add(user));
      this.#membersCached++;
    }
    return { isNew: true, group: groupRow(find() ?? row, this.#listed(id)) };
  }

  #isInTooMany(user: UserId, mostGroups: number): boolean {
    return mostGroups > 0 && this.#sql.groupIds.all(user).length >= mostGroups;
  }

  #addMember(group: GroupId, user: UserId, role: "creator" | "normal"): void {
    this.#sql.addMember.run(group, user, role);
    this.#sql.grow.run(1, group);
  }

  #listed(group: GroupId) {
    return this.#sql.members.all(group, MAX_LISTED_MEMBERS);
  }

  group(id: GroupId): GroupRow | undefined {
    const row = this.#sql.groupById.get(id);
    return row === undefined ? undefined : groupRow(row, this.#sql.members.all(id, -1));
  }

  saveToken(tokenId: string, user: UserId, expires: number, device = "", most = 0): void {
    this.#sql.saveToken.run(tokenId, user, expires, device);
    if (most > 0) this.#sql.dropTokens.run(user, most);
    if (this.#tokensSaved++ % TOKENS_PER_PURGE === 0) {
      this.#sql.purgeTokens.run(this.#now(), MAX_PURGED);
    }
  }

  tokenOwner(tokenId: string, now: number, device = ""): PersonRow | undefined {
    const row = this.#sql.tokenOwner.get(tokenId, now, device);
    return row === undefined ? undefined : person(row);
  }

  revokeToken(user: UserId, tokenId: string | undefined): void {
    if (tokenId === undefined) this.#sql.revokeAll.run(user);
    else this.#sql.revokeToken.run(user, tokenId);
  }

  noteOrigins(user: UserId, origins: readonly string[], now: number): void {
    for (const origin of origins) {
      this.#sql.noteOrigin.run(user, origin, now, now - ORIGIN_FRESH_MS);
    }
    this.#sql.dropOrigins.run(user, MAX_ORIGINS);
  }

  knownOrigins(user: UserId, origins: readonly string[]): string[] {
    return origins.filter((origin) => this.#sql.origin.get(user, origin) !== undefined);
  }

  secret(name: string, fresh: string): string {
    this.#sql.addSecret.run(name, fresh);
    const row = this.#sql.secret.get(name);
    if (row === undefined) throw new Error(`no secret ${name}`);
    return str(row, "value");
  }
}

function prepare(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    dataVersion: sql("PRAGMA data_version"),
    userExists: sql("SELECT 1 FROM user WHERE id = ? AND password <> ''"),
    isFriend: sql("SELECT 1 FROM friend WHERE userid = ? AND friendid = ?"),
    friendCount: sql("SELECT COUNT(*) AS count FROM friend WHERE userid = ?"),
    isMember: sql("SELECT 1 FROM groupuser WHERE groupid = ? AND userid = ?"),
    memberIds: sql("SELECT userid FROM groupuser WHERE groupid = ?"),
    register: sql(
      "INSERT INTO user (name, namekey, password) VALUES (?, ?, ?) ON CONFLICT (namekey) DO NOTHING",
    ),
    userById: sql("SELECT id, name, password FROM user WHERE id = ?"),
    userByKey: sql("SELECT id, name, password FROM user WHERE namekey = ?"),
    setHash: sql("UPDATE user SET password = ? WHERE id = ? AND password <> ''"),
    replaceHash: sql("UPDATE user SET password = ? WHERE id = ? AND password = ?"),
    groupIds: sql("SELECT groupid FROM groupuser WHERE userid = ?"),
    dropFriends: sql("DELETE FROM friend WHERE userid = ? OR friendid = ?"),
    dropMemberships: sql("DELETE FROM groupuser WHERE userid = ?"),
    dropMailbox: sql("DELETE FROM offlinemessage WHERE userid = ?"),
    endUser: sql("UPDATE user SET name = ?, namekey = ?, password = '' WHERE id = ?"),
    revokeOthers: sql("DELETE FROM token WHERE userid = ? AND id <> ?"),
    friends: sql(
      "SELECT u.id, u.name FROM friend f JOIN user u ON u.id = f.friendid " +
        "WHERE f.userid = ? ORDER BY u.id",
    ),
    groupsOf: sql(
      `${GROUP} WHERE id IN (SELECT groupid FROM groupuser WHERE userid = ?) ORDER BY id`,
    ),
    removeFriend: sql("DELETE FROM friend WHERE userid = ? AND friendid = ?"),
    addFriend: sql("INSERT INTO friend (userid, friendid) VALUES (?, ?) ON CONFLICT DO NOTHING"),
    createGroup: sql(
      "INSERT INTO allgroup (groupname, groupkey, groupdesc) VALUES (?, ?, ?) " +
        "ON CONFLICT (groupkey) DO NOTHING",
    ),
    addMember: sql(
      "INSERT INTO groupuser (groupid, userid, grouprole) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    ),
    grow: sql("UPDATE allgroup SET members = members + ? WHERE id = ?"),
    groupById: sql(`${GROUP} WHERE id = ?`),
    groupByKey: sql(`${GROUP} WHERE groupkey = ?`),
    members: sql(`${MEMBER} WHERE g.groupid = ? ORDER BY g.userid LIMIT ?`),
    saveToken: sql(
      "INSERT INTO token (id, userid, expires, device) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO " +
        "UPDATE SET userid = excluded.userid, expires = excluded.expires, device = excluded.device",
    ),
    renewToken: sql("UPDATE token SET id = ?, expires = ? WHERE userid = ? AND id = ?"),
    dropTokens: sql(
      "DELETE FROM token WHERE id IN (SELECT id FROM token WHERE userid = ? " +
        "ORDER BY expires DESC, id DESC LIMIT -1 OFFSET ?)",
    ),
    noteOrigin: sql(
      "INSERT INTO loginorigin (userid, origin, at) VALUES (?, ?, ?) " +
        "ON CONFLICT (userid, origin) DO UPDATE SET at = excluded.at WHERE at < ?",
    ),
    origin: sql("SELECT 1 FROM loginorigin WHERE userid = ? AND origin = ?"),
    dropOrigins: sql(
      "DELETE FROM loginorigin WHERE (userid, origin) IN (SELECT userid, origin FROM loginorigin " +
        "WHERE userid = ? ORDER BY at DESC, origin DESC LIMIT -1 OFFSET ?)",
    ),
    dropAllOrigins: sql("DELETE FROM loginorigin WHERE userid = ?"),
    purgeTokens: sql(
      "DELETE FROM token WHERE id IN (SELECT id FROM token WHERE expires <= ? LIMIT ?)",
    ),
    tokenOwner: sql(
      "SELECT u.id, u.name FROM token t JOIN user u ON u.id = t.userid " +
        "WHERE t.id = ? AND t.expires > ? AND t.device = ? AND u.password <> ''",
    ),
    revokeToken: sql("DELETE FROM token WHERE userid = ? AND id = ?"),
    revokeAll: sql("DELETE FROM token WHERE userid = ?"),
    addSecret: sql("INSERT INTO secret (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"),
    secret: sql("SELECT value FROM secret WHERE name = ?"),
  };
}
