/**
 * What a script is told, as objects for its lines of output. No I/O; no password and no token.
 */

import { type Directory, keyOf, type Person, titleOf } from "./directory.ts";
import { ConnectionLost, OutboxFull, RequestError } from "../library/errors.ts";
import type { ClientEvent, Message, Target } from "../library/events.ts";

/** An event of the client; undefined when the answer to a command tells of it. */
export function eventShown(event: ClientEvent, directory: Directory): object | undefined {
  switch (event.type) {
    case "message":
      return { event: "message", ...messageShown(event.message, directory) };
    case "session": {
      const { id, name, friends, groups, node } = event.session;
      return { event: "session", id, name, friends, groups, node, resumed: event.resumed };
    }
    case "sent": {
      const { cid, mid, ts, target } = event;
      return { event: "sent", cid, mid, ts, to: keyOf(target) };
    }
    case "failed": {
      const { cid, errno, errmsg, target, msg } = event;
      return { event: "failed", cid, errno, error: errmsg, to: keyOf(target), text: msg };
    }
    case "error":
      return { event: "problem", errno: event.errno, error: event.errmsg };
    case "session_changed":
      return undefined;
    case "delivered":
    case "presence":
    case "typing":
    case "connection":
    case "bye": {
      const { type, ...rest } = event;
      return { event: type, ...rest };
    }
    default:
      return event satisfies never;
  }
}

/** A message. */
export function messageShown(
  { mid, cid, id, name, ts, toid, groupid, msg }: Message,
  directory: Directory,
): object {
  const place = groupid === undefined
    ? { toid }
    : { groupid, group: titleOf(directory, { kind: "group", id: groupid }).slice(1) };
  return { mid, cid, id, name, ts, ...place, text: msg };
}

/**
 * Everybody, or one person, or one group with its members.
 *
 * @throws {RequestError} errno 5: the user is in no such group.
 */
export function whoShown({ people, rooms }: Directory, target: Target | undefined): object {
  if (target === undefined) {
    return {
      friends: [...people.values()].filter((person) => person.friend).map(personShown),
      groups: [...rooms.values()].map(({ id, name, desc, size }) => ({
        id,
        name,
        desc,
        members: size,
      })),
    };
  }
  if (target.kind === "user") {
    const person = people.get(target.id);
    return person === undefined ? { id: target.id } : { person: personShown(person) };
  }
  const room = rooms.get(target.id);
  if (room === undefined) throw new RequestError(5, `you are in no group ${target.id}`);
  const members = room.members.map((id) => {
    const person = people.get(id);
    return person === undefined ? { id } : personShown(person);
  });
  return { group: { id: room.id, name: room.name, desc: room.desc, members } };
}

function personShown({ id, name, online }: Person): object {
  return { id, name, ...(online !== undefined && { state: online ? "online" : "offline" }) };
}

/** An error as a line tells it. A defect is not one: it ends the program. */
export function inWords(error: unknown): { readonly errno?: number; readonly error: string } {
  if (error instanceof RequestError) return { errno: error.errno, error: error.message };
  if (error instanceof ConnectionLost || error instanceof OutboxFull) {
    return { error: error.message };
  }
  throw error;
}
