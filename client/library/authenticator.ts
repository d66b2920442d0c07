/**
 * Logs the client in: holds its token and password, and the LOGIN or RESUME under way. It opens no
 * connection and decides on no retry; it says how a sign-in ended.
 *
 * Invariants: at most one LOGIN or RESUME waits for its answer; what logged in last is what logs in
 * again; a token that was refused for good is forgotten.
 * Source: docs/protocol.md, "LOGIN, RESUME".
 */

import { type LoginAck, MSGID, type Want } from "@chat/wire/messages.ts";
import { ConnectionLost, RequestError } from "./errors.ts";
import type { Requests } from "./requests.ts";
import type { Socket } from "./transport.ts";

/** A name or an id, and its password. */
export type Login =
  & { readonly password: string }
  & ({ readonly name: string } | { readonly id: number });

/** One way to log in. */
export type Credential = { readonly login: Login } | { readonly token: string };

/** How a sign-in with what is held has ended. */
export type SignIn = "online" | { readonly refused: string } | {
  readonly retry: string;
  readonly retryAfterMs: number;
};

/** What every LOGIN and RESUME of a client says, and how long it waits for the answer. */
export interface AuthenticatorOptions {
  readonly want: readonly Want[];
  /** Name of this device: a token is good on it only. */
  readonly device: string;
  readonly requestTimeoutMs: number;
  /** The greatest `mid` that has come; "" for none. */
  seen(): string;
}

/** What logs in without asking anybody. */
interface Credentials {
  readonly token: string | undefined;
  readonly login: Login | undefined;
}

/** The credentials of one client. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #requests: Requests;
  #credentials: Credentials = { token: undefined, login: undefined };
  /** The LOGIN or RESUME that waits for its answer. */
  #pending:
    | { readonly req: number; readonly resumed: boolean; readonly login: Login | undefined }
    | undefined;

  /** @param requests Those of the connection over which it signs in. */
  constructor(options: AuthenticatorOptions, requests: Requests) {
    this.#options = options;
    this.#requests = requests;
  }

  /** There is something to log in with. */
  get hasCredentials(): boolean {
    return this.#credentials.token !== undefined || this.#credentials.login !== undefined;
  }

  /** Takes the token of an earlier session. */
  useToken(token: string): void {
    this.#credentials = { token, login: this.#credentials.login };
  }

  /** Takes the new password, if the client knows one, and the token that is in the old one's place. */
  passwordChanged(password: string, token: string): void {
    const { login } = this.#credentials;
    this.#credentials = { token, login: login === undefined ? undefined : { ...login, password } };
  }

  /** Forgets how to log in. */
  forget(): void {
    this.#credentials = { token: undefined, login: undefined };
  }

  /** The connection is gone: an answer that still comes is nobody's. */
  lost(): void {
    this.#pending = undefined;
  }

  /**
   * Takes a LOGIN_ACK.
   *
   * @returns How the session began; undefined when the ack opens none.
   */
  accept(ack: LoginAck): { readonly resumed: boolean } | undefined {
    const pending = this.#pending;
    if (ack.errno !== 0 || ack.req !== pending?.req) return undefined;
    this.#credentials = { token: ack.token, login: pending?.login };
    return { resumed: pending?.resumed ?? false };
  }

  /**
   * Logs in.
   *
   * @throws {RequestError} The server refused.
   * @throws {ConnectionLost} No answer.
   */
  async logIn(socket: Socket, how: Credential): Promise<void> {
    const ack = await this.#ask(socket, how);
    if (ack.errno === 0) return;
    throw new RequestError(ack.errno, ack.errmsg ?? `errno ${ack.errno}`, ack.retryAfterMs);
  }

  /** Logs in with what is held: the token, and the password once the token is void. */
  async signIn(socket: Socket): Promise<SignIn> {
    const { token, login } = this.#credentials;
    try {
      if (token !== undefined) {
        const ack = await this.#ask(socket, { token });
        if (ack.errno === 0) return "online";
        if (ack.errno !== 1) return retry(ack);
        // The token is void for ever; a password, if there is one, is the way back.
        this.#credentials = { token: undefined, login };
        if (login === undefined) return { refused: ack.errmsg ?? "the session has ended" };
      }
      if (login === undefined) return { refused: "not logged in" };
      const ack = await this.#ask(socket, { login });
      if (ack.errno === 0) return "online";
      if (ack.errno === 1) return { refused: ack.errmsg ?? "wrong name or password" };
      return retry(ack);
    } catch (error) {
      if (error instanceof ConnectionLost || error instanceof RequestError) {
        return { retry: error.message, retryAfterMs: 0 };
      }
      throw error;
    }
  }

  async #ask(socket: Socket, how: Credential): Promise<LoginAck> {
    if (this.#pending !== undefined) throw new RequestError(9, "a login is under way");
    // Lost between the moment it was there and now: nobody would tell this request.
    if (socket.closed) throw new ConnectionLost("the connection was lost");
    const { req, answer } = this.#requests.open(this.#options.requestTimeoutMs);
    const resumed = "token" in how;
    const login = resumed ? this.#credentials.login : how.login;
    this.#pending = { req, resumed, login };
    const { want, device } = this.#options;
    const seen = this.#options.seen();
    const common = {
      v: 2,
      want,
      ...(device !== "" && { device }),
      ...(seen !== "" && { seen }),
      req,
    };
    socket.send(
      resumed
        ? { msgid: MSGID.RESUME, token: how.token, ...common }
        : { msgid: MSGID.LOGIN, ...how.login, ...common },
    );
    try {
      const message = await answer;
      if (message.msgid === MSGID.LOGIN_ACK) return message;
      if (message.msgid === MSGID.ERROR) return { ...message, msgid: MSGID.LOGIN_ACK };
      throw new ConnectionLost(`LOGIN was answered with msgid ${message.msgid}`);
    } catch (error) {
      // An answer that came later would log this connection in behind its client's back.
      socket.close("no answer to the login");
      throw error;
    } finally {
      if (this.#pending?.req === req) this.#pending = undefined;
    }
  }
}

function retry(ack: LoginAck): SignIn {
  return { retry: ack.errmsg ?? `errno ${ack.errno}`, retryAfterMs: ack.retryAfterMs ?? 0 };
}
