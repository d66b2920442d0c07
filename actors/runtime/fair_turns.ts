/**
 * Turns of many mailboxes in one thread: each hands over at most so many messages, and for so long,
 * before the thread has looked at what else has come. Somebody who sends thousands at once then waits
 * for himself, and not everybody for him.
 */

import type { Clock } from "../ports.ts";

/** Messages of one mailbox in one turn: some hundred µs of work where they are chats. */
export const MESSAGES_PER_TURN = 32;
/** No further one after so long, ms: a list of a thousand receipts costs as much as all of those. */
export const TURN_MS = 2;

/** See the module's header. */
export class FairTurns {
  readonly #clock: Clock;
  #waiting: (() => void)[] = [];
  /** Number of the turn. */
  current = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Epoch ms. */
  now(): number {
    return this.#clock.now();
  }

  /** Something has come: everybody who does not wait has a turn. */
  next(): void {
    this.current++;
  }

  /** Calls `goOn` in a later turn, in the order of asking. */
  wait(goOn: () => void): void {
    this.#waiting.push(goOn);
    if (this.#waiting.length > 1) return;
    this.#clock.after(0, () => {
      const waiting = this.#waiting;
      this.#waiting = [];
      this.next();
      for (const goOn of waiting) goOn();
    });
  }
}
