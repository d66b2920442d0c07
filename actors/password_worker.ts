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
  meter.gauge("chat_mailbox_messages", () => system.waiting("passwords"), "passwords");
  system.spawn<PasswordMessage>("passwords", () => new PasswordActor(argon2(options.cost)), {
    mailbox: options.maxWaiting,
  });
});
