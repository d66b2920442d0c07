/**
 * A process with a Redis bus and nothing else, for tests that kill or stop it: commands as JSON
 * lines on stdin, events as JSON lines on stdout. Runs with the permissions of a server.
 *
 * Arguments: options of `openRedisBus` as JSON. It ends when stdin does.
 */

import { z } from "zod";
import { openRedisBus } from "../../actors/adapters/redis/bus.ts";
import type { BusEvent } from "./bus_process.ts";

const Options = z.object({
  url: z.string(),
  node: z.string(),
  leaseMs: z.number(),
  prefix: z.string(),
});

const entry = z.object({ user: z.number(), conn: z.number() });

/** What the process can be told. */
export const Command = z.discriminatedUnion("do", [
  z.object({ do: z.literal("send"), to: z.string(), text: z.string() }),
  z.object({ do: z.literal("broadcast"), text: z.string() }),
  z.object({ do: z.literal("claim"), ask: z.number(), ...entry.shape, takeover: z.boolean() }),
  z.object({ do: z.literal("release"), ask: z.number(), ...entry.shape }),
  z.object({ do: z.literal("announce"), ask: z.number(), entries: z.array(entry) }),
]);
/** See the schema. */
export type Command = z.infer<typeof Command>;

const encoder = new TextEncoder();

function emit(event: BusEvent): void {
  Deno.stdout.writeSync(encoder.encode(`${JSON.stringify(event)}\n`));
}

async function main(): Promise<void> {
  const bus = openRedisBus(Options.parse(JSON.parse(Deno.args[0] ?? "")));
  await bus.start({
    onEnvelope: (from, text) => emit({ on: "envelope", from, text }),
    onNodeUp: (node) => emit({ on: "up", node }),
    onNodeDown: (node) => emit({ on: "down", node }),
    onReset: () => emit({ on: "reset" }),
  });
  emit({ on: "started" });
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) await run(Command.parse(JSON.parse(line)));
  }
  await bus.close();

  async function run(command: Command): Promise<void> {
    switch (command.do) {
      case "send":
        return bus.send(command.to, command.text);
      case "broadcast":
        return bus.broadcast(command.text);
      case "claim": {
        const claim = await bus.claim(command.user, command.conn, command.takeover);
        return emit({ on: "answer", ask: command.ask, claim });
      }
      case "release":
        await bus.release(command.user, command.conn);
        return emit({ on: "answer", ask: command.ask });
      case "announce":
        await bus.announce(command.entries);
        return emit({ on: "answer", ask: command.ask });
      default:
        return command satisfies never;
    }
  }
}

if (import.meta.main) await main();
