/**
 * Receipts that wait to be sent, batched per event-loop turn.
 *
 * A receipt that is lost with its connection is not repeated: the server pushes the message again,
 * it is recognised as a repeat, and confirmed then.
 */

import { MAX_RECEIPTS } from "@chat/wire/limits.ts";
import { MSGID, type RecvAck } from "@chat/wire/messages.ts";
import type { Clock } from "./clock.ts";

/** The receipts of one client. */
export class Receipts {
  readonly #clock: Clock;
  readonly #send: (ack: RecvAck) => boolean;
  #mids: string[] = [];
  #cancel: (() => void) | undefined;
  #held = false;

  /** @param send Sends one RECV_ACK; false when there is no connection. */
  constructor(clock: Clock, send: (ack: RecvAck) => boolean) {
    this.#clock = clock;
    this.#send = send;
  }

  /** Confirms a message at the end of this turn. */
  add(mid: string): void {
    this.#mids.push(mid);
    if (this.#held) return;
    // A timer, not a microtask: a program that takes a hundred waiting events confirms them at once.
    this.#cancel ??= this.#clock.after(0, () => this.flush());
    if (this.#mids.length >= MAX_RECEIPTS) this.flush();
  }

  /** Sends nothing until the next {@linkcode flush}. */
  hold(): void {
    this.#held = true;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** Sends what waits. */
  flush(): void {
    this.#held = false;
    this.#cancel?.();
    this.#cancel = undefined;
    const mids = this.#mids;
    this.#mids = [];
    for (let at = 0; at < mids.length; at += MAX_RECEIPTS) {
      if (!this.#send({ msgid: MSGID.RECV_ACK, mids: mids.slice(at, at + MAX_RECEIPTS) })) return;
    }
  }

  /** Forgets what waits: the session it was for is gone. A hold goes on. */
  clear(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#mids = [];
  }
}
