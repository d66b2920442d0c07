/**
 * The way to the server over time: connects, logs in again after a loss, notices a dead peer.
 * It knows no chats: what is not housekeeping goes to its owner.
 *
 * Invariants: at most one socket; a loss is followed by a jittered wait, never by an immediate
 * attempt; without credentials nothing is retried; a refusal that a retry cannot change (wrong
 * password, session taken over) ends the retries.
 * Source: docs/protocol.md, "Sessions"; docs/client.md, "Reconnecting".
 */

import { type LoginAck, MSGID, type ServerMessage, type Want } from "@chat/wire/messages.ts";
import { Backoff } from "./backoff.ts";
import { type Clock, pause } from "./clock.ts";
import { ConnectionLost, RequestError } from "./errors.ts";
import type { ConnectionState } from "./events.ts";
import { probe, watch } from "./heartbeat.ts";
import { Requests } from "./requests.ts";
import { type Address, dial, Socket } from "./socket.ts";

/** First reconnect waits up to this, in ms; doubled by every failure. */
const RECONNECT_BASE_MS = 500;
/** No reconnect waits longer than this beyond what the server asked, in ms. */
const RECONNECT_CAP_MS = 5_000;
/** A session that lasted so long was a success: the next loss starts with short waits again. */
const STABLE_SESSION_MS = 2_000;
/** Heartbeat in seconds when the server names none. */
const DEFAULT_HEARTBEAT_S = 30;

/** A name or an id, and its password. */
export type Login =
  & { readonly password: string }
  & ({ readonly name: string } | { readonly id: number });

/** What logs in without asking anybody. */
export interface Credentials {
  readonly token: string | undefined;
  readonly login: Login | undefined;
}

/** Settings of a {@linkcode Connection}. */
export interface ConnectionOptions {
  readonly address: Address;
  readonly clock: Clock;
  readonly want: readonly Want[];
  /** Name of this device: a token is good on it only. */
  readonly device: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** An outage longer than this ends the retries. */
  readonly giveUpAfterMs: number;
}

/** What a connection tells its owner. */
export interface ConnectionHandlers {
  onState(state: ConnectionState, reason: string, retryInMs?: number): void;
  /** Logged in; called before any message that follows the LOGIN_ACK. */
  onOnline(ack: LoginAck, resumed: boolean): void;
  /** The session that was online is gone. */
  onOffline(reason: string): void;
  /** A message that answers no request. */
  onMessage(message: ServerMessage): void;
  /** The greatest `mid` that has come; "" for none. */
  seen(): string;
  /** The server broke its protocol. */
  onMalformed(why: string): void;
}

type SignIn = "online" | { readonly refused: string } | {
  readonly retry: string;
  readonly retryAfterMs: number;
};

