/**
 * What the client asks of the server: each request as it goes over the wire, the answer that fits it,
 * and whether it may be asked again. It keeps no session: who is logged in is the client's.
 *
 * Invariant: a request that was lost with its connection is repeated only if doing it twice changes
 * nothing.
 * Source: docs/protocol.md; what a user sees of each is with the methods of {@linkcode Client}.
 */

import { MSGID, type ServerMessage } from "@chat/wire/messages.ts";
import { refused, unexpected } from "./answers.ts";
import type { Credential } from "./authenticator.ts";
import type { Connection } from "./connection.ts";
import { ConnectionLost, RequestError } from "./errors.ts";
import type { Friend, Group, Target } from "./events.ts";
import type { HistoryPage } from "./options.ts";
import type { Patience } from "./retry.ts";

/** errno of a request that needs a login. */
const NOT_LOGGED_IN = 3;

/** What the calls ask of their client. */
export interface Caller {
  /** Somebody has logged in and not out again. */
  hasUser(): boolean;
  isClosed(): boolean;
}

/** The requests of one client. Those with an answer reject with RequestError or ConnectionLost. */
export class RemoteCalls {
  readonly #connection: Connection;
  readonly #patience: Patience;
  readonly #caller: Caller;

  constructor(connection: Connection, patience: Patience, caller: Caller) {
    this.#connection = connection;
    this.#patience = patience;
    this.#caller = caller;
  }

  /** LOGIN or RESUME. */
  async logIn(how: Credential): Promise<void> {
    const exact = "login" in how && "name" in how.login
      ? { login: { ...how.login, name: nfc(how.login.name) } }
      : how;
    await this.#patience.retry(() => this.#connection.logIn(exact), () => this.#canRepeat());
  }

  /** REGISTER; it needs no session. @returns The new user's id. */
  async register(name: string, password: string): Promise<number> {
    const answer = await this.#patience.retry(async (leftMs) => {
      await this.#connection.ready();
      const message = { msgid: MSGID.REGISTER, v: 2, name: nfc(name), password };
      return refused(await this.#connection.request(message, leftMs));
    }, () => false);
    if (answer.msgid === MSGID.REGISTER_ACK && answer.id !== undefined) return answer.id;
    throw unexpected("REGISTER", answer);
  }

  /** ADD_FRIEND, by id or name. */
  async addFriend(who: number | string): Promise<Friend> {
    const message = typeof who === "number" ? { friendid: who } : { name: nfc(who) };
    const answer = await this.#request({ msgid: MSGID.ADD_FRIEND, ...message }, true);
    if (answer.msgid === MSGID.OK && answer.friend !== undefined) return answer.friend;
    throw unexpected("ADD_FRIEND", answer);
  }

  /** REMOVE_FRIEND, by id or name. */
  async removeFriend(who: number | string): Promise<Friend> {
    const message = typeof who === "number" ? { friendid: who } : { name: nfc(who) };
    const answer = await this.#request({ msgid: MSGID.REMOVE_FRIEND, ...message }, true);
    if (answer.msgid === MSGID.OK && answer.friend !== undefined) return answer.friend;
    throw unexpected("REMOVE_FRIEND", answer);
  }

  /** CREATE_GROUP. */
  async createGroup(groupname: string, groupdesc: string): Promise<Group> {
    const message = { msgid: MSGID.CREATE_GROUP, groupname: nfc(groupname), groupdesc };
    const answer = await this.#request(message, false);
    if (answer.msgid === MSGID.OK && answer.group !== undefined) return answer.group;
    throw unexpected("CREATE_GROUP", answer);
  }

  /** JOIN_GROUP, by id or name. */
  async joinGroup(which: number | string): Promise<Group> {
    const message = typeof which === "number" ? { groupid: which } : { groupname: nfc(which) };
    const answer = await this.#request({ msgid: MSGID.JOIN_GROUP, ...message }, true);
    if (answer.msgid === MSGID.OK && answer.group !== undefined) return answer.group;
    throw unexpected("JOIN_GROUP", answer);
  }

  /** HISTORY: the latest page, or the one before a `mid`. */
  async history(target: Target, before: string | undefined, limit: number): Promise<HistoryPage> {
    const answer = await this.#request({
      msgid: MSGID.HISTORY,
      ...(target.kind === "user" ? { userid: target.id } : { groupid: target.id }),
      ...(before !== undefined && { before }),
      limit,
    }, true);
    if (answer.msgid !== MSGID.HISTORY_ACK) throw unexpected("HISTORY", answer);
    return { messages: answer.messages, more: answer.more };
  }

  /** TYPING: no answer, and nothing while offline. */
  typing(target: Target): void {
    if (this.#connection.state !== "online") return;
    this.#connection.send({
      msgid: MSGID.TYPING,
      ...(target.kind === "user" ? { toid: target.id } : { groupid: target.id }),
    });
  }

  /** CHANGE_PASSWORD. */
  async changePassword(oldPassword: string, newPassword: string): Promise<void> {
    const message = { msgid: MSGID.CHANGE_PASSWORD, old: oldPassword, new: newPassword };
    const answer = await this.#request(message, false);
    if (answer.msgid !== MSGID.OK) throw unexpected("CHANGE_PASSWORD", answer);
    this.#connection.passwordChanged(newPassword);
  }

  /** DELETE_ACCOUNT. */
  async deleteAccount(password: string): Promise<void> {
    const answer = await this.#request({ msgid: MSGID.DELETE_ACCOUNT, password }, false);
    if (answer.msgid !== MSGID.OK) throw unexpected("DELETE_ACCOUNT", answer);
  }

  /** LOGOUT. One that finds nobody logged in is done: an earlier one was, and its answer lost. */
  async logout(): Promise<void> {
    const hadUser = this.#caller.hasUser();
    try {
      const answer = await this.#request({ msgid: MSGID.LOGOUT }, false);
      if (answer.msgid !== MSGID.OK) throw unexpected("LOGOUT", answer);
    } catch (error) {
      const isDone = hadUser && error instanceof RequestError && error.errno === NOT_LOGGED_IN;
      if (!isDone) throw error;
    }
  }

  async #request(message: object, repeatable: boolean): Promise<ServerMessage> {
    return await this.#patience.retry(async (leftMs) => {
      await this.#online(leftMs);
      return refused(await this.#connection.request(message, leftMs));
    }, () => repeatable && this.#canRepeat());
  }

  #canRepeat(): boolean {
    return !this.#caller.isClosed() && this.#connection.state !== "offline";
  }

  async #online(timeoutMs: number): Promise<void> {
    const isOnline = () => this.#connection.state === "online";
    if (!this.#caller.hasUser() && !isOnline()) throw new RequestError(3, "log in first");
    const inTime = await this.#patience.until(() => isOnline() || !this.#canRepeat(), timeoutMs);
    if (!inTime) throw new ConnectionLost("the server cannot be reached");
    if (!isOnline()) throw new ConnectionLost("not connected");
  }
}

/** Names are kept in this form; some keyboards and file systems make another. */
function nfc(name: string): string {
  return name.normalize("NFC");
}
