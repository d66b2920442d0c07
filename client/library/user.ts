/**
 * The user of a client: who it is, and what comes and goes in their name, messages on their way to the
 * program and chats on their way to the server. How they log in is the connection's.
 *
 * Invariants: a lost connection changes nothing about who it is, only a logout does; nothing goes out
 * in the name of somebody who has logged out.
 */

import { type LoginAck, MSGID, type ServerMessage } from "@chat/wire/messages.ts";
import { sessionOf } from "./answers.ts";
import { CausalContext } from "./causal_context.ts";
import type { Clock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import { RequestError } from "./errors.ts";
import type { ClientEvent, Session, Target } from "./events.ts";
import { Inbox } from "./inbox.ts";
import type { OutboxStore } from "./transport.ts";
import type { Queued } from "./options.ts";
import type { Outgoing } from "./outbox.ts";
import { OutgoingChats } from "./outgoing_chats.ts";

/** What a {@linkcode User} needs and tells. */
export interface UserOptions {
  readonly clock: Clock;
  readonly connection: Connection;
  /** The outbox file, if there is one. */
  readonly journal: OutboxStore | undefined;
  /** Chats of an earlier run, in order. */
  readonly waiting: readonly Outgoing[];
  /** Most chats waiting. */
  readonly maxOutbox: number;
  readonly ackTimeoutMs: number;
  /** Tells the program, which calls `handled` when it has dealt with it. */
  emit(event: ClientEvent, handled?: () => void): void;
  /** A chat was acknowledged, or has failed. */
  onSettled(): void;
}

/** The user of one client. */
export class User {
  readonly #options: UserOptions;
  readonly #context = new CausalContext();
  readonly #inbox: Inbox;
  /** Also those of users who were logged in before. */
  readonly chats: OutgoingChats;
  #identity: { readonly id: number; readonly name: string } | undefined;
  /** Whose chats are the program's concern: who is logged in, or was last; 0 for nobody. */
  #latest = 0;
  #session: Session | undefined;

  constructor(options: UserOptions) {
    const { clock, connection, journal, waiting, maxOutbox, ackTimeoutMs } = options;
    this.#options = options;
    this.#inbox = new Inbox(
      clock,
      // Before the answer to a login it would be in nobody's name; the message comes again.
      (ack) => connection.state === "online" && connection.send(ack),
      (message, handled) => options.emit({ type: "message", message }, handled),
    );
    this.chats = new OutgoingChats({
      clock,
      connection,
      context: this.#context,
      journal,
      waiting,
      maxEntries: maxOutbox,
      ackTimeoutMs,
      onEvent: (event) => options.emit(event),
      onSettled: () => options.onSettled(),
    });
  }

  /** Somebody has logged in, now or in an earlier run, and not out again. */
  get isKnown(): boolean {
    return this.#identity !== undefined;
  }

  /** None of their chats is unacknowledged. Those of others who share the outbox file do not count. */
  get isDrained(): boolean {
    return !this.chats.has(this.#latest);
  }

  /** The session; undefined before the first LOGIN_ACK, and after a logout. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** The greatest `mid` that has come; "" for none. */
  get seen(): string {
    return this.#context.seen;
  }

  /** Who it is, of an earlier run: chats can be queued before the session is open. */
  recall(id: number, name: string): void {
    this.#identity = { id, name };
    this.#latest = id;
  }

  /** A session is open. */
  online(ack: LoginAck, resumed: boolean): void {
    const session = sessionOf(ack);
    const { id, name } = session;
    this.#inbox.open(id);
    this.#identity = { id, name };
    this.#latest = id;
    this.#session = session;
    this.#context.told(ack.now, this.#options.clock.now());
    this.#options.emit({ type: "session", session, resumed });
    this.chats.start(id);
  }

  /** A request has changed the session's lists. */
  changeSession(change: (session: Session) => Session): void {
    if (this.#session === undefined) return;
    this.#session = change(this.#session);
    this.#options.emit({ type: "session_changed", session: this.#session });
  }

  /** The connection is gone. */
  offline(): void {
    this.chats.stop();
    this.#inbox.lost();
  }

  /** The user has logged out: what the connection carries from now on is in nobody's name. */
  leave(): void {
    this.chats.stop();
    this.#inbox.close();
    this.#session = undefined;
    this.#identity = undefined;
  }

  /** The account was deleted: {@linkcode leave}, and what is unsent of theirs has failed. */
  deleted(): void {
    this.leave();
    this.chats.fail(this.#latest, 1, "the account was deleted");
  }

  /**
   * Queues a chat. With an outbox file it is on disk when this resolves.
   *
   * @throws {OutboxFull} Too much waits.
   * @throws {RequestError} errno 3: no user yet; 4: an empty text; 8: too long.
   */
  async send(target: Target, msg: string): Promise<Queued> {
    if (this.#identity === undefined) throw new RequestError(3, "log in first");
    return await this.chats.send(this.#identity.id, target, msg);
  }

  /** A message has come, in whatever way; "" for none. */
  saw(mid: string): void {
    this.#context.saw(mid);
  }

  /** Confirms the messages that the program has dealt with. */
  confirm(): void {
    this.#inbox.flush();
  }

  /** Confirms nothing more until {@linkcode confirm}: after a LOGOUT it would be in nobody's name. */
  holdReceipts(): void {
    this.#inbox.hold();
  }

  /** Takes a message, or what became of a chat. False when it is neither. */
  take(message: ServerMessage): boolean {
    switch (message.msgid) {
      case MSGID.ONE_CHAT:
      case MSGID.GROUP_CHAT:
        this.#context.saw(message.mid);
        this.#inbox.take(message);
        return true;
      case MSGID.CHAT_ACK:
        this.chats.acknowledged(message);
        return true;
      case MSGID.ERROR:
        if (message.cid === undefined) return false;
        this.chats.refused(message, message.cid);
        return true;
      default:
        return false;
    }
  }
}
