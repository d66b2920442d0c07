/**
 * The few frames that the main thread itself sends, as bytes: PING, a warning, BYE. All others are
 * the sessions', and pass as they are.
 */

import { byeText } from "@chat/wire/bye.ts";
import { ERRNO, type ErrorCode } from "@chat/wire/errors.ts";
import { MSGID } from "@chat/wire/messages.ts";

/** What a peer is told to wait that may come back, ms; each adds its own jitter. */
const COME_BACK_MS = 1_000;

/** To a silent v2 peer, which answers. */
export const PING = encode(`{"msgid":${MSGID.PING}}`);

/** To a peer that sends too fast, before it is closed for that. */
export const TOO_FAST = encode(JSON.stringify({
  msgid: MSGID.ERROR,
  errno: ERRNO.TOO_FAST.errno,
  errmsg: ERRNO.TOO_FAST.text,
  retryAfterMs: COME_BACK_MS,
}));

/** BYE; see {@linkcode byeText}. */
export function encodeBye(
  code: ErrorCode,
  errmsg: string,
  retryAfterMs = COME_BACK_MS,
): Uint8Array<ArrayBuffer> {
  return encode(byeText(code, errmsg, retryAfterMs));
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\n`);
}
