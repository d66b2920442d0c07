/**
 * Users, friends, groups, tokens and secrets in MySQL. No messages, nothing remembered.
 *
 * Every method may run a statement more than once when a connection is lost, so each of them is
 * idempotent, or recognises its own earlier work.
 */

import type { Connection } from "mysql2/promise";
import {
  DELETED_NAME,
  type GroupId,
  type GroupRow,
  type JoinedGroup,
  MAX_LISTED_MEMBERS,
  MAX_ORIGINS,
  type MemberRow,
  ORIGIN_FRESH_MS,
  type PersonRow,
  type RenewedToken,
  type UserId,
  type UserRow,
} from "../../ports.ts";
import { MEMBER } from "./columns.ts";
import { change, type MysqlLink, rows, serverErrno } from "./link.ts";
import { MultiRow } from "./multi.ts";
import { nameKey } from "../name_key.ts";
import { deletedKey, groupRow, int, named, type Row, str, userRow } from "../rows.ts";

/** A unique key exists. */
export const DUPLICATE_KEY = 1062;
/** A row that a foreign key points to does not exist. */
export const NO_PARENT = 1452;

/** Expired tokens are removed once in so many tokens saved, and at most so many at once. */
const TOKENS_PER_PURGE = 256;
const MAX_PURGED = 4 * TOKENS_PER_PURGE;

const USER = "SELECT id, name, password FROM user";
const BY_NAME = `${USER} WHERE namekey = ?`;
const SET_HASH = "UPDATE user SET password = ? WHERE id = ? AND password <> ''";
const LEFT = new MultiRow(
  "UPDATE allgroup SET version = version + 1, members = members - 1 WHERE id IN (",
  1,
  ")",
);
const GROUP = "SELECT id, groupname, groupdesc, members FROM allgroup";

export class MysqlPeople {
  readonly #link: MysqlLink;
  #tokensSaved = 0;

  constructor(link: MysqlLink) {
    this.#link = link;
  }

