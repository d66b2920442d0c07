/** Thread entry: password hashing. */

import { argon2, type Argon2Cost } from "./adapters/argon2.ts";
import { MAX_WAITING_HASHES, PasswordActor, type PasswordMessage } from "./passwords.ts";
import { runThread } from "./thread.ts";

runThread<Argon2Cost>(({ system, options, linkMain, meter }) => {
  linkMain();
  meter.gauge("chat_mailbox_messages", () => system.waiting("passwords"), "passwords");
  system.spawn<PasswordMessage>("passwords", () => new PasswordActor(argon2(options)), {
    mailbox: MAX_WAITING_HASHES,
  });
});
