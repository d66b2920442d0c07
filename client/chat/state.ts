/**
 * What the chat program knows, as one value, and the single changes of which every other one is made.
 * Pure: no clock, no I/O, no terminal. What an action or an event means is the reducer's.
 *
 * Invariants: the lines of a conversation are in order of `mid`, chats without one at the end; a
 * message is there once, by `mid` and by sender and cid; every list is bounded. Names and texts are
 * stored safe to print.
 */

import { type Conversation, fresh, KEEP_LINES } from "./conversation.ts";
import { type Directory, EMPTY, keyOf } from "./directory.ts";
import type { ConnectionState, Target } from "../library/events.ts";
import { insertLine, type Line, type NewLine } from "./lines.ts";
import { safe } from "./safe_text.ts";

/** How it stands with the server. */
export interface Link {
  readonly state: ConnectionState;
  readonly reason: string;
  /** Epoch ms of the next attempt; 0 when none is planned. */
  readonly retryAt: number;
}

/** Everything. */
export interface State {
  readonly me: { readonly id: number; readonly name: string } | undefined;
  readonly link: Link;
  readonly directory: Directory;
  readonly conversations: ReadonlyMap<string, Conversation>;
  /** Keys of open conversations, in the order of their numbers. */
  readonly order: readonly string[];
  /** Key of the conversation looked at; undefined at home. */
  readonly current: string | undefined;
  /** Messages to nobody: answers to commands, shown at home. */
  readonly notices: readonly Line[];
  /** The terminal has the focus, as far as it tells. */
  readonly focused: boolean;
  /** The latest lines are on screen. */
  readonly atBottom: boolean;
  readonly nextSeq: number;
}

/** Before anything has happened. */
export const INITIAL: State = {
  me: undefined,
  link: { state: "offline", reason: "", retryAt: 0 },
  directory: EMPTY,
  conversations: new Map(),
  order: [],
  current: undefined,
  notices: [],
  focused: true,
  atBottom: true,
  nextSeq: 1,
};

/** The conversation looked at; undefined at home. */
export function currentOf(state: State): Conversation | undefined {
  return state.current === undefined ? undefined : state.conversations.get(state.current);
}

/** Key of the first conversation with unread messages, those with mentions first. */
export function firstUnread(state: State): string | undefined {
  let unread: string | undefined;
  for (const key of state.order) {
    const conversation = state.conversations.get(key);
    if (conversation === undefined || conversation.unread === 0) continue;
    if (conversation.mentions > 0) return key;
    unread ??= key;
  }
  return unread;
}

/** Key of the open conversation `step` places further, home (undefined) being one of them. */
export function neighbour(state: State, step: 1 | -1): string | undefined {
  const ring = [undefined, ...state.order];
  const at = ring.indexOf(state.current);
  return ring[(at + step + ring.length) % ring.length];
}

/** The conversation is on screen, and so are its latest lines. */
export function isLookedAt(state: State, key: string): boolean {
  return state.focused && state.atBottom && state.current === key;
}

/** What is looked at is read. */
export function look(state: State): State {
  const current = currentOf(state);
  if (current === undefined || current.unread === 0 || !isLookedAt(state, current.key)) {
    return state;
  }
  return put(state, { ...current, unread: 0, mentions: 0 });
}

/** Gives a conversation a number if it has none. */
export function opened(state: State, key: string): State {
  return state.order.includes(key) ? state : { ...state, order: [...state.order, key] };
}

/** Changes the conversation with a target; one of which nothing is known begins fresh. */
export function update(
  state: State,
  target: Target,
  change: (c: Conversation) => Conversation,
): State {
  const old = state.conversations.get(keyOf(target)) ?? fresh(target);
  const changed = change(old);
  return changed === old && state.conversations.has(old.key) ? state : put(state, changed);
}

/** With a conversation in place of what was known of it. */
export function put(state: State, conversation: Conversation): State {
  const conversations = new Map(state.conversations).set(conversation.key, conversation);
  return { ...state, conversations };
}

/** Changes conversations; the same state when none has changed. */
export function changeAll(state: State, change: (c: Conversation) => Conversation): State {
  let conversations: Map<string, Conversation> | undefined;
  for (const [key, c] of state.conversations) {
    const changed = change(c);
    if (changed === c) continue;
    conversations ??= new Map(state.conversations);
    conversations.set(key, changed);
  }
  return conversations === undefined ? state : { ...state, conversations };
}

/** Tells the user something: in the conversation looked at, or at home. */
export function withNotice(
  state: State,
  notice: { text: string; tone: "info" | "error"; now: number },
): State {
  const line: NewLine = {
    kind: "notice",
    ts: notice.now,
    text: safe(notice.text),
    tone: notice.tone,
  };
  const next = { ...state, nextSeq: state.nextSeq + 1 };
  const current = currentOf(state);
  if (current === undefined) {
    const notices = [...state.notices, { ...line, seq: state.nextSeq }].slice(-KEEP_LINES);
    return { ...next, notices };
  }
  return put(next, { ...current, lines: insertLine(current.lines, line, state.nextSeq) });
}