  register(name: string, hash: string): Promise<UserId | undefined> {
    const key = nameKey(name);
    return this.#link.session(async (connection, again) => {
      // Read first: a refused INSERT would use an id up.
      const [taken] = await rows(connection, BY_NAME, [key]);
      // Hashes are salted, so the same hash is the same request.
      if (taken !== undefined) {
        return again && str(taken, "password") === hash ? int(taken, "id") : undefined;
      }
      const insert = "INSERT INTO user (name, namekey, password) VALUES (?, ?, ?)";
      return await unless(
        DUPLICATE_KEY,
        async () => (await change(connection, insert, [name, key, hash])).insertId,
      );
    });
  }

  async userById(id: UserId): Promise<UserRow | undefined> {
    return firstUser(await this.#link.rows(`${USER} WHERE id = ? AND password <> ''`, [id]));
  }

  async userByName(name: string): Promise<UserRow | undefined> {
    const [row] = await this.#link.rows(BY_NAME, [nameKey(name)]);
    return userRow(named(row, "name", name));
  }

  async setHash(id: UserId, hash: string, expected?: string): Promise<void> {
    if (expected === undefined) await this.#link.change(SET_HASH, [hash, id]);
    else await this.#link.change(`${SET_HASH} AND password = ?`, [hash, id, expected]);
  }

  async changePassword(id: UserId, hash: string, renewed?: RenewedToken): Promise<void> {
    await this.#link.transaction(async (connection) => {
      await change(connection, SET_HASH, [hash, id]);
      if (renewed !== undefined) {
        const renew = "UPDATE token SET id = ?, expires = ? WHERE userid = ? AND id = ?";
        await change(connection, renew, [renewed.to, renewed.expires, id, renewed.from]);
      }
      const others = "DELETE FROM token WHERE userid = ? AND id <> ?";
      await change(connection, others, [id, renewed?.to ?? ""]);
    });
  }

  deleteUser(id: UserId): Promise<GroupId[]> {
    return this.#link.transaction(async (connection) => {
      const found = await rows(
        connection,
        "SELECT groupid FROM groupuser WHERE userid = ? ORDER BY groupid",
        [id],
      );
      const groups = found.map((row) => int(row, "groupid"));
      // First and in one order, as in joinGroup: commits with the old members are kept apart.
      await LEFT.change(connection, groups);
      await change(connection, "DELETE FROM friend WHERE userid = ?", [id]);
      await change(connection, "DELETE FROM friend WHERE friendid = ?", [id]);
      await change(connection, "DELETE FROM groupuser WHERE userid = ?", [id]);
      await change(connection, "DELETE FROM offlinemessage WHERE userid = ?", [id]);
      await change(connection, "DELETE FROM token WHERE userid = ?", [id]);
      await change(connection, "DELETE FROM loginorigin WHERE userid = ?", [id]);
      const end = "UPDATE user SET name = ?, namekey = ?, password = '' WHERE id = ?";
      await change(connection, end, [DELETED_NAME, deletedKey(id), id]);
      return groups;
    });
  }

  addFriend(
    user: UserId,
    friend: UserId | string,
    most = 0,
  ): Promise<PersonRow | "full" | undefined> {
    return this.#link.session(async (connection) => {
      const found = await userOf(connection, friend);
      if (found === undefined || !await exists(connection, user)) return undefined;
      if (most > 0) {
        const known = "SELECT friendid FROM friend WHERE userid = ?";
        const ids = (await rows(connection, known, [user])).map((row) => int(row, "friendid"));
        if (ids.length >= most && !ids.includes(found.id)) return "full";
      }
      const insert = "INSERT INTO friend (userid, friendid) VALUES (?, ?) " +
        "ON DUPLICATE KEY UPDATE friendid = friend.friendid";
      return await unless(NO_PARENT, async () => {
        await change(connection, insert, [user, found.id]);
        return { id: found.id, name: found.name };
      });
    });
  }

  removeFriend(user: UserId, friend: UserId | string): Promise<PersonRow | undefined> {
    return this.#link.session(async (connection) => {
      const found = await userOf(connection, friend);
      if (found === undefined) return undefined;
      const remove = "DELETE FROM friend WHERE userid = ? AND friendid = ?";
      await change(connection, remove, [user, found.id]);
      return { id: found.id, name: found.name };
    });
  }

  createGroup(
    user: UserId,
    name: string,
    desc: string,
    mostGroups = 0,
  ): Promise<GroupId | "too_many" | undefined> {
    const key = nameKey(name);
    return this.#link.transaction(async (connection, again) => {
      const [taken] = await rows(
        connection,
        // A group whose creator has deleted the account has its name still.
        "SELECT a.id, g.userid FROM allgroup a LEFT JOIN groupuser g " +
          "ON g.groupid = a.id AND g.grouprole = 'creator' WHERE a.groupkey = ?",
        [key],
      );
      if (taken !== undefined) {
        return again && taken.userid === user ? int(taken, "id") : undefined;
      }
      if (
        (await rows(connection, `${USER} WHERE id = ? AND password <> ''`, [user])).length === 0
      ) return undefined;
      if (await isInTooMany(connection, user, mostGroups)) return "too_many";
      return await unless(DUPLICATE_KEY, async () => {
        const { insertId } = await change(
          connection,
          "INSERT INTO allgroup (groupname, groupkey, groupdesc, members) VALUES (?, ?, ?, 1)",
          [name, key, desc],
        );
        await addMember(connection, insertId, user, "creator");
        return insertId;
      });
    });
  }

  joinGroup(
    user: UserId,
    group: GroupId | string,
    most = 0,
    mostGroups = 0,
  ): Promise<JoinedGroup | "full" | "too_many" | undefined> {
    return this.#link.transaction(async (connection) => {
      const row = typeof group === "string"
        ? named(
          (await rows(connection, `${GROUP} WHERE groupkey = ?`, [nameKey(group)]))[0],
          "groupname",
          group,
        )
        : (await rows(connection, `${GROUP} WHERE id = ?`, [group]))[0];
      if (row === undefined) return undefined;
      const id = int(row, "id");
      if (await isMember(connection, id, user)) return { isNew: false, group: groupRow(row, []) };
      if (!await exists(connection, user)) return undefined;
      if (most > 0 && int(row, "members") >= most) return "full"; // where both are, as SQLite says
      if (await isInTooMany(connection, user, mostGroups)) return "too_many";
      // First, as its lock keeps commits with the old members apart from those with the new.
      const grow = "UPDATE allgroup SET version = version + 1, members = members + 1 " +
        "WHERE id = ? AND (? = 0 OR members < ?)";
      if ((await change(connection, grow, [id, most, most])).affectedRows === 0) return "full";
      if (await isMember(connection, id, user, "FOR UPDATE")) { // by another connection, meanwhile
        await change(connection, "UPDATE allgroup SET members = members - 1 WHERE id = ?", [id]);
        return { isNew: false, group: groupRow(row, []) };
      }
      await addMember(connection, id, user, "normal");
      const [now = row] = await rows(connection, `${GROUP} WHERE id = ?`, [id]);
      return {
        isNew: true,
        group: groupRow(now, await members(connection, id, MAX_LISTED_MEMBERS)),
      };
    });
  }

  group(id: GroupId): Promise<GroupRow | undefined> {
    return this.#link.session(async (connection) => {
      const [row] = await rows(connection, `${GROUP} WHERE id = ?`, [id]);
      return row === undefined ? undefined : groupRow(row, await members(connection, id));
    });
  }

  async saveToken(
    tokenId: string,
    user: UserId,
    expires: number,
    device = "",
    most = 0,
  ): Promise<void> {
    await this.#link.change(
      "REPLACE INTO token (id, userid, expires, device) VALUES (?, ?, ?, ?)",
      [tokenId, user, expires, device],
    );
    if (most > 0) {
      const old = await this.#link.rows(
        "SELECT id FROM token WHERE userid = ? ORDER BY expires DESC, id DESC LIMIT ? OFFSET ?",
        [user, `${MAX_PURGED}`, `${most}`],
      );
      for (const row of old) {
        await this.#link.change("DELETE FROM token WHERE id = ?", [str(row, "id")]);
      }
    }
    if (this.#tokensSaved++ % TOKENS_PER_PURGE !== 0) return;
    await this.#link.change(
      "DELETE FROM token WHERE expires <= ? ORDER BY expires LIMIT ?",
      [Date.now(), `${MAX_PURGED}`],
    );
  }

  async noteOrigins(user: UserId, origins: readonly string[], now: number): Promise<void> {
    const known = await this.#link.rows(
      "SELECT origin, at FROM loginorigin WHERE userid = ? ORDER BY at DESC, origin DESC",
      [user],
    );
    const at = new Map(known.map((row) => [str(row, "origin"), int(row, "at")]));
    for (const origin of origins) {
      const last = at.get(origin);
      if (last !== undefined && last >= now - ORIGIN_FRESH_MS) continue;
      const note = "REPLACE INTO loginorigin (userid, origin, at) VALUES (?, ?, ?)";
      await this.#link.change(note, [user, origin, now]);
      at.set(origin, now);
    }
    const newest = [...at].sort(([a, x], [b, y]) => y - x || (a < b ? 1 : -1));
    for (const [origin] of newest.slice(MAX_ORIGINS)) {
      const drop = "DELETE FROM loginorigin WHERE userid = ? AND origin = ?";
      await this.#link.change(drop, [user, origin]);
    }
  }

  async knownOrigins(user: UserId, origins: readonly string[]): Promise<string[]> {
    const known = await this.#link.rows("SELECT origin FROM loginorigin WHERE userid = ?", [user]);
    const all = new Set(known.map((row) => str(row, "origin")));
    return origins.filter((origin) => all.has(origin));
  }

  async revokeToken(user: UserId, tokenId: string | undefined): Promise<void> {
    if (tokenId === undefined) {
      await this.#link.change("DELETE FROM token WHERE userid = ?", [user]);
    } else {
      await this.#link.change("DELETE FROM token WHERE userid = ? AND id = ?", [user, tokenId]);
    }
  }

  secret(name: string, fresh: string): Promise<string> {
    return this.#link.session(async (connection) => {
      await change(
        connection,
        "INSERT INTO secret (name, value) VALUES (?, ?) " +
          "ON DUPLICATE KEY UPDATE name = secret.name",
        [name, fresh],
      );
      const [row] = await rows(connection, "SELECT value FROM secret WHERE name = ?", [name]);
      if (row === undefined) throw new Error(`no secret ${name}`);
      return str(row, "value");
    });
  }
}

