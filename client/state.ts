/**
 * What the chat program knows, as one value, and how everything that happens changes it. Pure: no
 * clock, no I/O, no terminal; the same actions give the same state.
 *
 * Invariants: the lines of a conversation are in order of `mid`, chats without one at the end; a
 * message is there once, by `mid` and by sender and cid; every list is bounded. Names and texts are
 * stored safe to print.
 */

import {
  type Conversation,
  fresh,
  KEEP_LINES,
  trimmed,
  whenLeft,
  withDelivery,
  without,
  withPage,
} from "./conversation.ts";
import {
  type Directory,
  EMPTY,
  keyOf,
  ofSession,
  withFriend,
  withGroup,
  withPresence,
  withSender,
} from "./directory.ts";
import type { ClientEvent, ConnectionState, Friend, Group, Message, Target } from "./events.ts";
import { insertLine, type Line, messageLine, type NewLine, settleLine } from "./lines.ts";
import type { Outgoing } from "./outbox.ts";
import { safe } from "./text.ts";

export type { Conversation } from "./conversation.ts";
export type { Line } from "./lines.ts";

/** How long a TYPING counts, in ms. */
const TYPING_MS = 6_000;

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

/** Something that changes the state. Times are epoch ms. */
export type Action =
  | { readonly type: "event"; readonly event: ClientEvent; readonly now: number }
  | {
    readonly type: "queued";
    readonly cid: string;
    readonly target: Target;
    readonly msg: string;
    readonly now: number;
  }
  /** What an earlier run remembers, before the first login. */
  | {
    readonly type: "remembered";
    readonly me: { readonly id: number; readonly name: string };
    readonly friends: readonly { readonly id: number; readonly name: string }[];
    readonly groups: readonly {
      readonly id: number;
      readonly name: string;
      readonly desc: string;
    }[];
    /** Keys of open conversations. */
    readonly open: readonly string[];
    /** Key ⇒ unread messages. */
    readonly unread: Readonly<Record<string, number>>;
  }
  | { readonly type: "restored"; readonly unsent: readonly Outgoing[] }
  | { readonly type: "open"; readonly target: Target | undefined }
  | { readonly type: "close"; readonly key: string }
  | { readonly type: "page_asked"; readonly target: Target; readonly older: boolean }
  | {
    readonly type: "page";
    readonly target: Target;
    readonly older: boolean;
    readonly messages: readonly Message[];
    readonly more: boolean;
  }
  | { readonly type: "page_failed"; readonly target: Target; readonly older: boolean }
  | {
    readonly type: "notice";
    readonly text: string;
    readonly tone: "info" | "error";
    readonly now: number;
  }
  | { readonly type: "friend"; readonly friend: Friend }
  | { readonly type: "group"; readonly group: Group }
  | { readonly type: "focus"; readonly focused: boolean }
  | { readonly type: "scrolled"; readonly atBottom: boolean }
  | { readonly type: "clear" }
  | { readonly type: "tick"; readonly now: number };

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

/** The state after an action. */
export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "event":
      return onEvent(state, action.event, action.now);
    case "queued":
      return onQueued(state, action);
    case "restored":
      return action.unsent.reduce((s, chat) => onQueued(s, restoredChat(chat)), state);
    case "open":
      return onOpen(state, action.target);
    case "close":
      return onClose(state, action.key);
    case "page_asked":
      return update(state, action.target, (c) => ({
        ...c,
        ...(action.older ? { loadingOlder: true } : { loaded: "loading" as const }),
      }));
    case "page":
      return onPage(state, action);
    case "page_failed":
      return update(state, action.target, (c) => ({
        ...c,
        ...(action.older ? { loadingOlder: false } : { loaded: "no" as const }),
      }));
    case "notice":
      return onNotice(state, action);
    case "friend":
      return { ...state, directory: withFriend(state.directory, action.friend) };
    case "group":
      return { ...state, directory: withGroup(state.directory, action.group) };
    case "focus":
      return look({ ...state, focused: action.focused });
    case "scrolled":
      return look({ ...state, atBottom: action.atBottom });
    case "remembered":
      return onRemembered(state, action);
    case "clear":
      return onClear(state);
    case "tick":
      return onTick(state, action.now);
    default:
      return action satisfies never;
  }
}

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

function onEvent(state: State, event: ClientEvent, now: number): State {
  switch (event.type) {
    case "message":
      return onMessage(state, event.message);
    case "sent":
      return update(state, event.target, (c) => ({
        ...c,
        lines: settleLine(c.lines, event.cid, { mid: event.mid, ts: event.ts, mark: "sent" }),
        undelivered: c.undelivered + 1,
      }));
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
    case "connection":
      return onConnection(state, event, now);
    case "bye":
      return onNotice(state, { text: `server: ${event.errmsg}`, tone: "info", now });
    case "error":
      return onNotice(state, { text: event.errmsg, tone: "error", now });
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
    if (seen) return trimmed({ ...c, lines, typing }, isScrolled);
    const before = c.lines.at(-1)?.seq ?? 0;
    return trimmed({
      ...c,
      lines,
      typing,
      unread: c.unread + 1,
      mentions: c.mentions + (isPersonal(target, line) ? 1 : 0),
      marker: c.unread === 0 ? before : c.marker,
    }, isScrolled);
  });
  return opened(next, keyOf(target));
}

/** A message is for the user in particular: one to one, or it names the user. */
export function isPersonal(target: Target, line: NewLine): boolean {
  return target.kind === "user" || (line.kind === "message" && line.mention);
}

