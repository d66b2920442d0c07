/**
 * The chat client as an object: one user, one server, whatever happens to the connection.
 * It draws nothing and keeps no history.
 *
 * Invariants: a chat that was queued is sent until it is acknowledged or refused for good, under one
 * cid; a message reaches the program once, in its sender's order, and is confirmed after that.
 * Source: docs/protocol.md; docs/client.md, "Library".
 */

import type { ServerMessage } from "@chat/wire/messages.ts";
import { eventOf } from "./answers.ts";
import type { Credential, Login } from "./authenticator.ts";
import { Connection } from "./connection.ts";
import { ConnectionLost } from "./errors.ts";
import {
  type ClientEvent,
  type ConnectionState,
  EventQueue,
  type Session,
  type Target,
} from "./events.ts";
import type { Dial, OutboxStore } from "./transport.ts";
import { type ClientOptions, type Queued, settingsOf } from "./options.ts";
import type { Outgoing } from "./outbox.ts";
import { Retries } from "./retry.ts";
import { RemoteCalls } from "./remote_calls.ts";
import { User } from "./user.ts";
import { UserRequests } from "./user_requests.ts";

/** How long `close` waits for the last bytes to leave, in ms. */
const CLOSE_FLUSH_MS = 1_000;

/** One user's client; made by {@linkcode connect}. Iterating over it yields its events. */
export class Client extends UserRequests implements AsyncIterable<ClientEvent> {
  readonly #events: EventQueue;
  readonly #retries: Retries;
  readonly #connection: Connection;
  readonly #user: User;
  readonly #calls: RemoteCalls;
  readonly #resume: ClientOptions["resume"];
  #closed = false;
  #closing: Promise<void> | undefined;
  /** Chats on their way into the outbox. */
  readonly #queueing = new Set<Promise<unknown>>();

