/**
 * The password actor: slow hashing behind a bounded queue, in a thread of its own, so that a login
 * never stalls a session. One hash at a time: Argon2id is as slow with two on one thread.
 */

import { ChatError } from "@chat/wire/errors.ts";
import type { PasswordPort } from "./ports.ts";
import type { Actor, Ref } from "./runtime.ts";

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

/** The actor as a port, for other threads. A refusal says TRY_LATER. */
export function passwordClient(ref: Ref<PasswordMessage>): PasswordPort {
  const busy = (cause: unknown) =>
    new ChatError("TRY_LATER", "too many log-ins at once, try again later", { cause });
  return {
    hash: (password) =>
      ref.ask<string>({ type: "hash", password }, HASH_MS).catch((e) => {
        throw busy(e);
      }),
    verify: (password, hash) =>
      ref.ask<boolean>({ type: "verify", password, hash }, HASH_MS).catch((e) => {
        throw busy(e);
      }),
    upgrade: (password, hash) =>
      ref.ask<string | undefined>({ type: "upgrade", password, hash }, HASH_MS).catch((e) => {
        throw busy(e);
      }),
  };
}