/** The connection of one client. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #handlers: ConnectionHandlers;
  readonly #clock: Clock;
  readonly #requests: Requests;
  readonly #backoff: Backoff;
  #credentials: Credentials = { token: undefined, login: undefined };
  #state: ConnectionState = "offline";
  #socket: Socket | undefined;
  /** Resolves with the reason when `#socket` closes. */
  #socketClosed = Promise.withResolvers<string>();
  #loop: Promise<void> | undefined;
  #closing = false;
  /** Cuts the wait before a retry short. */
  #retryNow: (() => void) | undefined;
  /** Calls of `ready` that wait for a socket. */
  #readyWaiters: PromiseWithResolvers<Socket>[] = [];
  /** `req` of the LOGIN or RESUME that waits for its answer. */
  #signIn:
    | { readonly req: number; readonly resumed: boolean; readonly login: Login | undefined }
    | undefined;
  #onlineSinceMs = 0;
  #outageSinceMs = 0;
  #retryAfterMs = 0;
  /** Set by a BYE after which coming back would be wrong. */
  #finalBye: string | undefined;
  #stopHeartbeat: (() => void) | undefined;
  #stopProbe: (() => void) | undefined;

  constructor(options: ConnectionOptions, handlers: ConnectionHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#clock = options.clock;
    this.#requests = new Requests(options.clock);
    this.#backoff = new Backoff(options.clock, RECONNECT_BASE_MS, RECONNECT_CAP_MS);
  }

  /** How it stands now. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** It has what it takes to log in again. */
  get canComeBack(): boolean {
    return this.#credentials.token !== undefined || this.#credentials.login !== undefined;
  }

  /** Resolves once connected. Without credentials it rejects at the first failure. */
  async ready(): Promise<void> {
    await this.#ready();
  }

  /** Logs in with a token in the background, again and again, until it works or is refused. */
  resumeInBackground(token: string): void {
    this.#credentials = { token, login: this.#credentials.login };
    this.#start();
  }

  /**
   * Logs in now. What worked is kept in memory and used again after a lost connection.
   *
   * @throws {RequestError} The server refused.
   * @throws {ConnectionLost} No answer.
   */
  async logIn(how: { readonly login: Login } | { readonly token: string }): Promise<void> {
    const socket = await this.#ready();
    const ack = await this.#ask(socket, how);
    if (ack.errno !== 0) throw refusal(ack);
  }

  /** Forgets how to log in: a lost connection stays lost. */
  forget(): void {
    this.#credentials = { token: undefined, login: undefined };
    this.#stopHeartbeat?.();
    if (this.#state === "online") this.#set("connected", "");
  }

  /** What logs in again after a refused token. */
  passwordChanged(password: string): void {
    const { token, login } = this.#credentials;
    if (login !== undefined) this.#credentials = { token, login: { ...login, password } };
  }

  /** Sends a message that has no answer. False when not connected. */
  send(message: object): boolean {
    return this.#socket?.send(message) ?? false;
  }

  /** Sends JSON text. False when not connected. */
  sendText(text: string): boolean {
    return this.#socket?.sendText(text) ?? false;
  }

  /**
   * Sends a request and waits for its answer.
   *
   * @throws {ConnectionLost} Not connected, or no answer in time.
   */
  request(message: object, deadlineMs: number): Promise<ServerMessage> {
    const socket = this.#socket;
    if (socket === undefined) return Promise.reject(new ConnectionLost("not connected"));
    const { req, answer } = this.#requests.open(deadlineMs);
    socket.send({ ...message, req });
    return answer;
  }

  /** Connects for a request made without one: resolves once there is a socket. */
  async #ready(): Promise<Socket> {
    if (this.#closing) throw new ConnectionLost("the client is closed");
    if (this.#socket !== undefined) return this.#socket;
    const waiter = Promise.withResolvers<Socket>();
    this.#readyWaiters.push(waiter);
    this.#start();
    return await waiter.promise;
  }

  /** Gives the present connection up; with credentials a new one follows. */
  drop(reason: string): void {
    this.#socket?.close(reason);
  }

  /** Gives the present connection up unless the server is heard within so many ms. */
  probe(withinMs: number): void {
    if (this.#socket === undefined || this.#stopProbe !== undefined) return;
    const onEnd = () => this.#stopProbe = undefined;
    this.#stopProbe = probe(this.#socket, this.#clock, withinMs, onEnd);
  }

  /** Tries now instead of waiting, also after retries have ended. */
  reconnect(): void {
    this.#backoff.reset();
    this.#finalBye = undefined;
    this.#outageSinceMs = 0;
    if (this.#retryNow !== undefined) this.#retryNow();
    else if (this.canComeBack) this.#start();
  }

  /** Resolves when what was sent has left, or the connection is gone. */
  async flushed(): Promise<void> {
    await this.#socket?.flushed();
  }

  /** Ends everything. Idempotent. */
  async close(reason: string): Promise<void> {
    this.#closing = true;
    this.#retryNow?.();
    this.#socket?.close(reason);
    await this.#loop;
  }

  #start(): void {
    if (this.#closing) return;
    // The loop answers for its own failures; it rejects only on a defect.
    this.#loop ??= this.#run();
  }

  async #run(): Promise<void> {
    let reason = "";
    while (!this.#closing) {
      this.#set("connecting", reason);
      const outcome = await this.#once();
      reason = outcome.reason;
      if (this.#closing || outcome.final || !this.canComeBack) break;
      if (this.#onlineSinceMs !== 0) {
        if (this.#clock.now() - this.#onlineSinceMs >= STABLE_SESSION_MS) this.#backoff.reset();
        this.#onlineSinceMs = 0;
        this.#outageSinceMs = 0;
      }
      this.#outageSinceMs ||= this.#clock.now();
      if (this.#clock.now() - this.#outageSinceMs > this.#options.giveUpAfterMs) {
        reason = `gave up: ${reason}`;
        break;
      }
      await this.#wait(reason);
    }
    this.#loop = undefined; // from here on `#start` begins a new one
    this.#failReady(reason || "the client is closed");
    this.#set("offline", this.#closing ? "" : reason);
  }

  /** One connection from dial to close. */
  async #once(): Promise<{ readonly reason: string; readonly final: boolean }> {
    let conn: Deno.Conn;
    try {
      conn = await dial(this.#options.address, this.#options.connectTimeoutMs);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#failReady(reason);
      return { reason, final: false };
    }
    if (this.#closing) {
      conn.close();
      return { reason: "", final: true };
    }
    const socket = this.#adopt(conn);
    const { token, login } = this.#credentials;
    if (token !== undefined || login !== undefined) {
      const outcome = await this.#authenticate(socket);
      if (outcome !== "online") {
        socket.close("refused" in outcome ? outcome.refused : outcome.retry);
        this.#set("connecting", "");
        if ("refused" in outcome) {
          this.forget();
          this.#failReady(outcome.refused);
          return { reason: outcome.refused, final: true };
        }
        this.#retryAfterMs = outcome.retryAfterMs;
        return { reason: outcome.retry, final: false };
      }
    }
    this.#passReady(socket);
    const reason = await this.#socketClosed.promise;
    return { reason: this.#finalBye ?? reason, final: this.#finalBye !== undefined };
  }

  #adopt(conn: Deno.Conn): Socket {
    this.#socketClosed = Promise.withResolvers<string>();
    this.#finalBye = undefined;
    const closed = this.#socketClosed;
    const socket = new Socket(conn, {
      onMessage: (message) => this.#receive(message),
      onMalformed: (why) => this.#handlers.onMalformed(why),
      onClose: (reason) => {
        this.#lost(reason);
        closed.resolve(reason);
      },
    }, this.#clock.now);
    this.#socket = socket;
    this.#set("connected", "");
    return socket;
  }

  #lost(reason: string): void {
    this.#socket = undefined;
    this.#signIn = undefined;
    this.#stopHeartbeat?.();
    this.#stopProbe?.();
    this.#stopProbe = undefined;
    const wasOnline = this.#state === "online";
    this.#requests.fail(reason);
    if (wasOnline) {
      // Not "offline" yet: what follows (waiting, or the end) is the loop's to say.
      this.#state = "connecting";
      this.#handlers.onOffline(reason);
    }
  }

  async #authenticate(socket: Socket): Promise<SignIn> {
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

  async #ask(
    socket: Socket,
    how: { readonly login: Login } | { readonly token: string },
  ): Promise<LoginAck> {
    if (this.#signIn !== undefined) throw new RequestError(9, "a login is under way");
    // Lost between the moment it was there and now: nobody would tell this request.
    if (socket.closed) throw new ConnectionLost("the connection was lost");
    const { req, answer } = this.#requests.open(this.#options.requestTimeoutMs);
    const resumed = "token" in how;
    const login = resumed ? this.#credentials.login : how.login;
    this.#signIn = { req, resumed, login };
    const { want, device } = this.#options;
    const seen = this.#handlers.seen();
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
    } finally {
      if (this.#signIn?.req === req) this.#signIn = undefined;
    }
  }

  #receive(message: ServerMessage): void {
    switch (message.msgid) {
      case MSGID.PING:
        this.#socket?.send({ msgid: MSGID.PONG, req: message.req });
        return;
      case MSGID.LOGIN_ACK:
        // Before the promise of the answer, so that pushes in the same read come after it.
        if (message.errno === 0 && message.req === this.#signIn?.req) this.#online(message);
        this.#requests.settle(message);
        return;
      case MSGID.BYE:
        this.#retryAfterMs = message.retryAfterMs ?? 0;
        if (isFinal(message.errno)) this.#finalBye = message.errmsg;
        this.#handlers.onMessage(message);
        return;
      default:
        if (!this.#requests.settle(message)) this.#handlers.onMessage(message);
    }
  }

  #online(ack: LoginAck): void {
    const resumed = this.#signIn?.resumed ?? false;
    this.#credentials = { token: ack.token, login: this.#signIn?.login };
    this.#onlineSinceMs = this.#clock.now();
    this.#retryAfterMs = 0;
    this.#stopHeartbeat?.();
    const heartbeatMs = (ack.heartbeat ?? DEFAULT_HEARTBEAT_S) * 1000;
    if (this.#socket !== undefined) {
      this.#stopHeartbeat = watch(this.#socket, this.#clock, heartbeatMs);
    }
    this.#set("online", "");
    this.#handlers.onOnline(ack, resumed);
  }

  async #wait(reason: string): Promise<void> {
    const waitMs = this.#backoff.next(this.#retryAfterMs);
    this.#retryAfterMs = 0;
    this.#set("waiting", reason, waitMs);
    const wait = pause(this.#clock, waitMs);
    this.#retryNow = wait.stop;
    await wait.done;
    this.#retryNow = undefined;
  }

  #set(state: ConnectionState, reason: string, retryInMs?: number): void {
    if (state === this.#state && state !== "waiting") return;
    this.#state = state;
    this.#handlers.onState(state, reason, retryInMs);
  }

  #passReady(socket: Socket): void {
    const waiters = this.#readyWaiters;
    this.#readyWaiters = [];
    for (const waiter of waiters) {
      if (socket.closed) waiter.reject(new ConnectionLost("the connection was lost"));
      else waiter.resolve(socket);
    }
  }

  #failReady(reason: string): void {
    const waiters = this.#readyWaiters;
    this.#readyWaiters = [];
    for (const waiter of waiters) waiter.reject(new ConnectionLost(reason));
  }
}

/** BYE errnos after which the same session must not come back by itself. */
function isFinal(errno: number): boolean {
  // 1: logged out or revoked; 2: another client has taken the session; 6: forbidden.
  return errno === 1 || errno === 2 || errno === 6;
}

function retry(ack: LoginAck): SignIn {
  return { retry: ack.errmsg ?? `errno ${ack.errno}`, retryAfterMs: ack.retryAfterMs ?? 0 };
}

function refusal(ack: LoginAck): RequestError {
  return new RequestError(ack.errno, ack.errmsg ?? `errno ${ack.errno}`, ack.retryAfterMs);
}
