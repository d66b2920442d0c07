/**
 * The password actor: slow hashing behind a bounded queue, in a thread of its own, so that a login
 * never stalls a session. One hash at a time: Argon2id is as slow with two on one thread. A node with
 * cores to spare has several such threads.
 */

import { ChatError } from "@chat/wire/errors.ts";
import type { PasswordPort } from "../ports.ts";
import type { Actor, Ref } from "../runtime/runtime.ts";

/** What the password actor takes; `turn` says who asks. */
export type PasswordMessage =
  | { readonly type: "hash"; readonly password: string; readonly turn: string }
  | {
    readonly type: "verify";
    readonly password: string;
    readonly hash: string | undefined;
    readonly turn: string;
  }
  | {
    readonly type: "upgrade";
    readonly password: string;
    readonly hash: string;
    readonly turn: string;
  };

/** Deadline of one hash, its wait included, ms. */
const HASH_MS = 15_000;

interface Waiting {
  readonly message: PasswordMessage;
  readonly resolve: (result: Result | PromiseLike<Result>) => void;
  readonly reject: (error: ChatError) => void;
}
type Result = string | boolean | undefined;

/**
 * Runs an adapter as an actor. Those who wait go by turns of who asks, and when the queue is full the
 * latest of who has most in it makes room. Spawn it with room for `maxWaiting` and two at once.
 */
export class PasswordActor implements Actor<PasswordMessage> {
  readonly #port: PasswordPort;
  readonly #maxWaiting: number;
  /** In the order of their turns; none is empty. */
  readonly #queues = new Map<string, Waiting[]>();
  #busy = false;
  /** Passwords that wait for their hash. */
  waiting = 0;

  /** @param maxWaiting Passwords that may wait. @default no bound but the mailbox's */
  constructor(port: PasswordPort, maxWaiting = Infinity) {
    this.#port = port;
    this.#maxWaiting = maxWaiting;
  }

  receive(message: PasswordMessage): Promise<Result> {
    if (!this.#busy) return this.#run(message);
    if (this.waiting >= this.#maxWaiting && !this.#makeRoom(message.turn)) throw tooMany();
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const queue = this.#queues.get(message.turn) ?? [];
    queue.push({ message, resolve, reject });
    this.#queues.set(message.turn, queue);
    this.waiting++;
    return promise;
  }

  /** Refuses the latest of who has most waiting, unless that is no more than `turn` would have. */
  #makeRoom(turn: string): boolean {
    let [most, largest] = [this.#queues.get(turn)?.length ?? 0, ""];
    for (const [other, { length }] of this.#queues) {
      if (length > most + 1) [most, largest] = [length, other];
    }
    const queue = this.#queues.get(largest);
    const latest = queue?.pop();
    if (queue === undefined || latest === undefined) return false;
    if (queue.length === 0) this.#queues.delete(largest);
    this.waiting--;
    latest.reject(tooMany());
    return true;
  }

  async #run(message: PasswordMessage): Promise<Result> {
    this.#busy = true;
    try {
      return await this.#hashed(message);
    } finally {
      this.#busy = false;
      this.#next();
    }
  }

  #next(): void {
    const [first] = this.#queues;
    if (first === undefined) return;
    const [turn, queue] = first;
    this.#queues.delete(turn);
    const next = queue.shift();
    if (queue.length > 0) this.#queues.set(turn, queue); // behind all others
    if (next === undefined) return;
    this.waiting--;
    next.resolve(this.#run(next.message));
  }

  #hashed(m: PasswordMessage): Promise<Result> {
    switch (m.type) {
      case "hash":
        return this.#port.hash(m.password);
      case "verify":
        return this.#port.verify(m.password, m.hash);
      case "upgrade":
        return this.#port.upgrade(m.password, m.hash);
      default:
        return m satisfies never;
    }
  }
}

function tooMany(cause?: unknown): ChatError {
  return new ChatError("TRY_LATER", "too many log-ins at once, try again later", { cause });
}

/**
 * The actors as one port, for other threads: each password goes to the one with the fewest of ours.
 * A refusal says TRY_LATER.
 */
export function passwordClient(refs: readonly Ref<PasswordMessage>[]): PasswordPort {
  const inHand = refs.map(() => 0);
  const ask = async <R>(message: PasswordMessage): Promise<R> => {
    const at = inHand.indexOf(Math.min(...inHand));
    const ref = refs[at];
    if (ref === undefined) throw new Error("no thread for passwords");
    inHand[at] = (inHand[at] ?? 0) + 1;
    try {
      return await ref.ask<R>(message, HASH_MS);
    } catch (cause) {
      throw tooMany(cause);
    } finally {
      inHand[at] = (inHand[at] ?? 0) - 1;
    }
  };
  return {
    hash: (password, turn = "") => ask<string>({ type: "hash", password, turn }),
    verify: (password, hash, turn = "") => ask<boolean>({ type: "verify", password, hash, turn }),
    upgrade: (password, hash) =>
      ask<string | undefined>({ type: "upgrade", password, hash, turn: "" }),
  };
}
