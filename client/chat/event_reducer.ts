/**
 * What an event of the client changes: messages, what becomes of one's own, presence, the connection.
 * Pure. What people do at the keyboard is the reducer's, which calls this.
 *
 * Invariant: a message that comes twice is one line, and counts once.
 */

import {
  conversationOf,
  isPersonal,
  trimmed,
  withDelivery,
  without,
  withSent,
  withUnread,
} from "./conversation.ts";
import { keyOf, ofSession, withContacts, withPresence, withSender } from "./directory.ts";
import type { ClientEvent, Message, Target } from "../library/events.ts";
import { insertLine, messageLine, settleLine } from "./lines.ts";
import {
  changeAll,
  isLookedAt,
  type Link,
  opened,
  type State,
  update,
  withNotice,
} from "./state.ts";
import { safe } from "./safe_text.ts";

/** How long a TYPING counts, in ms. */
const TYPING_MS = 6_000;

/** The state after an event; `now` is epoch ms. */
export function onEvent(state: State, event: ClientEvent, now: number): State {
  switch (event.type) {
    case "message":
      return onMessage(state, event.message);
    case "sent":
      return update(
        state,
        event.target,
        (c) => withSent(c, event, recipientsOf(state, event.target)),
      );
    case "failed":
      return update(state, event.target, (c) => ({
        ...c,
        lines: settleLine(c.lines, event.cid, { mark: "failed", why: safe(event.errmsg) }),
      }));
    case "delivered":
      return onDelivered(state, event.id, new Set(event.mids));
    case "presence":
      return {
        ...state,
        directory: withPresence(state.directory, event.id, event.state === "online"),
      };
    case "typing":
      return onTyping(state, event, now);
    case "session":
      return {
        // What came while we were away may be missing: the latest page is asked for again.
        ...changeAll(state, (c) => ({ ...c, loaded: "no", loadingOlder: false })),
        me: { id: event.session.id, name: event.session.name },
        directory: ofSession(state.directory, event.session),
      };
    case "session_changed":
      return { ...state, directory: withContacts(state.directory, event.session) };
    case "connection":
      return onConnection(state, event, now);
    case "bye":
      return withNotice(state, { text: `server: ${event.errmsg}`, tone: "info", now });
    case "error":
      return withNotice(state, { text: event.errmsg, tone: "error", now });
    default:
      return event satisfies never;
  }
}

function onConnection(
  state: State,
  event: Extract<ClientEvent, { type: "connection" }>,
  now: number,
): State {
  const link: Link = {
    state: event.state,
    reason: safe(event.reason),
    retryAt: event.retryInMs === undefined ? 0 : now + event.retryInMs,
  };
  if (event.state === "online" || event.state === "connected") return { ...state, link };
  // Nobody's presence is known while the server is away, and nobody types.
  return {
    ...changeAll(state, (c) => c.typing.size === 0 ? c : { ...c, typing: new Map() }),
    link,
  };
}

function onMessage(state: State, message: Message): State {
  const target = conversationOf(message, state.me?.id ?? 0);
  const directory = withSender(
    state.directory,
    message.id,
    message.name,
    message.groupid ?? 0,
  );
  const line = messageLine(message, state.me, undefined);
  const seq = state.nextSeq;
  const seen = isLookedAt(state, keyOf(target));
  const next = update({ ...state, directory, nextSeq: seq + 1 }, target, (c) => {
    const lines = insertLine(c.lines, line, seq);
    if (lines === c.lines) return c; // known already
    const typing = c.typing.has(message.id) ? without(c.typing, message.id) : c.typing;
    const isScrolled = state.current === c.key && !state.atBottom;
    const unmarked = c.unmarked === 0 ? 0 : c.unmarked + 1;
    const there = trimmed({ ...c, lines, typing, unmarked }, isScrolled);
    return seen ? there : withUnread(there, message.mid, isPersonal(target, line));
  });
  return opened(next, keyOf(target));
}

function onDelivered(state: State, id: number, mids: ReadonlySet<string>): State {
  return changeAll(state, (c) => {
    if (c.target.kind === "user" && c.target.id !== id) return c;
    return withDelivery(c, mids, recipientsOf(state, c.target));
  });
}

/** How many others have what is written there, in the end. */
function recipientsOf({ directory }: State, target: Target): number {
  return target.kind === "user" ? 1 : (directory.rooms.get(target.id)?.size ?? 2) - 1;
}

function onTyping(
  state: State,
  event: Extract<ClientEvent, { type: "typing" }>,
  now: number,
): State {
  const target: Target = event.groupid === undefined
    ? { kind: "user", id: event.id }
    : { kind: "group", id: event.groupid };
  if (!state.conversations.has(keyOf(target))) return state;
  return update(state, target, (c) => ({
    ...c,
    typing: new Map(c.typing).set(event.id, now + TYPING_MS),
  }));
}
