/** Thread entry: password hashing. */

import { argon2, type Argon2Cost, type Argon2Input } from "./adapters/argon2.ts";
import { runBehindOthers } from "./adapters/priority.ts";
import { PasswordActor, type PasswordMessage } from "./accounts/passwords.ts";
import type { HashAnswer, HashQuestion } from "./hash_worker.ts";
import { runThread } from "./runtime/thread.ts";

/** What the main thread sends to start the password worker. */
export interface PasswordWorkerOptions {
  readonly cost: Argon2Cost;
  /** Passwords that may wait for their hash. */
  readonly maxWaiting: number;
}

runThread<PasswordWorkerOptions>(({ system, options, linkMain, meter }) => {
  runBehindOthers(); // a flood of log-ins must not stall who is in; the hash worker inherits it
  linkMain();
  const { cost, maxWaiting } = options;
  const actor = new PasswordActor(argon2(cost, startHashWorker()), maxWaiting);
  meter.gauge("chat_mailbox_messages", () => actor.waiting, "passwords");
  system.spawn<PasswordMessage>("passwords", () => actor, {
    mailbox: maxWaiting,
    concurrency: maxWaiting + 2,
  });
});

/** An error that the hash worker does not catch ends this thread too: both are started anew. */
function startHashWorker(): (input: Argon2Input) => Promise<Uint8Array<ArrayBuffer>> {
  const worker = new Worker(new URL("./hash_worker.ts", import.meta.url), { type: "module" });
  const waiting = new Map<number, PromiseWithResolvers<Uint8Array<ArrayBuffer>>>();
  let next = 1;
  worker.onmessage = ({ data }: MessageEvent<HashAnswer>) => {
    const asked = waiting.get(data.n);
    waiting.delete(data.n);
    if ("hash" in data) asked?.resolve(data.hash);
    else asked?.reject(data.error);
  };
  return (input) => {
    const asked = Promise.withResolvers<Uint8Array<ArrayBuffer>>();
    const question: HashQuestion = { n: next++, input };
    waiting.set(question.n, asked);
    worker.postMessage(question);
    return asked.promise;
  };
}