/** Where a message belongs, seen by user `me`. */
export function conversationOf(message: Message, me: number): Target {
  if (message.groupid !== undefined) return { kind: "group", id: message.groupid };
  const id = message.id === me ? message.toid ?? 0 : message.id;
  return { kind: "user", id };
}

function onQueued(
  state: State,
  chat: { cid: string; target: Target; msg: string; now: number },
): State {
  const line: NewLine = {
    kind: "message",
    mid: undefined,
    cid: chat.cid,
    from: state.me?.id ?? 0,
    name: state.me?.name ?? "",
    ts: chat.now,
    text: safe(chat.msg),
    mention: false,
    mark: "queued",
    why: "",
    deliveredTo: 0,
  };
  const next = update({ ...state, nextSeq: state.nextSeq + 1 }, chat.target, (c) => ({
    ...c,
    lines: insertLine(c.lines, line, state.nextSeq),
    // Who answers has read.
    marker: undefined,
  }));
  return opened(next, keyOf(chat.target));
}

function restoredChat(chat: Outgoing): Parameters<typeof onQueued>[1] {
  const target: Target = chat.groupid === 0
    ? { kind: "user", id: chat.toid }
    : { kind: "group", id: chat.groupid };
  return { cid: chat.cid, target, msg: chat.msg, now: chat.at };
}

function onDelivered(state: State, id: number, mids: ReadonlySet<string>): State {
  return changeAll(state, (c) => {
    if (c.target.kind === "user" && c.target.id !== id) return c;
    const others = c.target.kind === "user"
      ? 1
      : (state.directory.rooms.get(c.target.id)?.members.length ?? 2) - 1;
    return withDelivery(c, mids, others);
  });
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

function onTick(state: State, now: number): State {
  return changeAll(state, (c) => {
    const typing = new Map([...c.typing].filter(([, until]) => until > now));
    return typing.size === c.typing.size ? c : { ...c, typing };
  });
}

function onOpen(state: State, target: Target | undefined): State {
  const left = state.current;
  const before = currentOf(state);
  const isSame = target !== undefined && left === keyOf(target);
  let next = before === undefined || isSame ? state : put(state, whenLeft(before));
  if (target === undefined) return { ...next, current: undefined, atBottom: true };
  const key = keyOf(target);
  next = opened(update(next, target, (c) => c), key);
  return look({ ...next, current: key, atBottom: true });
}

function onClose(state: State, key: string): State {
  const order = state.order.filter((other) => other !== key);
  const current = state.current === key ? undefined : state.current;
  const conversations = new Map(state.conversations);
  conversations.delete(key);
  return { ...state, order, current, conversations };
}

function onPage(state: State, action: Extract<Action, { type: "page" }>): State {
  const page = action.messages.map((message) => messageLine(message, state.me, undefined));
  const next = { ...state, nextSeq: state.nextSeq + page.length };
  return update(next, action.target, (c) => withPage(c, page, state.nextSeq, action));
}

function onNotice(
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

function onRemembered(
  state: State,
  { me, friends, groups, open, unread }: Extract<Action, { type: "remembered" }>,
): State {
  const directory = ofSession(EMPTY, {
    ...me,
    friends: friends.map((friend) => ({ ...friend, state: "offline" })),
    groups: groups.map(({ id, name, desc }) => ({
      id,
      groupname: name,
      groupdesc: desc,
      users: [],
    })),
    token: "",
    node: "",
  });
  let next: State = { ...state, me, directory };
  for (const key of open) {
    const target = targetOfKey(key);
    if (target === undefined) continue;
    const count = unread[key] ?? 0;
    const mentions = target.kind === "user" ? count : 0;
    next = opened(update(next, target, (c) => ({ ...c, unread: count, mentions })), key);
  }
  return next;
}

/** The target of a key `u2` or `g1`. */
export function targetOfKey(key: string): Target | undefined {
  const match = /^([ug])([1-9]\d{0,15})$/.exec(key);
  if (match === null) return undefined;
  return { kind: match[1] === "g" ? "group" : "user", id: Number(match[2]) };
}

function onClear(state: State): State {
  const current = currentOf(state);
  if (current === undefined) return { ...state, notices: [] };
  const lines = current.lines.filter((line) => line.kind === "message");
  return put(state, { ...current, lines, marker: undefined });
}

/** What is looked at is read. */
function look(state: State): State {
  const current = currentOf(state);
  if (current === undefined || current.unread === 0 || !isLookedAt(state, current.key)) {
    return state;
  }
  return put(state, { ...current, unread: 0, mentions: 0 });
}

function isLookedAt(state: State, key: string): boolean {
  return state.focused && state.atBottom && state.current === key;
}

/** Gives a conversation a number if it has none. */
function opened(state: State, key: string): State {
  return state.order.includes(key) ? state : { ...state, order: [...state.order, key] };
}

function update(state: State, target: Target, change: (c: Conversation) => Conversation): State {
  const old = state.conversations.get(keyOf(target)) ?? fresh(target);
  const changed = change(old);
  return changed === old && state.conversations.has(old.key) ? state : put(state, changed);
}

function put(state: State, conversation: Conversation): State {
  const conversations = new Map(state.conversations).set(conversation.key, conversation);
  return { ...state, conversations };
}

/** Changes conversations; the same state when none has changed. */
function changeAll(state: State, change: (c: Conversation) => Conversation): State {
  let conversations: Map<string, Conversation> | undefined;
  for (const [key, c] of state.conversations) {
    const changed = change(c);
    if (changed === c) continue;
    conversations ??= new Map(state.conversations);
    conversations.set(key, changed);
  }
  return conversations === undefined ? state : { ...state, conversations };
}
