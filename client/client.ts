/**
 * The chat client as an object: one user, one server, whatever happens to the connection.
 * It draws nothing and keeps no history.
 *
 * Invariants: a chat that was queued is sent until it is acknowledged or refused for good, under one
 * cid; a message reaches the program once, in its sender's order, and is confirmed after that.
 * Source: docs/protocol.md; docs/client.md, "Library".
 */

import { type LoginAck, MSGID, type ServerMessage } from "@chat/wire/messages.ts";
import { refused, unexpected } from "./answers.ts";
import type { Login } from "./authenticator.ts";
import { type Clock, pause, systemClock } from "./clock.ts";
import { Composer } from "./compose.ts";
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
import type { ClientOptions, HistoryPage, Queued, Sent } from "./options.ts";
import { type FirstSending, Outbox, type Outgoing, targetOf } from "./outbox.ts";
import { Patience } from "./patience.ts";
import { QueuedChats } from "./queued_chats.ts";
import { Sender } from "./sender.ts";

/** Most chats on the wire without an acknowledgement. */
const SEND_WINDOW = 128;
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
  readonly #journal: Journal | undefined;
  readonly #outbox: Outbox;
  readonly #sender: Sender;
  readonly #inbox: Inbox;
  readonly #events = new EventQueue();
  readonly #queued = new QueuedChats();
  readonly #composer = new Composer();
  /** Server's clock less ours, ms, when it was last told; no more than it really is. */
  #serverAheadMs: number | undefined;
  /** The greatest `mid` that has come. */
  #seen = "";
  #user: { readonly id: number; readonly name: string } | undefined;
  #session: Session | undefined;
  #closed = false;

  /** Use {@linkcode connect}. */
  constructor(options: ClientOptions, journal: Journal | undefined, waiting: Outgoing[]) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const requestTimeoutMs = options.requestTimeoutMs ?? 15_000;
    this.#patience = new Patience(this.#clock, requestTimeoutMs);
    this.#journal = journal;
    this.#outbox = new Outbox({
      maxEntries: options.maxOutbox ?? 10_000,
      maxUnits: 16 * 1024 * 1024,
      window: SEND_WINDOW,
    });
    for (const chat of waiting) this.#outbox.add(chat);
    this.#connection = new Connection({
      address: { host: options.host ?? "127.0.0.1", port: options.port ?? 6000, tls: options.tls },
      clock: this.#clock,
      want: options.want ?? ["delivered", "typing"],
      device: options.device ?? "",
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      requestTimeoutMs,
      giveUpAfterMs: options.giveUpAfterMs ?? 24 * 60 * 60 * 1000,
    }, {
      onState: (state, reason, retryInMs) => this.#onState(state, reason, retryInMs),
      onOnline: (ack, resumed) => this.#onOnline(ack, resumed),
      onOffline: () => {
        this.#sender.stop();
        this.#inbox.lost();
      },
      onMessage: (message) => this.#onMessage(message),
      onMalformed: (why) => this.report(4, `the server sent something malformed: ${why}`),
    });
    this.#sender = new Sender(this.#outbox, this.#clock, options.ackTimeoutMs ?? 15_000, {
      send: (text) => this.#connection.sendText(text),
      onSlow: (withinMs) => this.#connection.probe(withinMs),
      onStalled: () => this.#connection.drop("the server does not acknowledge"),
      moment: (now) => this.#moment(now),
      onFirst: (chat) => this.#journal?.first(chat),
      onSent: (chat, ack) => this.#onSent(chat, ack),
      onFailed: (chat, error) => this.#onFailed(chat, error.errno, error.errmsg),
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

  /** Chats that the server has not acknowledged, in order. */
  get unsent(): readonly Outgoing[] {
    return [...this.#outbox];
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
    const answer = await this.#patience.retry(async (leftMs) => {
      await this.#connection.ready();
      const message = { msgid: MSGID.REGISTER, v: 2, name: nfc(name), password };
      return refused(await this.#connection.request(message, leftMs));
    }, () => false);
    if (answer.msgid === MSGID.REGISTER_ACK && answer.id !== undefined) return answer.id;
    throw unexpected("REGISTER", answer);
  }

  /**
   * Logs in. Name and password stay in memory for a reconnect whose token is refused.
   *
   * @throws {RequestError} errno 1: wrong name or password; 2: the user is online elsewhere.
   */
  async login(login: Login): Promise<Session> {
    const exact = "name" in login ? { ...login, name: nfc(login.name) } : login;
    return await this.#signIn({ login: exact });
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
    const chat = this.#composer.compose(user.id, target, msg, this.#clock.now());
    this.#outbox.reserve(chat);
    try {
      await this.#journal?.append(chat);
    } finally {
      this.#outbox.release(chat);
    }
    this.#outbox.add(chat);
    const queued = this.#queued.add(chat.cid);
    this.#sender.pump();
    return queued;
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
    const message = typeof who === "number" ? { friendid: who } : { name: nfc(who) };
    const answer = await this.#request({ msgid: MSGID.ADD_FRIEND, ...message }, true);
    if (answer.msgid === MSGID.OK && answer.friend !== undefined) return answer.friend;
    throw unexpected("ADD_FRIEND", answer);
  }

  /**
   * Makes a group and joins it as its creator.
   *
   * @throws {RequestError} errno 1: the name is taken.
   * @throws {ConnectionLost} It may have been made.
   */
  async createGroup(groupname: string, groupdesc = ""): Promise<Group> {
    const message = { msgid: MSGID.CREATE_GROUP, groupname: nfc(groupname), groupdesc };
    const answer = await this.#request(message, false);
    if (answer.msgid === MSGID.OK && answer.group !== undefined) return answer.group;
    throw unexpected("CREATE_GROUP", answer);
  }

  /**
   * Joins a group by id or name. Doing it twice changes nothing.
   *
   * @throws {RequestError} errno 5: no such group.
   */
  async joinGroup(which: number | string): Promise<Group> {
    const message = typeof which === "number" ? { groupid: which } : { groupname: nfc(which) };
    const answer = await this.#request({ msgid: MSGID.JOIN_GROUP, ...message }, true);
    if (answer.msgid === MSGID.OK && answer.group !== undefined) return answer.group;
    throw unexpected("JOIN_GROUP", answer);
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
    const answer = await this.#request({
      msgid: MSGID.HISTORY,
      ...(target.kind === "user" ? { userid: target.id } : { groupid: target.id }),
      ...(options.before !== undefined && { before: options.before }),
      limit: options.limit ?? 50,
    }, true);
    if (answer.msgid !== MSGID.HISTORY_ACK) throw unexpected("HISTORY", answer);
    this.#sawMid(answer.messages.at(-1)?.mid ?? "");
    return { messages: answer.messages, more: answer.more };
  }

  /**
   * Changes the password. Every other session's token of this user becomes void.
   *
   * @throws {RequestError} errno 1: the old password is wrong; 4: the new one is not allowed.
   */
  async changePassword(oldPassword: string, newPassword: string): Promise<void> {
    const message = { msgid: MSGID.CHANGE_PASSWORD, old: oldPassword, new: newPassword };
    const answer = await this.#request(message, false);
    if (answer.msgid !== MSGID.OK) throw unexpected("CHANGE_PASSWORD", answer);
    this.#connection.passwordChanged(newPassword);
  }

  /**
   * Deletes the account; the connection ends. What is unsent is dropped.
   *
   * @throws {RequestError} errno 1: the password is wrong.
   */
  async deleteAccount(password: string): Promise<void> {
    const answer = await this.#request({ msgid: MSGID.DELETE_ACCOUNT, password }, false);
    if (answer.msgid !== MSGID.OK) throw unexpected("DELETE_ACCOUNT", answer);
    this.#sender.stop();
    this.#inbox.close();
    this.#connection.forget();
    for (const { cid } of [...this.#outbox]) {
      const chat = this.#outbox.settle(cid);
      if (chat !== undefined) this.#onFailed(chat, 1, "the account was deleted");
    }
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
    await this.#patience.until(() => this.#outbox.size === 0 || this.#closed, timeoutMs);
    return this.#outbox.size === 0;
  }

  /** Logs out: the token becomes void, the connection stays and can log in again. */
  async logout(): Promise<void> {
    this.#inbox.flush();
    const answer = await this.#request({ msgid: MSGID.LOGOUT }, false);
    if (answer.msgid !== MSGID.OK) throw unexpected("LOGOUT", answer);
    this.#sender.stop();
    this.#inbox.close();
    this.#connection.forget();
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
    this.#sender.stop();
    await this.#connection.close("the client was closed");
    await this.#journal?.close();
    this.#queued.abandon(new ConnectionLost("the client was closed"));
    this.#patience.wake();
    this.#events.close();
  }

  /** Tells the program of something that failed without belonging to a request. */
  report(errno: number, errmsg: string): void {
    this.#emit({ type: "error", errno, errmsg });
  }

  async #signIn(how: { login: Login } | { token: string }): Promise<Session> {
    await this.#patience.retry(() => this.#connection.logIn(how), () => this.#canRepeat());
    const session = this.#session;
    if (session === undefined) throw new ConnectionLost("the connection was lost");
    return session;
  }

  async #request(message: object, repeatable: boolean): Promise<ServerMessage> {
    return await this.#patience.retry(async (leftMs) => {
      await this.#online(leftMs);
      return refused(await this.#connection.request(message, leftMs));
    }, () => repeatable && this.#canRepeat());
  }

  #canRepeat(): boolean {
    return !this.#closed && this.#connection.state !== "offline";
  }

  async #online(timeoutMs: number): Promise<void> {
    const hopeless = () => this.#closed || this.#connection.state === "offline";
    const isOnline = () => this.#connection.state === "online";
    if (this.#user === undefined && !isOnline()) throw new RequestError(3, "log in first");
    const inTime = await this.#patience.until(() => isOnline() || hopeless(), timeoutMs);
    if (!inTime) throw new ConnectionLost("the server cannot be reached");
    if (!isOnline()) throw new ConnectionLost("not connected");
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
      ...(state === "offline" && { loginNeeded: !this.#connection.canComeBack }),
    });
    this.#patience.wake();
  }

  #onOnline(ack: LoginAck, resumed: boolean): void {
    const id = ack.id ?? 0;
    this.#inbox.open(id);
    const session: Session = {
      id,
      name: ack.name ?? "",
      friends: ack.friends ?? [],
      groups: ack.groups ?? [],
      token: ack.token ?? "",
      node: ack.node ?? "",
    };
    this.#user = { id, name: session.name };
    this.#session = session;
    // What the acknowledgement took to come makes this too small, never too large.
    this.#serverAheadMs = ack.now === undefined ? undefined : ack.now - this.#clock.now();
    this.#emit({ type: "session", session, resumed });
    this.#sender.start(id);
  }

  #onMessage(message: ServerMessage): void {
    switch (message.msgid) {
      case MSGID.ONE_CHAT:
      case MSGID.GROUP_CHAT:
        this.#sawMid(message.mid);
        return this.#inbox.take(message);
      case MSGID.CHAT_ACK:
        return this.#sender.acknowledged(message);
      case MSGID.ERROR:
        if (message.cid !== undefined) return this.#onChatError(message, message.cid);
        return this.report(message.errno, message.errmsg);
      case MSGID.PRESENCE:
        return this.#emit({ type: "presence", id: message.id, state: message.state });
      case MSGID.DELIVERED:
        return this.#emit({ type: "delivered", id: message.id, mids: message.mids });
      case MSGID.TYPING:
        if (message.id === undefined) return;
        return this.#emit({
          type: "typing",
          id: message.id,
          name: message.name,
          groupid: message.groupid,
        });
      case MSGID.BYE:
        return this.#emit({
          type: "bye",
          errno: message.errno,
          errmsg: message.errmsg,
          ...(message.retryAfterMs !== undefined && { retryAfterMs: message.retryAfterMs }),
        });
      case MSGID.PONG:
        return;
      case MSGID.PING: // answered by the connection
      case MSGID.LOGIN_ACK: // answers to requests that have been given up
      case MSGID.REGISTER_ACK:
      case MSGID.HISTORY_ACK:
      case MSGID.OK:
        return;
      default:
        return message satisfies never;
    }
  }

  #onChatError(
    error: Extract<ServerMessage, { readonly msgid: typeof MSGID.ERROR }>,
    cid: string,
  ): void {
    // The server no longer knows the session: a new one sends everything again.
    if (error.errno === 3) this.#connection.drop(error.errmsg);
    else this.#sender.refused(error, cid);
  }

  #moment(now: number): FirstSending | undefined {
    const aheadMs = this.#serverAheadMs;
    return aheadMs === undefined ? undefined : { at: now + aheadMs, seen: this.#seen };
  }

  #sawMid(mid: string): void {
    if (mid > this.#seen) this.#seen = mid;
  }

  #onSent(chat: Outgoing, { cid, mid, ts }: Sent): void {
    this.#sawMid(mid);
    this.#journal?.done(cid);
    this.#emit({ type: "sent", cid, mid, ts, target: targetOf(chat), msg: chat.msg });
    this.#settle(cid, { cid, mid, ts });
  }

  #onFailed(chat: Outgoing, errno: number, errmsg: string): void {
    const { cid, msg } = chat;
    this.#journal?.done(cid);
    this.#emit({ type: "failed", cid, errno, errmsg, target: targetOf(chat), msg });
    this.#settle(cid, new RequestError(errno, errmsg));
  }

  #settle(cid: string, outcome: Sent | Error): void {
    this.#queued.settle(cid, outcome);
    if (this.#outbox.size === 0) this.#patience.wake();
  }
}

/** Names are kept in this form; some keyboards and file systems make another. */
function nfc(name: string): string {
  return name.normalize("NFC");
}
