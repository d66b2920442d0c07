/** Writes BYE, the last frame to a peer. Source: docs/protocol.md, "BYE". */

import { ERRNO, type ErrorCode } from "./errors.ts";
import { MSGID } from "./messages.ts";

/**
 * BYE as text, without the final newline: why the peer has to go, and when it may come back.
 * @param errmsg For people.
 * @param retryAfterMs Told only where the reason passes.
 */
export function byeText(code: ErrorCode, errmsg: string, retryAfterMs: number): string {
  const passes = code === "TRY_LATER" || code === "TOO_FAST";
  return JSON.stringify({
    msgid: MSGID.BYE,
    errno: ERRNO[code].errno,
    errmsg,
    ...(passes && { retryAfterMs }),
  });
}
