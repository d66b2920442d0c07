/**
 * One frame's way through a session: parse, find the handler, check the phase, run, and turn
 * whatever it refuses into exactly one answer with an errno (G7). Throws nothing but bugs.
 */

import { ChatError, ERRNO } from "@chat/wire/errors.ts";
import { MSGID } from "@chat/wire/messages.ts";
import { HANDLERS } from "./table.ts";
import type { Host, Phase } from "./types.ts";
import type { Turn } from "../runtime/mailbox.ts";
import type { Session } from "../sessions/session.ts";

/** Requests that may make a session v2. */
const V2_STARTERS: ReadonlySet<unknown> = new Set([MSGID.LOGIN, MSGID.REGISTER, MSGID.RESUME]);

/** Handles one frame's text; "" stands for bytes that are no UTF-8. */
export function dispatch(session: Session, text: string, host: Host): Turn {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch { // the parser's message would quote the input
    const what = text === "" ? "not valid UTF-8" : "not a valid JSON object";
    return refuse(session, {}, new ChatError("MALFORMED", what), host);
  }
  if (!isObject(raw)) {
    return refuse(session, {}, new ChatError("MALFORMED", "not a JSON object"), host);
  }
  const { msgid } = raw;
  const { received } = host.meters;
  if (raw.v === 2 && session.v === 1 && V2_STARTERS.has(msgid)) {
    session.v = 2;
    host.remember(session);
  }
  const entry = typeof msgid === "number" ? HANDLERS[session.v].get(msgid) : undefined;
  received.inc(entry === undefined || typeof msgid !== "number" ? 0 : msgid);
  if (entry === undefined) {
    const what = typeof msgid === "number" ? `unknown msgid ${msgid}` : "needs a numeric msgid";
    return refuse(session, raw, new ChatError("MALFORMED", what), host);
  }
  const wrong = wrongPhase(session, entry.phase);
  if (wrong !== undefined) return refuse(session, raw, wrong, host);
  let turn: Turn | string;
  try {
    turn = entry.run(session, raw, host);
  } catch (error) {
    return refuseOrThrow(session, raw, error, host);
  }
  if (typeof turn === "string") {
    return refuse(session, raw, new ChatError("MALFORMED", turn), host);
  }
  return turn?.catch((error) => refuseOrThrow(session, raw, error, host));
}

/** Sends the answer that refuses `raw`. */
export function refuse(
  session: Session,
  raw: Readonly<Record<string, unknown>>,
  error: ChatError,
  host: Pick<Host, "reply">,
): void {
  const { errno, message: errmsg } = error;
  const answer: Record<string, unknown> & { msgid: number } = {
    msgid: answerTo(raw.msgid),
    errno,
    errmsg,
  };
  if (errno === ERRNO.TRY_LATER.errno) answer.retryAfterMs = RETRY_AFTER_MS;
  if (errno === ERRNO.TOO_FAST.errno) answer.retryAfterMs = Number(error.cause ?? RETRY_AFTER_MS);
  if (typeof raw.cid === "string" && raw.cid.length <= 64) answer.cid = raw.cid;
  if (typeof raw.req === "string" && raw.req.length <= 64) answer.req = raw.req;
  if (typeof raw.req === "number") answer.req = raw.req;
  host.reply(session, answer);
}

/** What a client is told to wait before it tries again, ms. */
export const RETRY_AFTER_MS = 500;

function refuseOrThrow(
  session: Session,
  raw: Readonly<Record<string, unknown>>,
  error: unknown,
  host: Host,
): void {
  if (!(error instanceof ChatError)) throw error;
  refuse(session, raw, error, host);
}

function answerTo(msgid: unknown): number {
  switch (msgid) {
    case MSGID.LOGIN:
    case MSGID.RESUME:
      return MSGID.LOGIN_ACK;
    case MSGID.REGISTER:
      return MSGID.REGISTER_ACK;
    default:
      return MSGID.ERROR;
  }
}

function wrongPhase(session: Session, phase: Phase): ChatError | undefined {
  // The frame that ended the login comes again when a worker died before it could answer it.
  const isLoggedIn = session.user !== 0 || session.seq === session.leftBy;
  if (phase === "loggedIn" && !isLoggedIn) return new ChatError("NOT_LOGGED_IN");
  if (phase === "connected" && session.user !== 0) return new ChatError("ALREADY_ONLINE");
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
