/**
 * Whom the user knows: people and groups, by id and by name. Pure: every change is a new directory.
 */

import type { Friend, Group, Session, Target } from "../library/events.ts";
import { safeLine } from "./safe_text.ts";

/** Somebody the user has met: a friend, a fellow member, or the sender of a message. */
export interface Person {
  readonly id: number;
  /** Safe to print. */
  readonly name: string;
  /** Undefined for a stranger: the server tells of friends and fellow members only. */
  readonly online: boolean | undefined;
  readonly friend: boolean;
}

/** A group the user is in. */
export interface Room {
  readonly id: number;
  /** Safe to print. */
  readonly name: string;
  readonly desc: string;
  /** Members that are known, the user's own included. */
  readonly members: readonly number[];
  /** How many it has, as far as is known. */
  readonly size: number;
}

/** People and groups. */
export interface Directory {
  readonly people: ReadonlyMap<number, Person>;
  readonly rooms: ReadonlyMap<number, Room>;
}

/** Nobody. */
export const EMPTY: Directory = { people: new Map(), rooms: new Map() };

/** The directory of a new session; people met before are kept, as strangers. */
export function ofSession(old: Directory, session: Session): Directory {
  const people = new Map<number, Person>();
  for (const person of old.people.values()) {
    people.set(person.id, { ...person, online: undefined, friend: false });
  }
  const rooms = new Map<number, Room>();
  for (const group of session.groups) {
    rooms.set(group.id, roomOf(group));
    for (const member of group.users) people.set(member.id, personOf(member, false));
  }
  for (const friend of session.friends) people.set(friend.id, personOf(friend, true));
  people.set(session.id, {
    id: session.id,
    name: safeLine(session.name),
    online: true,
    friend: false,
  });
  return { people, rooms };
}

/** With the session's friends and groups as they are now; who was known is as present as before. */
export function withContacts(old: Directory, session: Session): Directory {
  const next = ofSession(old, session);
  const people = new Map(next.people);
  for (const { id, online } of old.people.values()) {
    const person = people.get(id);
    const isToldOf = person?.online !== undefined; // of a stranger nothing is
    if (isToldOf && online !== undefined) people.set(id, { ...person, online });
  }
  // Members who wrote since the session's list was made are in the room already.
  const rooms = new Map([...next.rooms].map(([id, room]) => {
    const members = new Set([...room.members, ...old.rooms.get(id)?.members ?? []]);
    return [id, { ...room, members: [...members], size: Math.max(room.size, members.size) }];
  }));
  return { people, rooms };
}

/** With somebody's presence; who is not known stays unknown. */
export function withPresence(old: Directory, id: number, online: boolean): Directory {
  const person = old.people.get(id);
  if (person === undefined || person.online === online) return old;
  return { ...old, people: new Map(old.people).set(id, { ...person, online }) };
}

/** With the sender of a message, who is a member of its group. */
export function withSender(old: Directory, id: number, name: string, groupid: number): Directory {
  let directory = old;
  if (!old.people.has(id)) {
    const person: Person = { id, name: safeLine(name), online: undefined, friend: false };
    directory = { ...directory, people: new Map(directory.people).set(id, person) };
  }
  const room = directory.rooms.get(groupid);
  if (room !== undefined && !room.members.includes(id)) {
    const members = [...room.members, id];
    directory = {
      ...directory,
      rooms: new Map(directory.rooms)
        .set(groupid, { ...room, members, size: Math.max(room.size, members.length) }),
    };
  }
  return directory;
}

/**
 * Finds whom a text means: a user's id, a name, `@name`, `#group` or `#` and a group's id. Exact
 * names win over those that differ in case. A number is an id, whoever has it for a name: nobody can
 * name himself into another's messages.
 *
 * @returns undefined when nobody known is meant; an unknown id is returned as it is.
 */
export function resolve(directory: Directory, text: string): Target | undefined {
  const wanted = text.trim();
  if (wanted === "") return undefined;
  if (isId(wanted)) return { kind: "user", id: Number(wanted) };
  if (wanted.startsWith("#")) {
    const rest = wanted.slice(1);
    if (isId(rest)) return { kind: "group", id: Number(rest) };
    return roomNamed(directory, rest);
  }
  const name = wanted.startsWith("@") ? wanted.slice(1) : wanted;
  const person = byName(directory.people.values(), name);
  if (person !== undefined) return { kind: "user", id: person.id };
  return wanted.startsWith("@") ? undefined : roomNamed(directory, name);
}

function roomNamed(directory: Directory, name: string): Target | undefined {
  const room = byName(directory.rooms.values(), name);
  return room === undefined ? undefined : { kind: "group", id: room.id };
}

function byName<T extends { readonly name: string }>(
  all: Iterable<T>,
  name: string,
): T | undefined {
  let similar: T | undefined;
  const lower = name.toLowerCase();
  for (const one of all) {
    if (one.name === name) return one;
    if (similar === undefined && one.name.toLowerCase() === lower) similar = one;
  }
  return similar;
}

function isId(text: string): boolean {
  return /^[1-9]\d{0,15}$/.test(text) && Number.isSafeInteger(Number(text));
}

/** A target as a map's key: `u2` or `g1`. */
export function keyOf(target: Target): string {
  return `${target.kind === "user" ? "u" : "g"}${target.id}`;
}

/** The target of a key `u2` or `g1`. */
export function targetOfKey(key: string): Target | undefined {
  const match = /^([ug])([1-9]\d{0,15})$/.exec(key);
  if (match === null) return undefined;
  return { kind: match[1] === "g" ? "group" : "user", id: Number(match[2]) };
}

/** What to call a target: the person's name, or the group's with `#`. */
export function titleOf(directory: Directory, target: Target): string {
  if (target.kind === "group") {
    return `#${directory.rooms.get(target.id)?.name ?? target.id}`;
  }
  return directory.people.get(target.id)?.name ?? `user ${target.id}`;
}

function personOf(friend: Friend, isFriend: boolean): Person {
  return {
    id: friend.id,
    name: safeLine(friend.name),
    online: friend.state === "online",
    friend: isFriend,
  };
}

function roomOf(group: Group): Room {
  return {
    id: group.id,
    name: safeLine(group.groupname),
    desc: safeLine(group.groupdesc),
    members: group.users.map((member) => member.id),
    size: group.size ?? group.users.length,
  };
}
