/**
 * Events of `deno task client --json`, one JSON object a line on stdin, for the examples beside.
 */

import { z } from "zod";

const Event = z.looseObject({ event: z.string() });
/** A line of the client's output. */
export type Event = z.infer<typeof Event>;

/** A message, as the client prints it. */
export const Message = z.looseObject({
  event: z.literal("message"),
  id: z.number(),
  name: z.string(),
  text: z.string(),
  group: z.string().optional(),
});

/** Every event on stdin. */
export async function* events(): AsyncGenerator<Event> {
  for await (const line of lines()) yield Event.parse(JSON.parse(line));
}

/** Every line on stdin that is not blank. */
export async function* lines(): AsyncGenerator<string> {
  let held = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const parts = (held + text).split("\n");
    held = parts.pop() ?? "";
    for (const part of parts) if (part.trim() !== "") yield part;
  }
  if (held.trim() !== "") yield held;
}

/** Gives the client a command, as one line on stdout. */
export function command(fields: Record<string, unknown>): void {
  console.log(JSON.stringify(fields));
}
