/**
 * Drives the outbox: puts chats on the wire while a session is open, again after a refusal or a lost
 * connection, until each is acknowledged or refused for good.
 *
 * Invariant: after a passing refusal nothing leaves until the back-off is over, and then everything
 * from the refused chat on goes again, in order, under the same cids.
 * Source: docs/protocol.md, "Rules of delivery".
 */

import { type ChatAck, type ErrorMessage, MSGID } from "@chat/wire/messages.ts";
import { Backoff } from "./backoff.ts";
import type { Clock } from "./clock.ts";
import type { FirstSending, Outbox, Outgoing } from "./outbox.ts";

/** First wait after a refusal is up to this, in ms; doubled by every refusal in a row. */
const REFUSED_BASE_MS = 200;
/** No wait after a refusal is longer than this beyond what the server asked, in ms. */
const REFUSED_CAP_MS = 10_000;

/** An acknowledgement is late after this part of its time; then the server has this part to answer. */
const SLOW_PARTS = 5;
const PROBE_PARTS = 3;
const MIN_WATCH_MS = 10;

/** What a sender needs and tells. */
export interface SenderHandlers {
  /** Sends JSON text; false when there is no connection. */
  send(text: string): boolean;
  /** What is known at `now`, the client's time; undefined when the server's clock is not. */
  moment(now: number): FirstSending | undefined;
  /** A chat has gone to the wire for the first time. */
  onFirst(chat: Outgoing): void;
  /** An acknowledgement is late: the server may be gone, and has to be heard within so many ms. */
  onSlow(withinMs: number): void;
  /** The server has not acknowledged in time: the connection is of no use. */
  onStalled(): void;
  onSent(chat: Outgoing, ack: ChatAck): void;
  onFailed(chat: Outgoing, error: ErrorMessage): void;
}

/** Sends one client's chats. */
export class Sender {
  readonly #outbox: Outbox;
  readonly #clock: Clock;
  readonly #ackTimeoutMs: number;
  readonly #handlers: SenderHandlers;
  readonly #backoff: Backoff;
  #open = false;
  #cancelHold: (() => void) | undefined;
  #cancelWatch: (() => void) | undefined;

  /** @param ackTimeoutMs After which a missing CHAT_ACK means a dead connection. */
  constructor(outbox: Outbox, clock: Clock, ackTimeoutMs: number, handlers: SenderHandlers) {
    this.#outbox = outbox;
    this.#clock = clock;
    this.#ackTimeoutMs = ackTimeoutMs;
    this.#handlers = handlers;
    this.#backoff = new Backoff(clock, REFUSED_BASE_MS, REFUSED_CAP_MS);
  }

  /** A session of `user` is open: everything of theirs that is unacknowledged goes (again). */
  start(user: number): void {
    this.stop();
    this.#outbox.rewind(user);
    this.#open = true;
    this.pump();
  }

  /** The session is gone. */
  stop(): void {
    this.#open = false;
    this.#cancelHold?.();
    this.#cancelHold = undefined;
    this.#cancelWatch?.();
    this.#cancelWatch = undefined;
  }

  /** Sends what may be sent. */
  pump(): void {
    if (!this.#open || this.#cancelHold !== undefined) return;
    const now = this.#clock.now();
    while (true) {
      const entry = this.#outbox.take(now);
      if (entry === undefined) break;
      const { chat, attempts } = entry;
      // A connection that is gone ends in `stop`, and `start` sends this again.
      if (!this.#handlers.send(encodeChat(chat, attempts, chat.first))) break;
      if (chat.first === undefined) this.#goesFirst(chat, now);
    }
    this.#watch();
  }

  /** CHAT_ACK. */
  acknowledged(ack: ChatAck): void {
    const chat = this.#outbox.settle(ack.cid);
    if (chat === undefined) return; // an earlier sending was acknowledged before
    this.#backoff.reset();
    this.#handlers.onSent(chat, ack);
    this.pump();
  }

  /** ERROR with a cid. */
  refused(error: ErrorMessage, cid: string): void {
    const passing = error.errno === 7 || error.errno === 9;
    if (passing) {
      const attempt = typeof error.req === "number" ? error.req : undefined;
      if (!this.#outbox.refuse(cid, attempt)) return;
      this.#cancelHold?.();
      this.#cancelHold = this.#clock.after(this.#backoff.next(error.retryAfterMs), () => {
        this.#cancelHold = undefined;
        this.pump();
      });
      return;
    }
    const chat = this.#outbox.settle(cid);
    if (chat === undefined) return;
    this.#handlers.onFailed(chat, error);
    this.pump();
  }

  #goesFirst(chat: Outgoing, now: number): void {
    const first = this.#handlers.moment(now);
    if (first === undefined) return;
    chat.first = first;
    this.#handlers.onFirst(chat);
  }

  /** One timer for the oldest chat on the wire. */
  #watch(): void {
    const oldest = this.#outbox.oldestSentAt();
    if (oldest === 0 || this.#cancelWatch !== undefined) return;
    const slowMs = this.#ackTimeoutMs / SLOW_PARTS;
    const leftMs = oldest + this.#ackTimeoutMs - this.#clock.now();
    const nextMs = Math.max(MIN_WATCH_MS, Math.min(slowMs, leftMs));
    this.#cancelWatch = this.#clock.after(nextMs, () => {
      this.#cancelWatch = undefined;
      const since = this.#outbox.oldestSentAt();
      const waitedMs = since === 0 ? 0 : this.#clock.now() - since;
      if (waitedMs >= this.#ackTimeoutMs) return this.#handlers.onStalled();
      if (waitedMs >= slowMs) this.#handlers.onSlow(this.#ackTimeoutMs / PROBE_PARTS);
      this.#watch();
    });
  }
}

/**
 * A chat as it goes over the wire. `req` numbers its sendings, so that a late refusal of an earlier
 * one is not taken for its own.
 *
 * @param attempt Which sending of this run it is, from 1.
 * @param first When it was first sent; undefined when this is the first time.
 */
export function encodeChat(chat: Outgoing, attempt: number, first?: FirstSending): string {
  const head = chat.groupid === 0
    ? `{"msgid":${MSGID.ONE_CHAT},"toid":${chat.toid}`
    : `{"msgid":${MSGID.GROUP_CHAT},"groupid":${chat.groupid}`;
  const seen = first === undefined || first.seen === ""
    ? ""
    : `,"seen":${JSON.stringify(first.seen)}`;
  const again = first === undefined ? "" : `,"at":${first.at}${seen}`;
  const text = JSON.stringify(chat.msg);
  return `${head},"cid":${JSON.stringify(chat.cid)},"req":${attempt}${again},"msg":${text}}`;
}