async function userOf(connection: Connection, who: UserId | string): Promise<UserRow | undefined> {
  if (typeof who === "string") {
    const [row] = await rows(connection, BY_NAME, [nameKey(who)]);
    return userRow(named(row, "name", who));
  }
  return firstUser(await rows(connection, `${USER} WHERE id = ? AND password <> ''`, [who]));
}

async function exists(connection: Connection, user: UserId): Promise<boolean> {
  return firstUser(
    await rows(connection, `${USER} WHERE id = ? AND password <> ''`, [user]),
  ) !== undefined;
}

/**
 * Whether a user is in a group.
 * @param lock "FOR UPDATE" reads what others have committed meanwhile. @default ""
 */
export async function isMember(
  connection: Connection,
  group: GroupId,
  user: UserId,
  lock = "",
): Promise<boolean> {
  const sql = `SELECT 1 FROM groupuser WHERE groupid = ? AND userid = ? ${lock}`;
  return (await rows(connection, sql, [group, user])).length > 0;
}

async function isInTooMany(
  connection: Connection,
  user: UserId,
  most: number,
): Promise<boolean> {
  if (most === 0) return false;
  const sql = "SELECT COUNT(*) AS count FROM groupuser WHERE userid = ?";
  const [row] = await rows(connection, sql, [user]);
  return row !== undefined && int(row, "count") >= most;
}

/** Members of a group, or the first `most` of them. */
export function members(connection: Connection, group: GroupId, most?: number): Promise<Row[]> {
  const sql = `${MEMBER} WHERE g.groupid = ? ORDER BY g.userid`;
  if (most === undefined) return rows(connection, sql, [group]);
  return rows(connection, `${sql} LIMIT ?`, [group, `${most}`]);
}

async function addMember(
  connection: Connection,
  group: GroupId,
  user: UserId,
  memberRole: MemberRow["role"],
): Promise<void> {
  await change(
    connection,
    "INSERT INTO groupuser (groupid, userid, grouprole) VALUES (?, ?, ?) " +
      "ON DUPLICATE KEY UPDATE grouprole = groupuser.grouprole",
    [group, user, memberRole],
  );
}

/** What `work` gives; undefined when the server refuses it with this number. */
async function unless<T>(errno: number, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (serverErrno(error) !== errno) throw error;
    return undefined;
  }
}

function firstUser([row]: readonly Row[]): UserRow | undefined {
  return userRow(row);
}
