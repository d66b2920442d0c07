/**
 * The chat client as an object: one user, one server, whatever happens to the connection.
 * It draws nothing and keeps no history.
 *
 * Invariants: a chat that was queued is sent until it is acknowledged or refused for good, under one
 * cid; a message reaches the program once, in its sender's order, and is confirmed after that.
 * Source: docs/protocol.md; docs/client.md, "Library".
 */

import { MAX_FRAME_BYTES, MAX_TEXT_UNITS, MID_LENGTH } from "@chat/wire/limits.ts";
import {
  type GroupChatPush,
  type LoginAck,
  MSGID,
  type OneChatPush,
  type ServerMessage,
} from "@chat/wire/messages.ts";
import { Backoff } from "./backoff.ts";
import { type Clock, pause, systemClock } from "./clock.ts";
import { Connection, type Login } from "./connection.ts";
import { Dedupe } from "./dedupe.ts";
import { ConnectionLost, RequestError } from "./errors.ts";
import {
  type ClientEvent,
  type ConnectionState,
  EventQueue,
  type Friend,
  type Group,
  type Message,
  type Session,
  type Target,
} from "./events.ts";
import { Journal } from "./journal.ts";
import { type FirstSending, Outbox, type Outgoing } from "./outbox.ts";
import { Receipts } from "./receipts.ts";
import { encodeChat, Sender } from "./sender.ts";

/** Handed-over messages that are remembered to recognise repeats: `mid` and `(id, cid)` of each. */
const DEDUPE_KEYS = 2 * 16_384;
/** Most chats on the wire without an acknowledgement. */
const SEND_WINDOW = 128;
/** As many characters as can be said of a first sending. */
const LONGEST_FIRST: FirstSending = { at: Number.MAX_SAFE_INTEGER, seen: "Z".repeat(MID_LENGTH) };
/** How long `close` waits for the last bytes to leave, in ms. */
const CLOSE_FLUSH_MS = 1_000;

/** How to make a {@linkcode Client}. */
export interface ClientOptions {
  /** Host name or address. @default {"127.0.0.1"} */
  readonly host?: string;
  /** TCP port. @default {6000} */
  readonly port?: number;
  /** TLS; `caCerts` are PEM certificates trusted besides the built-in ones. */
  readonly tls?: { readonly caCerts?: string[] } | undefined;
  /** What to be told beyond messages, presence and one's own acknowledgements. Default: both. */
  readonly want?: readonly ("delivered" | "typing")[];
  /**
   * Name of this device, ≤ 64 characters: a token is good on the device only that it was given to.
   * Something random that is kept with the token. Default: none.
   */
  readonly device?: string | undefined;
  /**
   * Logs in with this token in the background instead of waiting for the server: `connect` returns
   * at once, and chats can be queued while the server is away.
   */
  readonly resume?: { readonly token: string; readonly id: number; readonly name: string };
  /** Keeps unsent chats in this file: what was queued survives the end of the process. */
  readonly outboxFile?: string;
  /**
   * Takes events as they come instead of through iteration. A message is confirmed when it returns.
   */
  readonly onEvent?: (event: ClientEvent) => void;
  /** Time for one connection attempt, in ms. @default {10000} */
  readonly connectTimeoutMs?: number;
  /** Time for a request with all its retries, in ms. @default {15000} */
  readonly requestTimeoutMs?: number;
  /** Time for a CHAT_ACK, in ms, after which the connection is made anew. @default {15000} */
  readonly ackTimeoutMs?: number;
  /** An outage longer than this, in ms, ends the reconnecting. @default {86400000} (a day) */
  readonly giveUpAfterMs?: number;
  /** Most chats waiting to be acknowledged. @default {10000} */
  readonly maxOutbox?: number;
  /** Replaced in tests. */
  readonly clock?: Clock;
}

/** When a chat became durable on the server. */
export interface Sent {
  /** Our id of it. */
  readonly cid: string;
  /** The server's id of it. */
  readonly mid: string;
  /** Epoch ms, by the server. */
  readonly ts: number;
}

/** A chat that is queued: it will be sent until the server acknowledges or refuses it. */
export interface Queued {
  /** Our id of it, also in the events `sent` and `failed`. */
  readonly cid: string;
  /**
   * Resolves when the server holds it durably.
   *
   * @throws {RequestError} The server refused it for good.
   * @throws {ConnectionLost} The client was closed before.
   */
  acknowledged(): Promise<Sent>;
}

