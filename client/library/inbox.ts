/**
 * Messages on their way to the program: repeats are recognised, what was dealt with is confirmed.
 *
 * Invariants: a message is handed over once, by `mid` and by sender and cid; every `mid` under which
 * it came is confirmed, but none before the program has dealt with it.
 */

import type { GroupChatPush, OneChatPush, RecvAck } from "@chat/wire/messages.ts";
import type { Clock } from "./clock.ts";
import type { Message } from "./events.ts";
import { Receipts } from "./receipts.ts";

/** Handed-over messages that are remembered to recognise repeats: `mid` and `(id, cid)` of each. */
const DEDUPE_KEYS = 2 * 16_384;

/** The messages of one client. */
export class Inbox {
  readonly #receipts: Receipts;
  readonly #handOver: (message: Message, handled: () => void) => void;
  #dedupe = new Dedupe(DEDUPE_KEYS);
  /** `id:cid` ⇒ mids of a message that the program has not dealt with yet. */
  #unhandled = new Map<string, string[]>();
  /** Whose messages these are. */
  #user = 0;
  #isOpen = false;

  /**
   * @param send Sends one RECV_ACK; false when there is no connection.
   * @param handOver Gives a message to the program, which calls `handled` when it has dealt with it.
   */
  constructor(
    clock: Clock,
    send: (ack: RecvAck) => boolean,
    handOver: (message: Message, handled: () => void) => void,
  ) {
    this.#receipts = new Receipts(clock, send);
    this.#handOver = handOver;
  }

  /** A session of `user` begins. */
  open(user: number): void {
    this.#isOpen = true;
    this.#receipts.clear();
    if (user === this.#user) return;
    // Another user's messages are other messages. One's own, after a logout, are the same.
    this.#user = user;
    this.#dedupe = new Dedupe(DEDUPE_KEYS);
    this.#unhandled = new Map();
  }

  /** The connection is gone, and with it what was to be confirmed over it. */
  lost(): void {
    this.#receipts.clear();
  }

  /** The user has logged out: what is confirmed from now on would be in nobody's name. */
  close(): void {
    this.#isOpen = false;
    this.#receipts.clear();
  }

  /** Confirms nothing until the next {@linkcode flush}. */
  hold(): void {
    this.#receipts.hold();
  }

  /** Confirms what waits. */
  flush(): void {
    this.#receipts.flush();
  }

  /** Takes a push. */
  take(push: OneChatPush | GroupChatPush): void {
    const { msgid: _, ...message } = push;
    const key = `${message.id}:${message.cid}`;
    const knownMid = this.#dedupe.seen(message.mid);
    const knownCid = this.#dedupe.seen(key);
    if (knownMid || knownCid) {
      const waiting = this.#unhandled.get(key);
      // Confirmed with the first one, once the program has dealt with that.
      if (waiting === undefined) this.#receipts.add(message.mid);
      else if (!waiting.includes(message.mid)) waiting.push(message.mid);
      return;
    }
    const unhandled = this.#unhandled;
    unhandled.set(key, [message.mid]);
    this.#handOver(message, () => {
      const mids = unhandled.get(key) ?? [];
      unhandled.delete(key);
      // Of a user who has logged out: it was theirs, and the server will hand it over again.
      if (unhandled !== this.#unhandled || !this.#isOpen) return;
      for (const mid of mids) this.#receipts.add(mid);
    });
  }
}

/**
 * Which messages have been handed over, in bounded memory.
 *
 * Two generations of keys: when the young one is full it becomes the old one, and the former old one
 * is forgotten. Invariant: the latest `capacity` keys are known, at most twice as many are held.
 * A repeat comes from an unconfirmed push (at most 1,024 are open) or from a sender's retry, so both
 * lie far inside the window.
 */
export class Dedupe {
  readonly #capacity: number;
  #young = new Set<string>();
  #old = new Set<string>();

  /** @param capacity Keys that are surely known; positive. */
  constructor(capacity: number) {
    if (!(capacity > 0)) throw new RangeError(`capacity must be positive, is ${capacity}`);
    this.#capacity = capacity;
  }

  /** Whether the key was added before; adds it. */
  seen(key: string): boolean {
    if (this.#young.has(key) || this.#old.has(key)) return true;
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(key);
    return false;
  }

  /** Keys held now. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }
}
