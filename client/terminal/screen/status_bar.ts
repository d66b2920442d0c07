/**
 * The two bars of the screen: the title above the messages, the status line below them. Pure; where
 * they stand is the layout's.
 *
 * Invariant: a bar is one row in reverse, exactly as wide as the window.
 */

import { titleOf } from "../../chat/directory.ts";
import { currentOf, type State } from "../../chat/state.ts";
import { COLOR, type Row, type Span } from "./style.ts";
import { truncate, width } from "../text.ts";

/**
 * The title: the conversation looked at and who is there, or home.
 *
 * @param server `host:port`.
 */
export function titleRow(state: State, server: string, columns: number): Row {
  return bar(titleSpans(state, server), columns);
}

/** A hint in the status line's place. */
export function hintRow(hint: string, columns: number): Row {
  return bar([{ text: ` ${hint}` }], columns);
}

function titleSpans(state: State, server: string): Span[] {
  const current = currentOf(state);
  if (current === undefined) {
    return [{ text: ` Home`, style: { bold: true } }, {
      text: ` · ${state.me?.name ?? ""} on ${server}`,
    }];
  }
  const { people, rooms } = state.directory;
  const { target } = current;
  const title = { text: ` ${titleOf(state.directory, target)}`, style: { bold: true } };
  // While the server is away nobody's presence is known, and a stranger's never is.
  const isKnown = state.link.state === "online";
  if (target.kind === "user") {
    const online = people.get(target.id)?.online;
    if (!isKnown || online === undefined) return [title];
    return [title, { text: ` · ${online ? "online" : "offline"}` }];
  }
  const room = rooms.get(target.id);
  const members = room?.members ?? [];
  const online = members.filter((id) => people.get(id)?.online === true).length;
  const count = isKnown ? ` · ${members.length} members, ${online} online` : "";
  const desc = room?.desc ? ` · ${room.desc}` : "";
  return [title, { text: `${count}${desc}` }];
}

/**
 * The status line: how it stands with the server, what waits, where something new is.
 *
 * @param isScrolled The latest lines are out of sight.
 * @param now For the countdown to a reconnect, epoch ms.
 */
export function statusRow(
  state: State,
  isScrolled: boolean,
  columns: number,
  now: number,
): Row {
  const spans: Span[] = [linkSpan(state, now)];
  const waiting = countQueued(state);
  if (waiting > 0) spans.push({ text: ` ${waiting} queued`, style: { color: COLOR.yellow } });
  if (isScrolled) spans.push({ text: " ↓PageDown" });
  if (currentOf(state)?.loadingOlder === true) spans.push({ text: " loading" });
  spans.push(...activity(state));
  const typing = typingText(state);
  if (typing !== "") spans.push({ text: ` · ${typing}`, style: { dim: true } });
  // Last, as it is the longest and the first to be cut.
  const { state: how, reason } = state.link;
  if ((how === "waiting" || how === "offline") && reason !== "") {
    spans.push({ text: ` · ${reason}`, style: { dim: true } });
  }
  return bar(spans, columns);
}

function linkSpan({ link }: State, now: number): Span {
  switch (link.state) {
    case "online":
      return { text: " online", style: { color: COLOR.green } };
    case "connected":
      return { text: " logging in", style: { color: COLOR.yellow } };
    case "connecting":
      return { text: " connecting", style: { color: COLOR.yellow } };
    case "waiting": {
      const seconds = Math.max(0, Math.ceil((link.retryAt - now) / 1000));
      return { text: ` offline, next try in ${seconds} s`, style: { color: COLOR.red } };
    }
    case "offline":
      return { text: " offline", style: { color: COLOR.red } };
    default:
      return link.state satisfies never;
  }
}

/** Own messages on their way, in all conversations. */
function countQueued(state: State): number {
  let count = 0;
  for (const conversation of state.conversations.values()) {
    // They are at the end.
    for (let at = conversation.lines.length - 1; at >= 0; at--) {
      const line = conversation.lines[at];
      if (line?.kind === "notice") continue;
      if (line?.mid !== undefined || line === undefined) break;
      if (line.mark === "queued") count++;
    }
  }
  return count;
}

/** Where something new is: `2:bob(3)`, with `!` for what is meant for the user. */
function activity(state: State): Span[] {
  const spans: Span[] = [];
  state.order.forEach((key, index) => {
    const conversation = state.conversations.get(key);
    if (conversation === undefined || conversation.unread === 0) return;
    const { target, unread, mentions } = conversation;
    const number = index < 9 ? `${index + 1}:` : "";
    const isForMe = mentions > 0;
    spans.push({
      text: ` ${number}${truncate(titleOf(state.directory, target), 16)}(${unread}${
        isForMe ? "!" : ""
      })`,
      style: isForMe ? { color: COLOR.magenta, bold: true } : { bold: true },
    });
  });
  return spans.length === 0 ? [] : [{ text: " ·" }, ...spans];
}

function typingText(state: State): string {
  const current = currentOf(state);
  if (current === undefined || current.typing.size === 0) return "";
  const names = [...current.typing.keys()].map((id) =>
    state.directory.people.get(id)?.name ?? `user ${id}`
  );
  if (names.length > 2) return `${names.length} people are typing`;
  return `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} typing`;
}

/** A row in reverse, cut or filled to the window's width. */
function bar(spans: readonly Span[], columns: number): Row {
  const out: Span[] = [];
  let left = columns;
  for (const span of spans) {
    if (left <= 0) break;
    const text = truncate(span.text, left);
    left -= width(text);
    // Colours on a reversed background read badly: there they are weight.
    out.push({ text, style: { ...span.style, reverse: true } });
  }
  if (left > 0) out.push({ text: " ".repeat(left), style: { reverse: true } });
  return out;
}
