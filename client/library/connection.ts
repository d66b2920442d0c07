/**
 * Keeps a client connected to its server: connects, logs in again after a loss, notices a dead
 * peer. It knows no chats: what is not housekeeping goes to its owner. What logs in is the
 * authenticator's, whether and when to come back the reconnects'; here they meet one socket.
 *
 * Invariants: at most one socket; a loss is followed by a jittered wait, never by an immediate
 * attempt; without credentials, and a login that waits, nothing is retried; a refusal that a retry
 * cannot change (wrong password, session taken over) ends the retries.
 * Source: docs/protocol.md, "LOGIN, RESUME"; docs/client.md, "Reconnecting".
 */

import { type LoginAck, MSGID, type ServerMessage } from "@chat/wire/messages.ts";
import { Authenticator, type AuthenticatorOptions, type Credential } from "./authenticator.ts";
import { type Clock, pause } from "./clock.ts";
import { ConnectionLost } from "./errors.ts";
import type { ConnectionState } from "./events.ts";
import { Heartbeat } from "./heartbeat.ts";
import { type Ended, Reconnects } from "./reconnects.ts";
import { Requests } from "./requests.ts";
import type { Address, Dial, Dialled, Socket } from "./transport.ts";
import { SocketSlot } from "./socket_slot.ts";

/** Settings of a {@linkcode Connection}. */
export interface ConnectionOptions extends AuthenticatorOptions {
  readonly address: Address;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
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
  /** The server broke its protocol. */
  onMalformed(why: string): void;
}

