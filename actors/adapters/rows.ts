/**
 * What both databases' adapters share: rows of the driver into rows of the port, checked. No SQL and
 * no driver.
 *
 * A column of another type than expected is a broken schema: reading it throws, it is never cast.
 */

import { foldedName } from "./name_key.ts";
import type { GroupRow, MemberRow, Message, PersonRow, UserId, UserRow } from "../ports.ts";

/** A row as either driver gives it. */
export type Row = Readonly<Record<string, unknown>>;

// ignoreBOM: a text may begin with U+FEFF, and it belongs to the text.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** An integer column. */
export function int(row: Row, column: string): number {
  const value = row[column];
  if (typeof value === "number") return value;
  throw new TypeError(`column ${column} holds ${typeof value}, not a number`);
}

/** A text column, or a binary column that holds UTF-8. */
export function str(row: Row, column: string): string {
  const value = row[column];
  if (typeof value === "string") return value;
  if (value instanceof Uint8Array) return value.byteLength === 0 ? "" : utf8.decode(value);
  throw new TypeError(`column ${column} holds ${typeof value}, not text`);
}

function role(row: Row, column: string): "creator" | "normal" {
  const value = str(row, column);
  if (value === "creator" || value === "normal") return value;
  throw new TypeError(`column ${column} holds "${value}", not a role`);
}

/** A row found by the key of a name, if that is its name whatever the case: others look like it. */
export function named(
  row: Row | undefined,
  column: "name" | "groupname",
  name: string,
): Row | undefined {
  const isIt = row !== undefined && foldedName(str(row, column)) === foldedName(name);
  return isIt ? row : undefined;
}

/** A person from columns id, name. */
export function person(row: Row): PersonRow {
  return { id: int(row, "id"), name: str(row, "name") };
}

/** A user from columns id, name, password; undefined when the account was deleted. */
export function userRow(row: Row | undefined): UserRow | undefined {
  if (row === undefined) return undefined;
  const hash = str(row, "password");
  return hash === NO_PASSWORD ? undefined : { ...person(row), hash };
}

/** In the column of a deleted account's password: no hash is empty. */
const NO_PASSWORD = "";

/** Key of a deleted account: no name begins with a space (server/wire/messages.ts). */
export function deletedKey(id: UserId): string {
  return ` ${id}`;
}

/** A group from columns id, groupname, groupdesc, members; its members from id, name, grouprole. */
export function groupRow(row: Row, members: readonly Row[]): GroupRow {
  return {
    id: int(row, "id"),
    groupname: str(row, "groupname"),
    groupdesc: str(row, "groupdesc"),
    size: int(row, "members"),
    users: members.map((member): MemberRow => ({
      ...person(member),
      role: role(member, "grouprole"),
    })),
  };
}

/** A message from columns mid, cid, sender, name, ts, lowid, highid, groupid, msg, extra. */
export function message(row: Row): Message {
  const from = int(row, "sender");
  const groupid = int(row, "groupid");
  return {
    mid: str(row, "mid"),
    cid: str(row, "cid"),
    from,
    name: str(row, "name"),
    ts: int(row, "ts"),
    toid: groupid === 0 ? peerOf(row, from) : 0,
    groupid,
    msg: str(row, "msg"),
    extra: str(row, "extra"),
    prev: "",
  };
}

/** The other one of two people, from columns lowid, highid; of one who writes to himself he. */
export function peerOf(row: Row, user: UserId): UserId {
  const low = int(row, "lowid");
  return low === user ? int(row, "highid") : low;
}

/** One page, oldest first, of rows read newest first with one more than `limit` asked for. */
export function page(rows: readonly Row[], limit: number): { messages: Message[]; more: boolean } {
  const more = rows.length > limit;
  const messages = (more ? rows.slice(0, limit) : rows).map(message);
  return { messages: messages.reverse(), more };
}
