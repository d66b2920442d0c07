/** Thread entry: password hashing. */

import { argon2, type Argon2Cost } from "./adapters/argon2.ts";
import { runBehindOthers } from "./adapters/priority.ts";
import { PasswordActor, type PasswordMessage } from "./accounts/passwords.ts";
import { runThread } from "./runtime/thread.ts";

/** What the main thread sends to start the password worker. */
export interface PasswordWorkerOptions {
  readonly cost: Argon2Cost;
  /** Passwords that may wait for their hash. */
  readonly maxWaiting: number;
}

runThread<PasswordWorkerOptions>(({ system, options, linkMain, meter }) => {
  runBehindOthers(); // a flood of log-ins must not stall who is in
  linkMain();
  const { cost, maxWaiting } = options;
  const actor = new PasswordActor(argon2(cost), maxWaiting);
  meter.gauge("chat_mailbox_messages", () => actor.waiting, "passwords");
  system.spawn<PasswordMessage>("passwords", () => actor, {
    mailbox: maxWaiting,
    concurrency: maxWaiting + 2,
  });
});