/** A page of a conversation, oldest first. */
export interface HistoryPage {
  /** The page. */
  readonly messages: readonly Message[];
  /** Older messages exist. */
  readonly more: boolean;
}

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
  readonly #requestTimeoutMs: number;
  readonly #connection: Connection;
  readonly #journal: Journal | undefined;
  readonly #outbox: Outbox;
  readonly #sender: Sender;
  readonly #receipts: Receipts;
  readonly #events = new EventQueue();
  #dedupe = new Dedupe(DEDUPE_KEYS);
  /** `id:cid` ⇒ mids of a message that the program has not dealt with yet. */
  #unhandled = new Map<string, string[]>();
  /** cid ⇒ chat of this run that is not settled. */
  readonly #queued = new Map<string, QueuedChat>();
  #stateWaiters: (() => void)[] = [];
  readonly #run = randomText();
  #cids = 0;
  /** Server's clock less ours, ms, when it was last told; no more than it really is. */
  #serverAheadMs: number | undefined;
  /** The greatest `mid` that has come. */
  #seen = "";
  #user: { readonly id: number; readonly name: string } | undefined;
  #session: Session | undefined;
  /** Whose messages `#dedupe` and `#unhandled` know. */
  #recipient = 0;
  #closed = false;

  /** Use {@linkcode connect}. */
  constructor(options: ClientOptions, journal: Journal | undefined, waiting: Outgoing[]) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? 15_000;
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
      requestTimeoutMs: this.#requestTimeoutMs,
      giveUpAfterMs: options.giveUpAfterMs ?? 24 * 60 * 60 * 1000,
    }, {
      onState: (state, reason, retryInMs) => this.#onState(state, reason, retryInMs),
      onOnline: (ack, resumed) => this.#onOnline(ack, resumed),
      onOffline: () => {
        this.#sender.stop();
        this.#receipts.clear();
      },
      onMessage: (message) => this.#onMessage(message),
      onMalformed: (why) => this.report(4, `the server sent something malformed: ${why}`),
    });
    this.#sender = new Sender(this.#outbox, this.#clock, options.ackTimeoutMs ?? 15_000, {
      send: (text) => this.#connection.sendText(text),
      onStalled: () => this.#connection.drop("the server does not acknowledge"),
      moment: (now) => this.#moment(now),
      onFirst: (chat) => this.#journal?.first(chat),
      onSent: (chat, ack) => this.#onSent(chat, ack),
      onFailed: (chat, error) => this.#onFailed(chat, error.errno, error.errmsg),
    });
    this.#receipts = new Receipts(this.#clock, (ack) => this.#connection.send(ack));
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
    const answer = await this.#retrying(async (leftMs) => {
      await this.#connection.ready();
      const message = { msgid: MSGID.REGISTER, v: 2, name, password };
      return refused(await this.#connection.request(message, leftMs));
    }, { repeatable: false });
    if (answer.msgid === MSGID.REGISTER_ACK && answer.id !== undefined) return answer.id;
    throw unexpected("REGISTER", answer);
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
    const at = this.#clock.now();
    const chat: Outgoing = {
      cid: this.#newCid(at),
      from: user.id,
      toid: target.kind === "user" ? target.id : 0,
      groupid: target.kind === "group" ? target.id : 0,
      // JSON carries lone surrogates, UTF-8 does not.
      msg: msg.toWellFormed(),
      at,
    };
    checkSize(chat);
    this.#outbox.reserve(msg.length);
    if (this.#journal !== undefined) await this.#journal.append(chat);
    this.#outbox.add(chat);
    const queued = new QueuedChat(chat.cid);
    this.#queued.set(chat.cid, queued);
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
    const message = typeof who === "number" ? { friendid: who } : { name: who };
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
    const message = { msgid: MSGID.CREATE_GROUP, groupname, groupdesc };
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
    const message = typeof which === "number" ? { groupid: which } : { groupname: which };
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
    this.#receipts.clear();
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
    const until = this.#clock.now() + timeoutMs;
    while (this.#outbox.size > 0 && !this.#closed) {
      const leftMs = until - this.#clock.now();
      if (leftMs <= 0) return false;
      await this.#stateChange(leftMs);
    }
    return this.#outbox.size === 0;
  }

  /** Logs out: the token becomes void, the connection stays and can log in again. */
  async logout(): Promise<void> {
    this.#receipts.flush();
    const answer = await this.#request({ msgid: MSGID.LOGOUT }, false);
    if (answer.msgid !== MSGID.OK) throw unexpected("LOGOUT", answer);
    this.#sender.stop();
    this.#receipts.clear();
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
    this.#receipts.flush();
    const limit = pause(this.#clock, CLOSE_FLUSH_MS);
    await Promise.race([this.#connection.flushed(), limit.done]);
    limit.stop();
    this.#sender.stop();
    await this.#connection.close("the client was closed");
    await this.#journal?.close();
    for (const queued of this.#queued.values()) {
      queued.settle(new ConnectionLost("the client was closed"));
    }
    this.#queued.clear();
    this.#wakeWaiters();
    this.#events.close();
  }

  /** Tells the program of something that failed without belonging to a request. */
  report(errno: number, errmsg: string): void {
    this.#emit({ type: "error", errno, errmsg });
  }

  async #signIn(how: { login: Login } | { token: string }): Promise<Session> {
    await this.#retrying(() => this.#connection.logIn(how), { repeatable: true });
    const session = this.#session;
    if (session === undefined) throw new ConnectionLost("the connection was lost");
    return session;
  }

  async #request(message: object, repeatable: boolean): Promise<ServerMessage> {
    return await this.#retrying(async (leftMs) => {
      await this.#online(leftMs);
      return refused(await this.#connection.request(message, leftMs));
    }, { repeatable });
  }

  /**
   * Repeats what was refused for a passing reason and, when it is harmless to do it twice, what was
   * lost with a connection; all within the request time-out.
   */
  async #retrying<T>(
    attempt: (leftMs: number) => Promise<T>,
    { repeatable }: { repeatable: boolean },
  ): Promise<T> {
    const until = this.#clock.now() + this.#requestTimeoutMs;
    const backoff = new Backoff(this.#clock, 200, 5_000);
    while (true) {
      let waitMs: number;
      try {
        return await attempt(Math.max(1, until - this.#clock.now()));
      } catch (error) {
        const passing = error instanceof RequestError && (error.errno === 7 || error.errno === 9);
        const lost = error instanceof ConnectionLost && repeatable && this.#canComeBack();
        if (this.#closed || !(passing || lost)) throw error;
        waitMs = backoff.next(passing ? error.retryAfterMs : 0);
        if (this.#clock.now() + waitMs >= until) throw error;
      }
      await pause(this.#clock, waitMs).done;
    }
  }

  #canComeBack(): boolean {
    return this.#connection.state !== "offline";
  }

  async #online(timeoutMs: number): Promise<void> {
    const until = this.#clock.now() + timeoutMs;
    while (this.#connection.state !== "online") {
      const { state } = this.#connection;
      if (this.#user === undefined) throw new RequestError(3, "log in first");
      if (state === "offline" || this.#closed) throw new ConnectionLost("not connected");
      const leftMs = until - this.#clock.now();
      if (leftMs <= 0) throw new ConnectionLost("the server cannot be reached");
      await this.#stateChange(leftMs);
    }
  }

  /** Resolves when something in connection or outbox has changed, or after `timeoutMs`. */
  async #stateChange(timeoutMs: number): Promise<void> {
    const limit = pause(this.#clock, timeoutMs);
    this.#stateWaiters.push(limit.stop);
    await limit.done;
    this.#stateWaiters = this.#stateWaiters.filter((stop) => stop !== limit.stop);
  }

  #wakeWaiters(): void {
    const waiters = this.#stateWaiters;
    this.#stateWaiters = [];
    for (const wake of waiters) wake();
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
    this.#wakeWaiters();
  }

  #onOnline(ack: LoginAck, resumed: boolean): void {
    const id = ack.id ?? 0;
    if (this.#recipient !== id) {
      // Another user's messages are other messages. One's own, after a logout, are the same.
      this.#recipient = id;
      this.#dedupe = new Dedupe(DEDUPE_KEYS);
      this.#unhandled = new Map();
    }
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
    this.#receipts.clear();
    this.#emit({ type: "session", session, resumed });
    this.#sender.start(id);
  }

  #onMessage(message: ServerMessage): void {
    switch (message.msgid) {
      case MSGID.ONE_CHAT:
      case MSGID.GROUP_CHAT:
        return this.#onChat(message);
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

  #onChat(push: OneChatPush | GroupChatPush): void {
    const { msgid: _, ...message } = push;
    this.#sawMid(message.mid);
    const key = `${message.id}:${message.cid}`;
    const knownMid = this.#dedupe.seen(message.mid);
    const knownCid = this.#dedupe.seen(key);
    if (knownMid || knownCid) {
      const waiting = this.#unhandled.get(key);
      // Confirmed with the first one, once the program has that.
      if (waiting === undefined) this.#receipts.add(message.mid);
      else if (!waiting.includes(message.mid)) waiting.push(message.mid);
      return;
    }
    const unhandled = this.#unhandled;
    unhandled.set(key, [message.mid]);
    this.#emit({ type: "message", message }, () => {
      const mids = unhandled.get(key) ?? [];
      unhandled.delete(key);
      // Of a user who has logged out: it was theirs, and the server will hand it over again.
      if (unhandled !== this.#unhandled || this.#user === undefined) return;
      for (const mid of mids) this.#receipts.add(mid);
    });
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

  /** An id that grows with time: the server's index of them then grows at one end. */
  #newCid(now: number): string {
    const time = now.toString(36).padStart(9, "0");
    return `${time}-${this.#run}-${(++this.#cids).toString(36)}`;
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
    this.#queued.get(cid)?.settle(outcome);
    this.#queued.delete(cid);
    if (this.#outbox.size === 0) this.#wakeWaiters();
  }
}

/** A chat whose outcome may be asked for at any time; a promise is made only when it is. */
class QueuedChat implements Queued {
  readonly cid: string;
  #outcome: Sent | Error | undefined;
  #waiter: PromiseWithResolvers<Sent> | undefined;

  constructor(cid: string) {
    this.cid = cid;
  }

  acknowledged(): Promise<Sent> {
    if (this.#waiter === undefined) {
      this.#waiter = Promise.withResolvers<Sent>();
      if (this.#outcome !== undefined) this.settle(this.#outcome);
    }
    return this.#waiter.promise;
  }

  settle(outcome: Sent | Error): void {
    this.#outcome = outcome;
    if (outcome instanceof Error) this.#waiter?.reject(outcome);
    else this.#waiter?.resolve(outcome);
  }
}

function targetOf(chat: Outgoing): Target {
  return chat.groupid === 0 ? { kind: "user", id: chat.toid } : { kind: "group", id: chat.groupid };
}

/** @throws {RequestError} errno 4 for an empty text, 8 for one that fits no frame. */
function checkSize(chat: Outgoing): void {
  if (chat.msg.length === 0) throw new RequestError(4, "an empty message");
  if (chat.msg.length > MAX_TEXT_UNITS) {
    throw new RequestError(8, `a message has at most ${MAX_TEXT_UNITS} characters`);
  }
  // At most 3 bytes a unit, 6 when escaped: only a text that could pass the limit is measured.
  if (chat.msg.length * 6 + 256 < MAX_FRAME_BYTES) return;
  const longest = encodeChat(chat, Number.MAX_SAFE_INTEGER, LONGEST_FIRST);
  const bytes = new TextEncoder().encode(longest).length;
  if (bytes > MAX_FRAME_BYTES) {
    throw new RequestError(8, `this message takes ${bytes} bytes, at most ${MAX_FRAME_BYTES} pass`);
  }
}

/** The answer, unless it is a refusal. */
function refused(answer: ServerMessage): ServerMessage {
  if (!("errno" in answer) || answer.errno === 0) return answer;
  const after = "retryAfterMs" in answer ? answer.retryAfterMs : undefined;
  throw new RequestError(answer.errno, answer.errmsg ?? `errno ${answer.errno}`, after);
}

function unexpected(request: string, answer: ServerMessage): RequestError {
  return new RequestError(4, `${request} was answered with msgid ${answer.msgid}`);
}

/** 64 random bits: two runs of a client never share a cid. */
function randomText(): string {
  const words = crypto.getRandomValues(new Uint32Array(2));
  return Array.from(words, (word) => word.toString(36).padStart(7, "0")).join("");
}
