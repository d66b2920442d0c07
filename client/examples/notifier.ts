/**
 * Tells what comes in, one plain line a message, for a desktop notifier, a log or a printer.
 *
 * ```sh
 * echo /listen | deno task -q client --json --profile me |
 *   deno run client/examples/notifier.ts | while read -r line; do notify-send Chat "$line"; done
 * ```
 */

import { events, Message } from "./lines.ts";

for await (const event of events()) {
  const message = Message.safeParse(event);
  if (!message.success) continue;
  const { name, text, group } = message.data;
  const place = group === undefined ? "" : ` in #${group}`;
  // Others wrote this: what could act on a terminal is left out.
  console.log(`${name}${place}: ${text}`.replaceAll(/[\p{Cc}\p{Cf}]+/gu, " "));
}
