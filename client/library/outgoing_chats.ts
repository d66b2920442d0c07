/**
 * The user's own chats from the moment they are queued until the server has them, or has refused them:
 * the outbox, its file, the sender that empties it, and those who wait.
 *
 * Invariant: a chat that was queued is sent until it is acknowledged or refused for good, under one
 * cid; with an outbox file it is on disk before it is sent.
 */

import type { ChatAck, ErrorMessage } from "@chat/wire/messages.ts";
import type { CausalContext } from "./causal_context.ts";
import type { Clock } from "./clock.ts";
import { Composer } from "./compose.ts";
import type { Connection } from "./connection.ts";
import { RequestError } from "./errors.ts";
import type { ClientEvent, Target } from "./events.ts";
import type { OutboxStore } from "./transport.ts";
import type { Queued, Sent } from "./options.ts";
import { Outbox, type Outgoing, targetOf } from "./outbox.ts";
import { QueuedChats } from "./queued_chats.ts";
import { Sender } from "./sender.ts";

/** Most chats on the wire without an acknowledgement. */
const SEND_WINDOW = 128;
/** Most text waiting, in UTF-16 units. */
const MAX_UNITS = 16 * 1024 * 1024;

/** What the chats need and tell. */
export interface OutgoingChatsOptions {
  readonly clock: Clock;
  readonly connection: Connection;
  readonly context: CausalContext;
  /** The outbox file, if there is one. */
  readonly journal: OutboxStore | undefined;
  /** Chats of an earlier run, in order. */
  readonly waiting: readonly Outgoing[];
  readonly maxEntries: number;
  readonly ackTimeoutMs: number;
  /** `sent` or `failed`. */
  onEvent(event: ClientEvent): void;
  /** One was acknowledged, or has failed. */
  onSettled(): void;
}

/** The chats of one client. */
export class OutgoingChats {
  readonly #options: OutgoingChatsOptions;
  readonly #composer = new Composer();
  readonly #outbox: Outbox;
  readonly #queued = new QueuedChats();
  readonly #sender: Sender;
  /** Users whose chats have all failed, and why: so do those that are being written to the file. */
  readonly #failed = new Map<number, RequestError>();

  constructor(options: OutgoingChatsOptions) {
    const { clock, connection, context, journal } = options;
    this.#options = options;
    this.#outbox = new Outbox({
      maxEntries: options.maxEntries,
      maxUnits: MAX_UNITS,
      window: SEND_WINDOW,
    });
    for (const chat of options.waiting) this.#outbox.add(chat);
    this.#sender = new Sender(this.#outbox, clock, options.ackTimeoutMs, {
      send: (text) => connection.sendText(text),
      onSlow: (withinMs) => connection.probe(withinMs),
      onStalled: () => connection.drop("the server does not acknowledge"),
      moment: (now) => context.at(now),
      onFirst: (chat) => journal?.first(chat),
      onSent: (chat, ack) => this.#onSent(chat, ack),
      onFailed: (chat, error) => this.#onFailed(chat, error.errno, error.errmsg),
    });
  }

  /** Chats that the server has not acknowledged, in order. */
  get unsent(): readonly Outgoing[] {
    return [...this.#outbox];
  }

  /** Whether a chat of `user` is unacknowledged. */
  has(user: number): boolean {
    for (const chat of this.#outbox) {
      if (chat.from === user) return true;
    }
    return false;
  }

  /**
   * Queues a chat of user `from`. With an outbox file it is on disk when this resolves.
   *
   * @throws {OutboxFull} Too much waits.
   * @throws {RequestError} errno 1: the user is gone; 4: an empty text; 8: too long.
   */
  async send(from: number, target: Target, msg: string): Promise<Queued> {
    const { clock, journal } = this.#options;
    const chat = this.#composer.compose(from, target, msg, clock.now());
    this.#outbox.reserve(chat);
    try {
      await journal?.append(chat);
    } finally {
      this.#outbox.release(chat);
    }
    const failure = this.#failed.get(from);
    if (failure !== undefined) {
      journal?.done(chat.cid);
      throw failure;
    }
    this.#outbox.add(chat);
    const queued = this.#queued.add(chat.cid);
    this.#sender.pump();
    return queued;
  }

  /** A session of `user` is open: what is theirs goes to the wire. */
  start(user: number): void {
    this.#sender.start(user);
  }

  /** The session is gone; what is unsent stays. */
  stop(): void {
    this.#sender.stop();
  }

  /** CHAT_ACK. */
  acknowledged(ack: ChatAck): void {
    this.#sender.acknowledged(ack);
  }

  /** ERROR with a cid. */
  refused(error: ErrorMessage, cid: string): void {
    // The server no longer knows the session: a new one sends everything again.
    if (error.errno === 3) this.#options.connection.drop(error.errmsg);
    else this.#sender.refused(error, cid);
  }

  /** Everything of `user` that is unsent has failed, for good. */
  fail(user: number, errno: number, errmsg: string): void {
    this.#failed.set(user, new RequestError(errno, errmsg));
    for (const chat of [...this.#outbox]) {
      if (chat.from !== user) continue;
      this.#outbox.settle(chat.cid);
      this.#onFailed(chat, errno, errmsg);
    }
  }

  /** Lets the outbox file go, with what is unsent in it, and tells those who wait. */
  async close(error: Error): Promise<void> {
    await this.#options.journal?.close();
    this.#queued.abandon(error);
  }

  #onSent(chat: Outgoing, { cid, mid, ts }: Sent): void {
    this.#options.context.saw(mid);
    this.#options.journal?.done(cid);
    this.#options.onEvent({ type: "sent", cid, mid, ts, target: targetOf(chat), msg: chat.msg });
    this.#settle(cid, { cid, mid, ts });
  }

  #onFailed(chat: Outgoing, errno: number, errmsg: string): void {
    const { cid, msg } = chat;
    this.#options.journal?.done(cid);
    this.#options.onEvent({ type: "failed", cid, errno, errmsg, target: targetOf(chat), msg });
    this.#settle(cid, new RequestError(errno, errmsg));
  }

  #settle(cid: string, outcome: Sent | Error): void {
    this.#queued.settle(cid, outcome);
    this.#options.onSettled();
  }
}
