/** Thread entry: password hashing. */

import { argon2, type Argon2Cost } from "./adapters/argon2.ts";
import { runBehindOthers } from "./adapters/priority.ts";
import { MAX_WAITING_HASHES, PasswordActor, type PasswordMessage } from "./passwords.ts";
import { runThread } from "./thread.ts";

runThread<Argon2Cost>(({ system, options, linkMain, meter }) => {
  runBehindOthers(); // a flood of log-ins must not stall who is in
  linkMain();
  meter.gauge("chat_mailbox_messages", () => system.waiting("passwords"), "passwords");
  system.spawn<PasswordMessage>("passwords", () => new PasswordActor(argon2(options)), {
    mailbox: MAX_WAITING_HASHES,
  });
});