  /** Use {@linkcode connect}. */
  constructor(
    options: ClientOptions,
    dial: Dial,
    journal: OutboxStore | undefined,
    waiting: Outgoing[],
  ) {
    super();
    const settings = settingsOf(options);
    this.#resume = options.resume;
    this.#events = new EventQueue(options.onEvent);
    this.#retries = new Retries(settings.clock, settings.requestTimeoutMs);
    this.#connection = new Connection({ ...settings, dial, seen: () => this.#user.seen }, {
      onState: (state, reason, retryInMs) => this.#onState(state, reason, retryInMs),
      onOnline: (ack, resumed) => this.#user.online(ack, resumed),
      onOffline: () => this.#user.offline(),
      onMessage: (message) => {
        const event = this.#user.take(message) ? undefined : eventOf(message);
        if (event !== undefined) this.#events.push(event);
      },
      onMalformed: (why) => this.report(4, `the server sent something malformed: ${why}`),
    });
    this.#calls = new RemoteCalls(this.#connection, this.#retries, {
      hasUser: () => this.#user.isKnown,
      isClosed: () => this.#closed,
    });
    this.#user = new User({
      ...settings,
      connection: this.#connection,
      journal,
      waiting,
      emit: (event, handled) => this.#events.push(event, handled),
      onSettled: () => this.#retries.wake(),
    });
  }

  /** Used by {@linkcode connect}. */
  async start(): Promise<void> {
    const resume = this.#resume;
    if (resume === undefined) return await this.#connection.ready();
    this.#user.recall(resume.id, resume.name);
    this.#connection.resumeInBackground(resume.token);
  }

  /** The user's session: what the latest LOGIN_ACK said, and what was asked since; undefined before. */
  get session(): Session | undefined {
    return this.#user.session;
  }

  /** How it stands with the server. */
  get state(): ConnectionState {
    return this.#connection.state;
  }

  /**
   * Nobody is logged in, and the client holds nothing to log in with by itself: it has logged out, or
   * its token and password were refused for good. Holds until a {@linkcode login} has succeeded.
   */
  get loginNeeded(): boolean {
    return this.#connection.state !== "online" && !this.#connection.canComeBack;
  }

  /** Chats that the server has not acknowledged, in order. */
  get unsent(): readonly Outgoing[] {
    return this.#user.chats.unsent;
  }

  /** Events that nobody took in time (see {@linkcode EventQueue}). */
  get droppedEvents(): number {
    return this.#events.dropped;
  }

  /** Events in order, until {@linkcode close}. Several loops share them out. */
  [Symbol.asyncIterator](): AsyncIterator<ClientEvent> {
    return this.#events[Symbol.asyncIterator]();
  }

  /**
   * Makes an account; does not log in.
   *
   * @returns The new user's id.
   * @throws {RequestError} errno 1: the name is taken; 4: name or password not allowed.
   */
  async register(name: string, password: string): Promise<number> {
    return await this.#calls.register(name, password);
  }

  /**
   * Logs in. Name and password stay in memory for a reconnect whose token is refused.
   *
   * @throws {RequestError} errno 1: wrong name or password; 2: the user is online elsewhere.
   */
  async login(login: Login): Promise<Session> {
    return await this.#signIn({ login });
  }

  /**
   * Logs in with the token of an earlier session and takes that session's place.
   *
   * @throws {RequestError} errno 1: the token is void.
   */
  async resume(token: string): Promise<Session> {
    return await this.#signIn({ token });
  }

  /**
   * Queues a chat to a user. With an outbox file it is on disk when this resolves.
   *
   * @param msg 1 to 16,384 UTF-16 units.
   * @throws {OutboxFull} Too much waits.
   * @throws {RequestError} errno 3: no user yet; 8: too long.
   */
  sendTo(userId: number, msg: string): Promise<Queued> {
    return this.send({ kind: "user", id: userId }, msg);
  }

  /** Queues a chat to a group; see {@linkcode sendTo}. */
  sendToGroup(groupId: number, msg: string): Promise<Queued> {
    return this.send({ kind: "group", id: groupId }, msg);
  }

  /** Queues a chat; see {@linkcode sendTo}. */
  async send(target: Target, msg: string): Promise<Queued> {
    if (this.#closed) throw new ConnectionLost("the client is closed");
    const queueing = this.#user.send(target, msg);
    this.#queueing.add(queueing);
    try {
      return await queueing;
    } finally {
      this.#queueing.delete(queueing);
    }
  }

  /** Tells the others that the user types. Not stored, not repeated, lost while offline. */
  typing(target: Target): void {
    this.#calls.typing(target);
  }

  /**
   * Changes the password. Every token of this user becomes void; this session has a new one.
   *
   * @throws {RequestError} errno 1: the old password is wrong; 4: the new one is not allowed.
   */
  async changePassword(oldPassword: string, newPassword: string): Promise<void> {
    const token = await this.#calls.changePassword(oldPassword, newPassword);
    this.#user.changeSession((session) => ({ ...session, token }));
  }

  /**
   * Deletes the account; the connection ends. What this user has not sent has failed.
   *
   * @throws {RequestError} errno 1: the password is wrong.
   */
  async deleteAccount(password: string): Promise<void> {
    await this.#calls.deleteAccount(password);
    this.#user.deleted();
    this.#connection.forget();
  }

  /** Tries to reconnect now instead of waiting. */
  reconnect(): void {
    this.#connection.reconnect();
  }

  /**
   * Resolves when no chat of this user (who is logged in, or was last) is unacknowledged.
   *
   * @returns False when some still were after `timeoutMs`, or when nothing will send them: nobody is
   *   logged in, or the client is offline for good.
   */
  async drained(timeoutMs: number): Promise<boolean> {
    const user = this.#user;
    const isOver = () =>
      user.isDrained || !user.isKnown || this.#connection.state === "offline" || this.#closed;
    await this.#retries.until(isOver, timeoutMs);
    return user.isDrained;
  }

  /** Logs out: the token becomes void, the connection stays and can log in again. */
  async logout(): Promise<void> {
    this.#user.confirm();
    this.#user.holdReceipts();
    try {
      await this.#calls.logout();
      this.#user.leave();
    } finally {
      this.#user.confirm(); // has something to confirm only if the login goes on
    }
    this.#connection.forget();
  }

  /**
   * Ends the client; the session can be resumed. Unacknowledged chats remain in the outbox file.
   *
   * @param flushMs How long to wait for acknowledgements before.
   */
  close(flushMs = 0): Promise<void> {
    return this.#closing ??= this.#close(flushMs);
  }

  async #close(flushMs: number): Promise<void> {
    await Promise.allSettled(this.#queueing);
    if (flushMs > 0) await this.drained(flushMs);
    this.#closed = true;
    this.#user.confirm();
    await this.#connection.flushed(CLOSE_FLUSH_MS);
    this.#user.chats.stop();
    await this.#connection.close("the client was closed");
    await this.#user.chats.close(new ConnectionLost("the client was closed"));
    this.#retries.end();
    this.#events.close();
  }

  /** Tells the program of something that failed without belonging to a request. */
  report(errno: number, errmsg: string): void {
    this.#events.push({ type: "error", errno, errmsg });
  }

  /** @ignore */
  protected request(message: object, repeatable: boolean): Promise<ServerMessage> {
    return this.#calls.request(message, repeatable);
  }

  /** @ignore */
  protected changeSession(change: (session: Session) => Session): void {
    this.#user.changeSession(change);
  }

  /** @ignore */
  protected saw(mid: string): void {
    this.#user.saw(mid);
  }

  async #signIn(how: Credential): Promise<Session> {
    await this.#calls.logIn(how);
    const { session } = this.#user;
    if (session === undefined) throw new ConnectionLost("the connection was lost");
    return session;
  }

  #onState(state: ConnectionState, reason: string, retryInMs: number | undefined): void {
    this.#events.push({
      type: "connection",
      state,
      reason,
      ...(retryInMs !== undefined && { retryInMs }),
      ...(state === "offline" && { loginNeeded: this.loginNeeded }),
    });
    this.#retries.wake();
  }
}
