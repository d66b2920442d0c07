/**
 * Sends requests to the server and waits for their answers; sends those that log a user in or out, or
 * change the account. It keeps no session: who is logged in is the client's.
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
import type { Target } from "./events.ts";
import { nfc } from "./user_requests.ts";
import type { Retries } from "./retry.ts";

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
  readonly #retries: Retries;
  readonly #caller: Caller;

  constructor(connection: Connection, retries: Retries, caller: Caller) {
    this.#connection = connection;
    this.#retries = retries;
    this.#caller = caller;
  }

  /** LOGIN or RESUME. */
  async logIn(how: Credential): Promise<void> {
    const exact = "login" in how && "name" in how.login
      ? { login: { ...how.login, name: nfc(how.login.name) } }
      : how;
    await this.#retries.retry(() => this.#connection.logIn(exact), () => this.#canRepeat());
  }

  /** REGISTER; it needs no session. @returns The new user's id. */
  async register(name: string, password: string): Promise<number> {
    const answer = await this.#retries.retry(async (leftMs) => {
      await this.#connection.ready();
      const message = { msgid: MSGID.REGISTER, v: 2, name: nfc(name), password };
      return refused(await this.#connection.request(message, leftMs));
    }, () => false);
    if (answer.msgid === MSGID.REGISTER_ACK && answer.id !== undefined) return answer.id;
    throw unexpected("REGISTER", answer);
  }

  /** TYPING: no answer, and nothing while offline. */
  typing(target: Target): void {
    if (this.#connection.state !== "online") return;
    this.#connection.send({
      msgid: MSGID.TYPING,
      ...(target.kind === "user" ? { toid: target.id } : { groupid: target.id }),
    });
  }

  /** CHANGE_PASSWORD. @returns The token to go on with. */
  async changePassword(oldPassword: string, newPassword: string): Promise<string> {
    const message = { msgid: MSGID.CHANGE_PASSWORD, old: oldPassword, new: newPassword };
    const answer = await this.request(message, false);
    const token = answer.msgid === MSGID.OK ? answer.token : undefined;
    if (token === undefined) throw unexpected("CHANGE_PASSWORD", answer);
    this.#connection.passwordChanged(newPassword, token);
    return token;
  }

  /** DELETE_ACCOUNT. */
  async deleteAccount(password: string): Promise<void> {
    const answer = await this.request({ msgid: MSGID.DELETE_ACCOUNT, password }, false);
    if (answer.msgid !== MSGID.OK) throw unexpected("DELETE_ACCOUNT", answer);
  }

  /** LOGOUT. One that finds nobody logged in is done: an earlier one was, and its answer lost. */
  async logout(): Promise<void> {
    const hadUser = this.#caller.hasUser();
    try {
      const answer = await this.request({ msgid: MSGID.LOGOUT }, false);
      if (answer.msgid !== MSGID.OK) throw unexpected("LOGOUT", answer);
    } catch (error) {
      const isDone = hadUser && error instanceof RequestError && error.errno === NOT_LOGGED_IN;
      if (!isDone) throw error;
    }
  }

  /**
   * Sends a request of somebody who is logged in.
   *
   * @param repeatable Doing it twice changes nothing.
   * @returns The answer, which is no refusal.
   */
  async request(message: object, repeatable: boolean): Promise<ServerMessage> {
    return await this.#retries.retry(async (leftMs) => {
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
    const inTime = await this.#retries.until(() => isOnline() || !this.#canRepeat(), timeoutMs);
    if (!inTime) throw new ConnectionLost("the server cannot be reached");
    if (!isOnline()) throw new ConnectionLost("not connected");
  }
}
