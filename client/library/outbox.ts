/**
 * Chats that the server has not acknowledged, in the order they were given. No I/O and no timers.
 *
 * Invariants: a chat stays until it is acknowledged or refused for good; chats leave for the wire in
 * order; what is in flight is always a prefix of what is here (for the user that is logged in).
 */

import { OutboxFull } from "./errors.ts";
import type { Target } from "./events.ts";

/** What a chat's sender knew when it first went to the wire; told to the server when it goes again. */
export interface FirstSending {
  /** By the server's clock, epoch ms; rather too early than too late. */
  readonly at: number;
  /** The greatest `mid` that had come; "" for none. */
  readonly seen: string;
}

/** A chat that waits for its CHAT_ACK. */
export interface Outgoing {
  /** The sender's id of it: unique for ever, kept across every sending. */
  readonly cid: string;
  /** Who wrote it: it is sent in this user's session only. */
  readonly from: number;
  /** Recipient, or 0 for a group's chat. */
  readonly toid: number;
  /** Group, or 0 for a chat to one user. */
  readonly groupid: number;
  /** The text. */
  readonly msg: string;
  /** When it was queued, epoch ms. */
  readonly at: number;
  /** Set when it first goes to the wire, and never again. */
  first?: FirstSending;
}

/** Whom a chat is for. */
export function targetOf(chat: Outgoing): Target {
  return chat.groupid === 0 ? { kind: "user", id: chat.toid } : { kind: "group", id: chat.groupid };
}

/** An outgoing chat with what the outbox knows of it. */
export interface Entry {
  readonly chat: Outgoing;
  /** When it last went to the wire, epoch ms; 0 while it has not. */
  sentAt: number;
  /** How often it went to the wire. */
  attempts: number;
}

/** Limits of an {@linkcode Outbox}. */
export interface OutboxLimits {
  /** Most chats waiting. */
  readonly maxEntries: number;
  /** Most text waiting, in UTF-16 units. */
  readonly maxUnits: number;
  /** Most chats on the wire without an acknowledgement. */
  readonly window: number;
}

/** The chats of one client. */
export class Outbox {
  readonly #limits: OutboxLimits;
  /** cid ⇒ entry, in sending order. */
  readonly #entries = new Map<string, Entry>();
  /** Text of all chats, those with room reserved included. */
  #units = 0;
  #reserved = 0;
  #user = 0;
  #unsent: Entry[] = [];
  /** Index of the first of `#unsent` that has not left; the array is cut when it is used up. */
  #head = 0;
  #inFlight = 0;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  /** Chats that wait for an acknowledgement. */
  get size(): number {
    return this.#entries.size;
  }

  /** Chats on the wire. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Every waiting chat, in order. */
  *[Symbol.iterator](): Generator<Outgoing> {
    for (const entry of this.#entries.values()) yield entry.chat;
  }

  /**
   * Keeps room for a chat until `release`.
   *
   * @throws {OutboxFull} There is none.
   */
  reserve(chat: Outgoing): void {
    const { maxEntries, maxUnits } = this.#limits;
    const entries = this.#entries.size + this.#reserved;
    if (entries >= maxEntries || this.#units + chat.msg.length > maxUnits) {
      throw new OutboxFull(`${entries} messages wait to be sent; try again later`);
    }
    this.#reserved++;
    this.#units += chat.msg.length;
  }

  /** Gives up the room that was kept: the chat is added now, or not at all. */
  release(chat: Outgoing): void {
    this.#reserved--;
    this.#units -= chat.msg.length;
  }

  /** Appends a chat. Its cid must be new. */
  add(chat: Outgoing): void {
    const entry: Entry = { chat, sentAt: 0, attempts: 0 };
    this.#entries.set(chat.cid, entry);
    this.#units += chat.msg.length;
    if (chat.from === this.#user) this.#unsent.push(entry);
  }

  /** Whose chats may leave; 0 for nobody. Everything of theirs is to be sent (again). */
  rewind(user: number): void {
    this.#user = user;
    this.#inFlight = 0;
    this.#head = 0;
    this.#unsent = [];
    for (const entry of this.#entries.values()) {
      entry.sentAt = 0;
      if (entry.chat.from === user && user !== 0) this.#unsent.push(entry);
    }
  }

  /** The next chat to put on the wire, marked as sent at `now`; undefined while there is none. */
  take(now: number): Entry | undefined {
    if (this.#inFlight >= this.#limits.window) return undefined;
    const entry = this.#unsent[this.#head];
    if (entry === undefined) return undefined;
    this.#head++;
    if (this.#head === this.#unsent.length) {
      this.#unsent = [];
      this.#head = 0;
    }
    entry.sentAt = now;
    entry.attempts++;
    this.#inFlight++;
    return entry;
  }

  /** Removes a chat that was acknowledged or refused for good. */
  settle(cid: string): Outgoing | undefined {
    const entry = this.#entries.get(cid);
    if (entry === undefined) return undefined;
    this.#entries.delete(cid);
    this.#units -= entry.chat.msg.length;
    if (entry.sentAt !== 0) {
      this.#inFlight--;
    } else {
      // Acknowledged late, while it was queued again: it must not leave once more.
      this.#unsent = this.#unsent.slice(this.#head).filter((other) => other !== entry);
      this.#head = 0;
    }
    return entry.chat;
  }

  /**
   * Takes the refused chat and everything after it back from the wire, to be sent again in order.
   *
   * @param attempt Which sending was refused (`req` of the answer), if known.
   * @returns False when it was not on the wire, or was sent again since.
   */
  refuse(cid: string, attempt?: number): boolean {
    const refused = this.#entries.get(cid);
    if (refused === undefined || refused.sentAt === 0) return false;
    if (attempt !== undefined && attempt !== refused.attempts) return false;
    const again: Entry[] = [];
    let found = false;
    for (const entry of this.#entries.values()) {
      found ||= entry === refused;
      if (!found || entry.chat.from !== this.#user) continue;
      if (entry.sentAt !== 0) this.#inFlight--;
      entry.sentAt = 0;
      again.push(entry);
    }
    this.#unsent = again;
    this.#head = 0;
    return true;
  }

  /** When the oldest chat on the wire was sent, epoch ms; 0 when none is. */
  oldestSentAt(): number {
    if (this.#inFlight === 0) return 0;
    for (const entry of this.#entries.values()) {
      if (entry.sentAt !== 0) return entry.sentAt;
    }
    return 0;
  }
}
