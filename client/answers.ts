/**
 * Answers of the server to requests, as results and errors. No state.
 */

import type { ServerMessage } from "@chat/wire/messages.ts";
import { RequestError } from "./errors.ts";

/**
 * The answer, unless it is a refusal.
 *
 * @throws {RequestError} The server refused.
 */
export function refused(answer: ServerMessage): ServerMessage {
  if (!("errno" in answer) || answer.errno === 0) return answer;
  const after = "retryAfterMs" in answer ? answer.retryAfterMs : undefined;
  throw new RequestError(answer.errno, answer.errmsg ?? `errno ${answer.errno}`, after);
}

/** The error for an answer that belongs to another request. */
export function unexpected(request: string, answer: ServerMessage): RequestError {
  return new RequestError(4, `${request} was answered with msgid ${answer.msgid}`);
}
