/**
 * The chat client as an object: one user, one server, whatever happens to the connection.
 * It draws nothing and keeps no history.
 *
 * Invariants: a chat that was queued is sent until it is acknowledged or refused for good, under one
 * cid; a message reaches the program once, in its sender's order, and is confirmed after that.
 * Source: docs/protocol.md; docs/client.md, "Library".
 */

import { type LoginAck, MSGID, type ServerMessage } from "@chat/wire/messages.ts";
import { eventOf, sessionOf } from "./answers.ts";
import type { Credential, Login } from "./authenticator.ts";
import { CausalContext } from "./causal_context.ts";
import { type Clock, pause, systemClock } from "./clock.ts";
import { Connection } from "./connection.ts";
import { ConnectionLost, RequestError } from "./errors.ts";
import {
  type ClientEvent,
  type ConnectionState,
  EventQueue,
  type Friend,
  type Group,
  type Session,
  type Target,
} from "./events.ts";
import { Inbox } from "./inbox.ts";
import { Journal } from "./journal.ts";
import type { ClientOptions, HistoryPage, Queued } from "./options.ts";
import type { Outgoing } from "./outbox.ts";
import { OutgoingChats } from "./outgoing_chats.ts";
import { Patience } from "./patience.ts";
import { RemoteCalls } from "./remote_calls.ts";

/** How long `close` waits for the last bytes to leave, in ms. */
const CLOSE_FLUSH_MS = 1_000;

/**
 * Makes a client and connects it.
 *
 * @throws {ConnectionLost} No connection (not with `resume`, which goes on trying).
 * @throws {OutboxInUse} The outbox file belongs to a running client.
 */
export async function connect(options: ClientOptions = {}): Promise<Client> {
  const opened = options.outboxFile === undefined
    ? undefined
    : await Journal.open(options.outboxFile);
  const client = new Client(options, opened?.journal, opened?.waiting ?? []);
  if (opened !== undefined && opened.damagedLines > 0) {
    client.report(4, `${opened.damagedLines} unreadable lines of the outbox file were left out`);
  }
  try {
    await client.start();
  } catch (error) {
    await client.close();
    throw error;
  }
  return client;
}

/** One user's client; made by {@linkcode connect}. Iterating over it yields its events. */
export class Client implements AsyncIterable<ClientEvent> {
  readonly #options: ClientOptions;
  readonly #clock: Clock;
  readonly #patience: Patience;
  readonly #connection: Connection;
  readonly #context = new CausalContext();
  readonly #chats: OutgoingChats;
  readonly #calls: RemoteCalls;
  readonly #inbox: Inbox;
  readonly #events = new EventQueue();
  #user: { readonly id: number; readonly name: string } | undefined;
  #session: Session | undefined;
  #closed = false;

