/**
 * The requests of a user who is logged in: each as it goes over the wire, the answer that fits it, and
 * what it changes in the session's lists. A new request is one method here. How requests are sent,
 * waited for and repeated is the client's.
 *
 * Invariant: what is repeated after a lost connection changes nothing when it is done twice.
 * Source: docs/protocol.md.
 */

import { MSGID, type ServerMessage } from "@chat/wire/messages.ts";
import { unexpected } from "./answers.ts";
import type { Friend, Group, Session, Target } from "./events.ts";
import type { HistoryPage } from "./options.ts";

/** Base of the client. Every method rejects with RequestError or ConnectionLost. */
export abstract class UserRequests {
  /**
   * Sends a request.
   *
   * @ignore
   * @param repeatable Doing it twice changes nothing.
   * @returns The answer, which is no refusal.
   */
  protected abstract request(message: object, repeatable: boolean): Promise<ServerMessage>;

  /**
   * The session's lists have changed; the program is told before the request's promise resolves.
   *
   * @ignore
   */
  protected abstract changeSession(change: (session: Session) => Session): void;

  /**
   * A message has come in an answer.
   *
   * @ignore
   */
  protected abstract saw(mid: string): void;

  /**
   * Adds a friend by id or name. Doing it twice changes nothing.
   *
   * @throws {RequestError} errno 5: no such user.
   */
  async addFriend(who: number | string): Promise<Friend> {
    const message = typeof who === "number" ? { friendid: who } : { name: nfc(who) };
    const answer = await this.request({ msgid: MSGID.ADD_FRIEND, ...message }, true);
    const friend = answer.msgid === MSGID.OK ? answer.friend : undefined;
    if (friend === undefined) throw unexpected("ADD_FRIEND", answer);
    this.changeSession((s) => ({ ...s, friends: withOne(s.friends, friend) }));
    return friend;
  }

  /**
   * Takes somebody off the list of friends, by id or name. Doing it twice changes nothing.
   *
   * @throws {RequestError} errno 5: no such user.
   */
  async removeFriend(who: number | string): Promise<Friend> {
    const message = typeof who === "number" ? { friendid: who } : { name: nfc(who) };
    const answer = await this.request({ msgid: MSGID.REMOVE_FRIEND, ...message }, true);
    const friend = answer.msgid === MSGID.OK ? answer.friend : undefined;
    if (friend === undefined) throw unexpected("REMOVE_FRIEND", answer);
    this.changeSession((s) => ({ ...s, friends: s.friends.filter(({ id }) => id !== friend.id) }));
    return friend;
  }

  /**
   * Makes a group and joins it as its creator.
   *
   * @throws {RequestError} errno 1: the name is taken.
   * @throws {ConnectionLost} It may have been made.
   */
  async createGroup(groupname: string, groupdesc = ""): Promise<Group> {
    const message = { msgid: MSGID.CREATE_GROUP, groupname: nfc(groupname), groupdesc };
    const answer = await this.request(message, false);
    const group = answer.msgid === MSGID.OK ? answer.group : undefined;
    if (group === undefined) throw unexpected("CREATE_GROUP", answer);
    this.changeSession((s) => ({ ...s, groups: withOne(s.groups, group) }));
    return group;
  }

  /**
   * Joins a group by id or name. Doing it twice changes nothing.
   *
   * @throws {RequestError} errno 5: no such group.
   */
  async joinGroup(which: number | string): Promise<Group> {
    const message = typeof which === "number" ? { groupid: which } : { groupname: nfc(which) };
    const answer = await this.request({ msgid: MSGID.JOIN_GROUP, ...message }, true);
    const group = answer.msgid === MSGID.OK ? answer.group : undefined;
    if (group === undefined) throw unexpected("JOIN_GROUP", answer);
    this.changeSession((s) => {
      const known = s.groups.find(({ id }) => id === group.id);
      // Who is in it already is told of no members.
      const users = group.users.length > 0 ? group.users : known?.users ?? [];
      return { ...s, groups: withOne(s.groups, { ...group, users }) };
    });
    return group;
  }

  /**
   * A page of a conversation: the latest messages, or those before a `mid`.
   *
   * @param limit 1 to 200. @default {50}
   * @throws {RequestError} errno 5 or 6: no such conversation of this user.
   */
  async history(
    target: Target,
    options: { readonly before?: string | undefined; readonly limit?: number } = {},
  ): Promise<HistoryPage> {
    const { before, limit = 50 } = options;
    const answer = await this.request({
      msgid: MSGID.HISTORY,
      ...(target.kind === "user" ? { userid: target.id } : { groupid: target.id }),
      ...(before !== undefined && { before }),
      limit,
    }, true);
    if (answer.msgid !== MSGID.HISTORY_ACK) throw unexpected("HISTORY", answer);
    const { messages, more } = answer;
    this.saw(messages.at(-1)?.mid ?? "");
    return { messages, more };
  }
}

/** The list with `one`, in the place of what has its id. */
function withOne<T extends { readonly id: number }>(list: readonly T[], one: T): readonly T[] {
  return [...list.filter(({ id }) => id !== one.id), one];
}

/** Names are kept in this form; some keyboards and file systems make another. */
export function nfc(name: string): string {
  return name.normalize("NFC");
}
