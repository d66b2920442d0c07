/**
 * The password actor: slow hashing behind a bounded queue, in a thread of its own, so that a login
 * never stalls a session. One hash at a time: Argon2id is as slow with two on one thread. A node with
 * cores to spare has several such threads.
 */

import { ChatError } from "@chat/wire/errors.ts";
import type { PasswordPort } from "../ports.ts";
import type { Actor, Ref } from "../runtime/runtime.ts";

/** What the password actor takes. */
export type PasswordMessage =
  | { readonly type: "hash"; readonly password: string }
  | { readonly type: "verify"; readonly password: string; readonly hash: string | undefined }
  | { readonly type: "upgrade"; readonly password: string; readonly hash: string };

/** Deadline of one hash, its wait included, ms. */
const HASH_MS = 15_000;

/** Runs an adapter as an actor. */
export class PasswordActor implements Actor<PasswordMessage> {
  readonly #port: PasswordPort;

  constructor(port: PasswordPort) {
    this.#port = port;
  }

  receive(m: PasswordMessage): Promise<string | boolean | undefined> {
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
      throw new ChatError("TRY_LATER", "too many log-ins at once, try again later", { cause });
    } finally {
      inHand[at] = (inHand[at] ?? 0) - 1;
    }
  };
  return {
    hash: (password) => ask<string>({ type: "hash", password }),
    verify: (password, hash) => ask<boolean>({ type: "verify", password, hash }),
    upgrade: (password, hash) => ask<string | undefined>({ type: "upgrade", password, hash }),
  };
}