  /** Use {@linkcode connect}. */
  constructor(options: ClientOptions, journal: Journal | undefined, waiting: Outgoing[]) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const requestTimeoutMs = options.requestTimeoutMs ?? 15_000;
    this.#patience = new Patience(this.#clock, requestTimeoutMs);
    this.#connection = new Connection({
      address: { host: options.host ?? "127.0.0.1", port: options.port ?? 6000, tls: options.tls },
      clock: this.#clock,
      want: options.want ?? ["delivered", "typing"],
      device: options.device ?? "",
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      requestTimeoutMs,
      seen: () => this.#context.seen,
      giveUpAfterMs: options.giveUpAfterMs ?? 24 * 60 * 60 * 1000,
    }, {
      onState: (state, reason, retryInMs) => this.#onState(state, reason, retryInMs),
      onOnline: (ack, resumed) => this.#onOnline(ack, resumed),
      onOffline: () => {
        this.#chats.stop();
        this.#inbox.lost();
      },
      onMessage: (message) => this.#onMessage(message),
      onMalformed: (why) => this.report(4, `the server sent something malformed: ${why}`),
    });
    this.#calls = new RemoteCalls(this.#connection, this.#patience, {
      hasUser: () => this.#user !== undefined,
      isClosed: () => this.#closed,
    });
    this.#chats = new OutgoingChats({
      clock: this.#clock,
      connection: this.#connection,
      context: this.#context,
      journal,
      waiting,
      maxEntries: options.maxOutbox ?? 10_000,
      ackTimeoutMs: options.ackTimeoutMs ?? 15_000,
      onEvent: (event) => this.#emit(event),
      onEmpty: () => this.#patience.wake(),
    });
    this.#inbox = new Inbox(
      this.#clock,
      (ack) => this.#connection.send(ack),
      (message, handled) => this.#emit({ type: "message", message }, handled),
    );
  }

  /** Used by {@linkcode connect}. */
  async start(): Promise<void> {
    const { resume } = this.#options;
    if (resume === undefined) return await this.#connection.ready();
    this.#user = { id: resume.id, name: resume.name };
    this.#connection.resumeInBackground(resume.token);
  }

  /** The user's session as of the latest LOGIN_ACK; undefined before the first. */
  get session(): Session | undefined {
    return this.#session;
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
    return this.#chats.unsent;
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
    const user = this.#user;
    if (user === undefined) throw new RequestError(3, "log in first");
    return await this.#chats.send(user.id, target, msg);
  }

  /** Tells the others that the user types. Not stored, not repeated, lost while offline. */
  typing(target: Target): void {
    if (this.#connection.state !== "online") return;
    this.#connection.send({
      msgid: MSGID.TYPING,
      ...(target.kind === "user" ? { toid: target.id } : { groupid: target.id }),
    });
  }

  /**
   * Adds a friend by id or name. Doing it twice changes nothing.
   *
   * @throws {RequestError} errno 5: no such user.
   */
  async addFriend(who: number | string): Promise<Friend> {
    return await this.#calls.addFriend(who);
  }

  /**
   * Makes a group and joins it as its creator.
   *
   * @throws {RequestError} errno 1: the name is taken.
   * @throws {ConnectionLost} It may have been made.
   */
  async createGroup(groupname: string, groupdesc = ""): Promise<Group> {
    return await this.#calls.createGroup(groupname, groupdesc);
  }

  /**
   * Joins a group by id or name. Doing it twice changes nothing.
   *
   * @throws {RequestError} errno 5: no such group.
   */
  async joinGroup(which: number | string): Promise<Group> {
    return await this.#calls.joinGroup(which);
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
    const page = await this.#calls.history(target, options.before, options.limit ?? 50);
    this.#context.saw(page.messages.at(-1)?.mid ?? "");
    return page;
  }

  /**
   * Changes the password. Every other session's token of this user becomes void.
   *
   * @throws {RequestError} errno 1: the old password is wrong; 4: the new one is not allowed.
   */
  async changePassword(oldPassword: string, newPassword: string): Promise<void> {
    await this.#calls.changePassword(oldPassword, newPassword);
  }

  /**
   * Deletes the account; the connection ends. What is unsent is dropped.
   *
   * @throws {RequestError} errno 1: the password is wrong.
   */
  async deleteAccount(password: string): Promise<void> {
    await this.#calls.deleteAccount(password);
    this.#endSession();
    this.#chats.failAll(1, "the account was deleted");
    this.#session = undefined;
    this.#user = undefined;
  }

  /** Tries to reconnect now instead of waiting. */
  reconnect(): void {
    this.#connection.reconnect();
  }

  /**
   * Resolves when no chat of this client is unacknowledged.
   *
   * @returns False when some still were after `timeoutMs`.
   */
  async drained(timeoutMs: number): Promise<boolean> {
    await this.#patience.until(() => this.#chats.isEmpty || this.#closed, timeoutMs);
    return this.#chats.isEmpty;
  }

  /** Logs out: the token becomes void, the connection stays and can log in again. */
  async logout(): Promise<void> {
    this.#inbox.flush();
    await this.#calls.logout();
    this.#endSession();
    this.#session = undefined;
    this.#user = undefined;
  }

  /**
   * Ends the client; the session can be resumed. Unacknowledged chats remain in the outbox file.
   *
   * @param flushMs How long to wait for acknowledgements before.
   */
  async close(flushMs = 0): Promise<void> {
    if (this.#closed) return;
    if (flushMs > 0) await this.drained(flushMs);
    this.#closed = true;
    this.#inbox.flush();
    const limit = pause(this.#clock, CLOSE_FLUSH_MS);
    await Promise.race([this.#connection.flushed(), limit.done]);
    limit.stop();
    this.#chats.stop();
    await this.#connection.close("the client was closed");
    await this.#chats.close(new ConnectionLost("the client was closed"));
    this.#patience.wake();
    this.#events.close();
  }

  /** Tells the program of something that failed without belonging to a request. */
  report(errno: number, errmsg: string): void {
    this.#emit({ type: "error", errno, errmsg });
  }

  async #signIn(how: Credential): Promise<Session> {
    await this.#calls.logIn(how);
    const session = this.#session;
    if (session === undefined) throw new ConnectionLost("the connection was lost");
    return session;
  }

  /** What the connection carries from now on is in nobody's name. */
  #endSession(): void {
    this.#chats.stop();
    this.#inbox.close();
    this.#connection.forget();
  }

  #emit(event: ClientEvent, handled?: () => void): void {
    const { onEvent } = this.#options;
    if (onEvent === undefined) return this.#events.push(event, handled);
    onEvent(event);
    handled?.();
  }

  #onState(state: ConnectionState, reason: string, retryInMs: number | undefined): void {
    this.#emit({
      type: "connection",
      state,
      reason,
      ...(retryInMs !== undefined && { retryInMs }),
      ...(state === "offline" && { loginNeeded: this.loginNeeded }),
    });
    this.#patience.wake();
  }

  #onOnline(ack: LoginAck, resumed: boolean): void {
    const session = sessionOf(ack);
    const { id, name } = session;
    this.#inbox.open(id);
    this.#user = { id, name };
    this.#session = session;
    this.#context.told(ack.now, this.#clock.now());
    this.#emit({ type: "session", session, resumed });
    this.#chats.start(id);
  }

  #onMessage(message: ServerMessage): void {
    switch (message.msgid) {
      case MSGID.ONE_CHAT:
      case MSGID.GROUP_CHAT:
        this.#context.saw(message.mid);
        return this.#inbox.take(message);
      case MSGID.CHAT_ACK:
        return this.#chats.acknowledged(message);
      case MSGID.ERROR:
        if (message.cid !== undefined) return this.#chats.refused(message, message.cid);
        break;
      default:
    }
    const event = eventOf(message);
    if (event !== undefined) this.#emit(event);
  }
}
