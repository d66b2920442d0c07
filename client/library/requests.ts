/**
 * Requests that wait for their answer, by the `req` they carry. Bounded; each has a deadline.
 */

import type { ServerMessage } from "@chat/wire/messages.ts";
import type { Clock } from "./clock.ts";
import { ConnectionLost, RequestError } from "./errors.ts";

/** Most requests without an answer. */
const MAX_WAITING = 1_024;

interface Waiting {
  readonly answer: PromiseWithResolvers<ServerMessage>;
  readonly cancel: () => void;
}

/** The open requests of one client. */
export class Requests {
  readonly #clock: Clock;
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * A new request number and the promise of its answer, which rejects with
   * {@linkcode ConnectionLost} after `deadlineMs` or when the connection is lost.
   */
  open(deadlineMs: number): { req: number; answer: Promise<ServerMessage> } {
    if (this.#waiting.size >= MAX_WAITING) {
      throw new RequestError(9, `${MAX_WAITING} requests wait for an answer`);
    }
    const req = ++this.#last;
    const answer = Promise.withResolvers<ServerMessage>();
    const cancel = this.#clock.after(deadlineMs, () => {
      this.#waiting.delete(req);
      answer.reject(new ConnectionLost(`no answer within ${deadlineMs} ms`));
    });
    this.#waiting.set(req, { answer, cancel });
    return { req, answer: answer.promise };
  }

  /** Hands an answer to its request. False when nothing waits for it. */
  settle(message: ServerMessage): boolean {
    if (!("req" in message) || typeof message.req !== "number") return false;
    const waiting = this.#waiting.get(message.req);
    if (waiting === undefined) return false;
    this.#waiting.delete(message.req);
    waiting.cancel();
    waiting.answer.resolve(message);
    return true;
  }

  /** Rejects everything that waits: the connection that would bring the answers is gone. */
  fail(reason: string): void {
    for (const { answer, cancel } of this.#waiting.values()) {
      cancel();
      answer.reject(new ConnectionLost(reason));
    }
    this.#waiting.clear();
  }
}
