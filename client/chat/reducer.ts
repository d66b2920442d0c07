/**
 * How everything that happens changes the state. Pure: the same actions give the same state.
 *
 * What the user does is here; what the client tells (`event`) is the event reducer's.
 */

import { NO_MARK, whenLeft, withPage } from "./conversation.ts";
import { EMPTY, keyOf, ofSession, targetOfKey } from "./directory.ts";
import { onEvent } from "./event_reducer.ts";
import type { ClientEvent, Message, Target } from "../library/events.ts";
import { insertLine, messageLine, type NewLine } from "./lines.ts";
import { type Outgoing, targetOf } from "../library/outbox.ts";
import {
  changeAll,
  currentOf,
  look,
  opened,
  put,
  type State,
  update,
  withNotice,
} from "./state.ts";
import { safe } from "./safe_text.ts";

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
  | { readonly type: "focus"; readonly focused: boolean }
  | { readonly type: "scrolled"; readonly atBottom: boolean }
  | { readonly type: "clear" }
  | { readonly type: "tick"; readonly now: number };

/** The state after an action. */
export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "event":
      return onEvent(state, action.event, action.now);
    case "queued":
      return onQueued(state, action);
    case "restored":
      return action.unsent.reduce(
        (s, chat) =>
          onQueued(s, { cid: chat.cid, target: targetOf(chat), msg: chat.msg, now: chat.at }),
        state,
      );
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
      return withNotice(state, action);
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
    ...NO_MARK,
  }));
  return opened(next, keyOf(chat.target));
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
  return update(
    next,
    action.target,
    (c) => withPage(c, page, state.nextSeq, action, state.me?.id ?? 0),
  );
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
    next = opened(
      update(next, target, (c) => ({ ...c, unread: count, mentions, unmarked: count })),
      key,
    );
  }
  return next;
}

function onClear(state: State): State {
  const current = currentOf(state);
  if (current === undefined) return { ...state, notices: [] };
  const lines = current.lines.filter((line) => line.kind === "message");
  return put(state, { ...current, lines, ...NO_MARK });
}
