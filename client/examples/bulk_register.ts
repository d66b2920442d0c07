/**
 * Makes an account for every line `NAME PASSWORD` of its input. The exit status is the client's: 0
 * only if all accounts are new.
 *
 * ```sh
 * deno run client/examples/bulk_register.ts < people.txt | deno task -q client --json
 * ```
 */

import { command, lines } from "./lines.ts";

for await (const line of lines()) {
  const [name, password] = line.trim().split(/\s+/);
  if (name === undefined || password === undefined) {
    console.error(`no password for ${name}`);
    Deno.exit(1);
  }
  command({ cmd: "register", name, password, ref: name });
}