/** The connection of one client. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #handlers: ConnectionHandlers;
  readonly #clock: Clock;
  readonly #requests: Requests;
  readonly #authenticator: Authenticator;
  readonly #reconnects: Reconnects;
  readonly #heartbeat: Heartbeat;
  readonly #slot = new SocketSlot();
  #state: ConnectionState = "offline";
  #loop: Promise<void> | undefined;
  /** Aborted by `close`. */
  readonly #closing = new AbortController();

  constructor(options: ConnectionOptions, handlers: ConnectionHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#clock = options.clock;
    this.#requests = new Requests(options.clock);
    this.#authenticator = new Authenticator(options, this.#requests);
    this.#heartbeat = new Heartbeat(options.clock);
    this.#reconnects = new Reconnects(options.clock, options.giveUpAfterMs);
  }

  /** How it stands now. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** It has what it takes to log in again. */
  get canComeBack(): boolean {
    return this.#authenticator.hasCredentials;
  }

  /** Resolves once connected. Without credentials it rejects at the first failure. */
  async ready(): Promise<void> {
    await this.#ready();
  }

  /** Logs in with a token in the background, again and again, until it works or is refused. */
  resumeInBackground(token: string): void {
    this.#authenticator.useToken(token);
    this.#start();
  }

  /**
   * Logs in now. What worked is kept in memory and used again after a lost connection.
   *
   * @throws {RequestError} The server refused.
   * @throws {ConnectionLost} No answer.
   */
  async logIn(how: Credential): Promise<void> {
    await this.#authenticator.logIn(await this.#ready(), how);
  }

  /** Forgets how to log in: a lost connection stays lost. */
  forget(): void {
    this.#authenticator.forget();
    this.#heartbeat.unwatch();
    this.#reconnects.endWait();
    if (this.#state === "online") this.#set("connected", "");
  }

  /** What logs in again after a refused token. */
  passwordChanged(password: string, token: string): void {
    this.#authenticator.passwordChanged(password, token);
  }

  /** Sends a message that has no answer. False when not connected. */
  send(message: object): boolean {
    return this.#slot.socket?.send(message) ?? false;
  }

  /** Sends JSON text. False when not connected. */
  sendText(text: string): boolean {
    return this.#slot.socket?.sendText(text) ?? false;
  }

  /**
   * Sends a request and waits for its answer.
   *
   * @throws {ConnectionLost} Not connected, or no answer in time.
   */
  request(message: object, deadlineMs: number): Promise<ServerMessage> {
    const { socket } = this.#slot;
    if (socket === undefined) return Promise.reject(new ConnectionLost("not connected"));
    const { req, answer } = this.#requests.open(deadlineMs);
    socket.send({ ...message, req });
    return answer;
  }

  /** Gives the present connection up; with credentials a new one follows. */
  drop(reason: string): void {
    this.#slot.socket?.close(reason);
  }

  /** Gives the present connection up unless the server is heard within so many ms. */
  probe(withinMs: number): void {
    if (this.#slot.socket !== undefined) this.#heartbeat.probe(this.#slot.socket, withinMs);
  }

  /** Tries now instead of waiting, also after retries have ended. */
  reconnect(): void {
    this.#reconnects.reset();
    if (!this.#reconnects.endWait() && this.canComeBack) this.#start();
  }

  /** Resolves when what was sent has left, the connection is gone, or `limitMs` have passed. */
  async flushed(limitMs: number): Promise<void> {
    const limit = pause(this.#clock, limitMs);
    await Promise.race([this.#slot.socket?.flushed(), limit.done]);
    limit.stop();
  }

  /** Ends everything. Idempotent. */
  async close(reason: string): Promise<void> {
    this.#closing.abort();
    this.#reconnects.endWait();
    this.#slot.socket?.close(reason);
    await this.#loop;
  }

  /** Connects for a request made without one: resolves once there is a socket. */
  async #ready(): Promise<Socket> {
    if (this.#closing.signal.aborted) throw new ConnectionLost("the client is closed");
    if (this.#slot.socket !== undefined) return this.#slot.socket;
    const socket = this.#slot.wait();
    this.#start();
    return await socket;
  }

  /** To connect for: a session to go on with, or a login that waits and brings its own. */
  get #hasReason(): boolean {
    return this.canComeBack || this.#slot.isAwaited;
  }

  #start(): void {
    if (this.#closing.signal.aborted) return;
    // The loop answers for its own failures; it rejects only on a defect.
    this.#loop ??= this.#run();
  }

  async #run(): Promise<void> {
    let reason = "";
    while (!this.#closing.signal.aborted) {
      this.#set("connecting", reason);
      const outcome = await this.#once();
      reason = outcome.reason;
      if (this.#closing.signal.aborted || outcome.final || !this.#hasReason) break;
      if (this.#reconnects.lost()) {
        reason = `gave up: ${reason}`;
        break;
      }
      await this.#reconnects.wait((waitMs) => this.#set("waiting", reason, waitMs));
      if (!this.#hasReason) break; // logged out meanwhile
    }
    this.#loop = undefined; // from here on `#start` begins a new one
    this.#slot.fail(reason || "the client is closed");
    this.#set("offline", this.#closing.signal.aborted ? "" : reason);
  }

  /** One connection from dial to close. */
  async #once(): Promise<Ended> {
    let dialled: Dialled;
    try {
      const { address, connectTimeoutMs, dial } = this.#options;
      dialled = await dial(address, connectTimeoutMs, this.#closing.signal);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#slot.fail(reason);
      return { reason, final: false };
    }
    if (this.#closing.signal.aborted) {
      dialled.close();
      return { reason: "", final: true };
    }
    const socket = this.#adopt(dialled);
    if (this.canComeBack) {
      const outcome = await this.#authenticator.signIn(socket);
      if (outcome !== "online") {
        socket.close("refused" in outcome ? outcome.refused : outcome.retry);
        this.#set("connecting", "");
        if ("refused" in outcome) {
          this.forget();
          return { reason: outcome.refused, final: !this.#hasReason };
        }
        this.#reconnects.asked(outcome.retryAfterMs);
        const { reason, final } = this.#reconnects.closed(outcome.retry);
        // A BYE may have made void what it signed in with; a login that waits brings its own.
        return { reason, final: final && (this.canComeBack || !this.#slot.isAwaited) };
      }
    }
    this.#slot.pass();
    return this.#reconnects.closed(await this.#slot.closed);
  }

  #adopt(dialled: Dialled): Socket {
    const socket = dialled.open({
      onMessage: (message) => this.#receive(message),
      onMalformed: (why) => this.#handlers.onMalformed(why),
      onClose: (reason) => this.#lost(reason),
    }, this.#clock.now);
    this.#slot.put(socket);
    this.#reconnects.connected();
    this.#set("connected", "");
    return socket;
  }

  #lost(reason: string): void {
    this.#slot.empty(reason);
    this.#authenticator.lost();
    this.#heartbeat.stop();
    const wasOnline = this.#state === "online";
    this.#requests.fail(reason);
    if (wasOnline) {
      // Not "offline" yet: what follows (waiting, or the end) is the loop's to say.
      this.#state = "connecting";
      this.#handlers.onOffline(reason);
    }
  }

  #receive(message: ServerMessage): void {
    switch (message.msgid) {
      case MSGID.PING:
        this.#slot.socket?.send({ msgid: MSGID.PONG, req: message.req });
        return;
      case MSGID.LOGIN_ACK: {
        // Before the promise of the answer, so that pushes in the same read come after it.
        const accepted = this.#authenticator.accept(message);
        if (accepted !== undefined) this.#online(message, accepted.resumed);
        this.#requests.settle(message);
        return;
      }
      case MSGID.BYE:
        this.#reconnects.bye(message);
        // The token is void, and the password it came from is not this account's any more.
        if (message.errno === 1) this.#authenticator.forget();
        this.#handlers.onMessage(message);
        return;
      default:
        if (!this.#requests.settle(message)) this.#handlers.onMessage(message);
    }
  }

  #online(ack: LoginAck, resumed: boolean): void {
    const { socket } = this.#slot;
    this.#reconnects.online();
    if (socket !== undefined) this.#heartbeat.watch(socket, ack.heartbeat);
    this.#set("online", "");
    this.#handlers.onOnline(ack, resumed);
  }

  #set(state: ConnectionState, reason: string, retryInMs?: number): void {
    if (state === this.#state && state !== "waiting") return;
    this.#state = state;
    this.#handlers.onState(state, reason, retryInMs);
  }
}
