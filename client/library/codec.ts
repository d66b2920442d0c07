/**
 * Bytes of one frame → a message the server may send. No state, no I/O.
 */

import { ServerMessage } from "@chat/wire/messages.ts";

/** What a frame turned out to be. */
export type Decoded =
  | { readonly kind: "message"; readonly message: ServerMessage }
  /** A msgid this client does not know: a newer server may send it, and it is passed over. */
  | { readonly kind: "unknown"; readonly msgid: number }
  /** No JSON, or a known msgid with wrong fields. `why` is safe to show. */
  | { readonly kind: "malformed"; readonly why: string };

const decoder = new TextDecoder();

/** @param bytes Borrowed; `start` and `end` bound one frame in it. */
export function decode(bytes: Uint8Array, start: number, end: number): Decoded {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes.subarray(start, end)));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { kind: "malformed", why: "a frame that is no JSON object" };
  }
  const parsed = ServerMessage.safeParse(value);
  if (parsed.success) return { kind: "message", message: parsed.data };
  const msgid = msgidOf(value);
  if (msgid !== undefined && !isKnown(msgid)) return { kind: "unknown", msgid };
  const issue = parsed.error.issues[0];
  const field = issue?.path.map(String).join(".") ?? "";
  return { kind: "malformed", why: `msgid ${msgid ?? "?"}: ${field} ${issue?.message ?? ""}` };
}

function msgidOf(value: unknown): number | undefined {
  if (typeof value !== "object" || value === null || !("msgid" in value)) return undefined;
  return typeof value.msgid === "number" ? value.msgid : undefined;
}

const KNOWN = new Set<number>(
  ServerMessage.options.map((schema) => schema.shape.msgid.value),
);

function isKnown(msgid: number): boolean {
  return KNOWN.has(msgid);
}
