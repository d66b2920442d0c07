/**
 * What every log-in reads from MySQL: the owner of a token, contacts, what waits. Gathered, as whole
 * nodes' users arrive at once. Nothing is written here.
 */

import type { Connection } from "mysql2/promise";
import {
  type ContactsRow,
  listedOf,
  MAX_LISTED_GROUPS,
  type Message,
  type PersonRow,
  type UserId,
} from "../../ports.ts";
import { BatchReader, padded } from "../batch_reader.ts";
import type { MysqlLink } from "./link.ts";
import { MEMBER, MESSAGE, WHOSE } from "./columns.ts";
import { MultiRow } from "./multi.ts";
import { members } from "./people.ts";
import { groupRow, int, message, person, type Row, str } from "../rows.ts";

/** Most of one read: a user's contacts may be many rows, a token is one. */
const MOST_TOKENS = 64;
const MOST_CONTACTS = 32;
/** What waits for so many users is read together, as far as so many rows reach. */
const MOST_MAILBOXES = 64;
const MOST_WAITING = 1_000;
/** Reads of a kind under way; the pool has more connections than that. */
const RUNNING = 2;

const TOKENS = new MultiRow(
  "SELECT t.id AS tokenid, t.expires, t.device, u.id, u.name FROM token t " +
    "JOIN user u ON u.id = t.userid WHERE u.password <> '' AND t.id IN (",
  1,
  ")",
);
const FRIENDS = new MultiRow(
  "SELECT f.userid AS owner, u.id, u.name FROM friend f JOIN user u ON u.id = f.friendid " +
    "WHERE f.userid IN (",
  1,
  ") ORDER BY u.id",
);
const GROUPS = new MultiRow(
  "SELECT g.userid AS owner, a.id, a.groupname, a.groupdesc, a.members FROM groupuser g " +
    "JOIN allgroup a ON a.id = g.groupid WHERE g.userid IN (",
  1,
  ") ORDER BY a.id",
);
const MEMBERS = new MultiRow(`${MEMBER} WHERE g.groupid IN (`, 1, ") ORDER BY u.id");
const WAITING = new MultiRow(
  `SELECT o.userid AS owner, ${MESSAGE} FROM offlinemessage o ` +
    `STRAIGHT_JOIN message m ON m.mid = o.mid ${WHOSE} WHERE o.userid IN (`,
  1,
  `) ORDER BY o.userid, o.mid LIMIT ${MOST_WAITING}`,
);

interface Token {
  readonly tokenId: string;
  readonly now: number;
  readonly device: string;
}

export class MysqlArrivals {
  readonly #tokens: BatchReader<Token, PersonRow | undefined>;
  readonly #contacts: BatchReader<UserId, ContactsRow>;
  readonly #waiting: BatchReader<UserId, readonly Message[] | undefined>;

  constructor(link: MysqlLink) {
    this.#tokens = new BatchReader({
      read: (tokens) => link.session((connection) => readOwners(connection, tokens)),
      most: MOST_TOKENS,
      running: RUNNING,
    });
    this.#contacts = new BatchReader({
      read: (users) => link.session((connection) => readContacts(connection, users)),
      most: MOST_CONTACTS,
      running: RUNNING,
    });
    this.#waiting = new BatchReader({
      read: (users) => link.session((connection) => readWaiting(connection, users)),
      most: MOST_MAILBOXES,
      running: RUNNING,
    });
  }

  tokenOwner(tokenId: string, now: number, device = ""): Promise<PersonRow | undefined> {
    return this.#tokens.get({ tokenId, now, device });
  }

  contacts(user: UserId): Promise<ContactsRow> {
    return this.#contacts.get(user);
  }

  /** All that waits for a user, oldest first; undefined when it is too much to be read here. */
  waiting(user: UserId): Promise<readonly Message[] | undefined> {
    return this.#waiting.get(user);
  }
}

async function readOwners(
  connection: Connection,
  tokens: readonly Token[],
): Promise<(PersonRow | undefined)[]> {
  const found = await TOKENS.rows(connection, padded(tokens.map(({ tokenId }) => tokenId)));
  const byId = new Map(found.map((row) => [str(row, "tokenid"), row]));
  return tokens.map(({ tokenId, now, device }) => {
    const row = byId.get(tokenId);
    const isGood = row !== undefined && int(row, "expires") > now && str(row, "device") === device;
    return isGood ? person(row) : undefined;
  });
}

async function readContacts(
  connection: Connection,
  users: readonly UserId[],
): Promise<ContactsRow[]> {
  const asked = padded(users);
  const friends = Map.groupBy(await FRIENDS.rows(connection, asked), owner);
  const groups = Map.groupBy(await GROUPS.rows(connection, asked), owner);
  const members = await readMembers(connection, [...groups.values()]);
  return users.map((user) => {
    const own = groups.get(user) ?? [];
    const each = listedOf(own.length);
    return {
      friends: (friends.get(user) ?? []).map(person),
      groups: own.map((row, at) => {
        const listed = at < MAX_LISTED_GROUPS ? members.get(int(row, "id")) ?? [] : [];
        return groupRow(row, listed.slice(0, each));
      }),
    };
  });
}

/** Members of the groups of several users, as many of each as one of them is told. */
async function readMembers(
  connection: Connection,
  groups: readonly (readonly Row[])[],
): Promise<ReadonlyMap<number, readonly Row[]>> {
  const whole = new Set<number>();
  const parts = new Map<number, number>();
  for (const own of groups) {
    const each = listedOf(own.length);
    for (const row of own.slice(0, MAX_LISTED_GROUPS)) {
      const id = int(row, "id");
      if (int(row, "members") <= each) whole.add(id);
      else parts.set(id, Math.max(each, parts.get(id) ?? 0));
    }
  }
  const found = await MEMBERS.rows(connection, padded([...whole]));
  const byGroup = new Map<number, readonly Row[]>(
    Map.groupBy(found, (row) => int(row, "groupid")),
  );
  for (const [id, most] of parts) {
    if (!whole.has(id)) byGroup.set(id, await members(connection, id, most));
  }
  return byGroup;
}

async function readWaiting(
  connection: Connection,
  users: readonly UserId[],
): Promise<(readonly Message[] | undefined)[]> {
  const found = await WAITING.rows(connection, padded(users));
  const last = found.at(-1);
  const isCut = last !== undefined && found.length >= MOST_WAITING;
  const rows = Map.groupBy(found, owner);
  return users.map((user) =>
    isCut && user >= owner(last) ? undefined : (rows.get(user) ?? []).map(message)
  );
}

function owner(row: Row): UserId {
  return int(row, "owner");
}
