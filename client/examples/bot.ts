/**
 * A bot that answers whoever writes to it. It needs no permission: events in, commands out.
 *
 * ```sh
 * mkfifo commands
 * CHAT_PASSWORD=… deno task -q client --json --name bot --register < commands |
 *   deno run client/examples/bot.ts > commands
 * ```
 */

import { command, events, Message } from "./lines.ts";

for await (const event of events()) {
  const message = Message.safeParse(event);
  // In a group it would answer other bots, and they it.
  if (!message.success || message.data.group !== undefined) continue;
  const { id, name, text } = message.data;
  if (text === "/leave") {
    command({ cmd: "quit" });
    break;
  }
  const answer = text === "time?"
    ? new Date().toISOString()
    : `${name}, you wrote ${[...text].length} characters.`;
  command({ cmd: "msg", who: id, text: answer });
}
