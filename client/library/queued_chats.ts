/**
 * The chats of this run that are not settled, and those who wait for them.
 */

import type { Queued, Sent } from "./options.ts";

/** What becomes of chats, by cid. */
export class QueuedChats {
  readonly #chats = new Map<string, QueuedChat>();

  /** Follows a chat from now on. */
  add(cid: string): Queued {
    const queued = new QueuedChat(cid);
    this.#chats.set(cid, queued);
    return queued;
  }

  /** Tells those who wait; a chat of an earlier run has none. */
  settle(cid: string, outcome: Sent | Error): void {
    this.#chats.get(cid)?.settle(outcome);
    this.#chats.delete(cid);
  }

  /** None of them will be settled any more. */
  abandon(error: Error): void {
    for (const queued of this.#chats.values()) queued.settle(error);
    this.#chats.clear();
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
