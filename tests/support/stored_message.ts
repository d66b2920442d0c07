/** A message as stores give it back. */

import type { Message } from "../../actors/ports.ts";

/**
 * A copy of what is stored of a message. Field by field: those that come from a session's worker
 * decode their text when they are asked for it.
 */
export function storedMessage(message: Message, name: string): Message {
  const { mid, cid, from, ts, toid, groupid, msg, extra } = message;
  return { mid, cid, from, name, ts, toid, groupid, msg, extra, prev: "" };
}
