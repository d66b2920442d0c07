/**
 * The few frames that the main thread itself says, as bytes: PING, a warning, BYE. All others are
 * the sessions', and pass as they are.
 */

import { ERRNO, type ErrorCode } from "@chat/wire/errors.ts";
import { MSGID } from "@chat/wire/messages.ts";

/** What a peer is told to wait that may come back, ms; each adds its own jitter. */
const COME_BACK_MS = 1_000;

/** To a silent v2 peer, which answers. */
export const PING = encode({ msgid: MSGID.PING });

/** To a peer that sends too fast, before it is closed for that. */
export const TOO_FAST = encode({
  msgid: MSGID.ERROR,
  errno: ERRNO.TOO_FAST.errno,
  errmsg: ERRNO.TOO_FAST.text,
  retryAfterMs: COME_BACK_MS,
});

/**
 * The last word to a peer: why it has to go, and when it may come back.
 * @param errmsg For people.
 * @param retryAfterMs Told only where the reason passes.
 */
export function encodeBye(
  code: ErrorCode,
  errmsg: string,
  retryAfterMs = COME_BACK_MS,
): Uint8Array<ArrayBuffer> {
  const { errno } = ERRNO[code];
  const passing = code === "TRY_LATER" || code === "TOO_FAST";
  const retry = passing ? { retryAfterMs } : {};
  return encode({ msgid: MSGID.BYE, errno, errmsg, ...retry });
}

function encode(message: object): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(message) + "\n");
}
