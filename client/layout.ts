/**
 * State → the rows of the whole screen and the place of the cursor. Pure: it draws nothing.
 *
 * From top to bottom: a title, the messages, a status line, the input. Small windows lose the title.
 */

import { titleOf } from "./directory.ts";
import type { Editor } from "./editor.ts";
import { type InputRows, inputRows } from "./input_rows.ts";
import { nameColumns, rowsOf } from "./message_rows.ts";
import { type Anchor, type Column, windowAt } from "./scroll.ts";
import { type Conversation, currentOf, type State } from "./state.ts";
import { COLOR, type Row, type Span } from "./style.ts";
import { padEnd, truncate, width } from "./text.ts";

/** Windows lower than this have no title. */
const TITLE_ROWS = 8;

/** What is seen besides the state. */
export interface View {
  readonly editor: Editor;
  /** Where the conversation is scrolled to; undefined at its end. */
  readonly anchor: Anchor | undefined;
  /** Rows that the home page is scrolled up. */
  readonly homeUp: number;
  /** Takes the status line's place: a question, candidates of a completion. */
  readonly hint: string | undefined;
  /** Takes the input's place: a question whose answer is not shown. */
  readonly question: string | undefined;
  /** `host:port`. */
  readonly server: string;
}

/** A window's size. */
export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** The whole screen. */
export interface Frame {
  /** As many as the window has. */
  readonly rows: readonly Row[];
  readonly cursor: { readonly row: number; readonly column: number };
}

/** How the rows of a window are shared out. */
interface Areas {
  readonly title: number;
  readonly messages: number;
}

/** Lays everything out. `now` is for the countdown to a reconnect, epoch ms. */
export function layout(state: State, view: View, size: Size, now: number): Frame {
  const columns = Math.max(4, size.columns);
  const input = inputOf(state, view, size);
  const areas = share(size.rows, input.rows.length);
  const rows: Row[] = [];
  if (areas.title > 0) rows.push(bar(titleSpans(state, view), columns));
  const body = bodyRows(state, view, columns, areas.messages);
  const blanks: Row[] = Array.from({ length: areas.messages - body.length }, () => []);
  // Conversations grow from below, the home page from above.
  rows.push(...(state.current === undefined ? [...body, ...blanks] : [...blanks, ...body]));
  if (size.rows >= 2) rows.push(statusRow(state, view, columns, now));
  const cursorRow = rows.length + input.cursor.row;
  rows.push(...input.rows);
  return {
    rows: rows.slice(0, size.rows),
    cursor: {
      row: Math.min(cursorRow, size.rows - 1),
      column: Math.min(input.cursor.column, columns - 1),
    },
  };
}

/** Height of the message area, for scrolling by pages. */
export function messageHeight(state: State, view: View, size: Size): number {
  return share(size.rows, inputOf(state, view, size).rows.length).messages;
}

function inputOf(state: State, view: View, size: Size): InputRows {
  const columns = Math.max(4, size.columns);
  if (view.question !== undefined) {
    const text = truncate(view.question, columns - 1);
    return { rows: [[{ text, style: { bold: true } }]], cursor: { row: 0, column: width(text) } };
  }
  const maxRows = Math.max(1, Math.min(8, Math.floor(size.rows / 3)));
  return inputRows(view.editor, promptOf(state), columns, maxRows);
}

function share(rows: number, input: number): Areas {
  const title = rows >= TITLE_ROWS ? 1 : 0;
  return { title, messages: Math.max(0, rows - title - 1 - input) };
}

/** A conversation as a column of rows. */
export function columnOf(state: State, conversation: Conversation, columns: number): Column {
  const { people, rooms } = state.directory;
  const { target } = conversation;
  const ids = target.kind === "user" ? [target.id] : rooms.get(target.id)?.members ?? [];
  const names = ids.map((id) => people.get(id)?.name ?? "");
  const me = state.me;
  return {
    lines: conversation.lines,
    marker: conversation.marker,
    options: {
      columns,
      nameColumns: nameColumns(me === undefined ? names : [...names, me.name], columns),
      me: me?.id ?? 0,
    },
  };
}

function promptOf(state: State): string {
  const current = currentOf(state);
  return current === undefined ? "> " : `${titleOf(state.directory, current.target)}> `;
}

function bodyRows(state: State, view: View, columns: number, height: number): readonly Row[] {
  const current = currentOf(state);
  if (current === undefined) {
    const rows = homeRows(state, columns);
    const up = Math.min(view.homeUp, Math.max(0, rows.length - height));
    return rows.slice(Math.max(0, rows.length - height - up), rows.length - up);
  }
  const { rows, atTop } = windowAt(columnOf(state, current, columns), view.anchor, height);
  if (!atTop || rows.length >= height) return rows;
  const note = current.loadingOlder || current.loaded === "loading"
    ? "loading …"
    : current.more
    ? "PageUp loads earlier messages"
    : current.loaded === "yes"
    ? "this is where it begins"
    : "";
  return note === "" ? rows : [[{ text: truncate(note, columns), style: { dim: true } }], ...rows];
}

// ── bars ────────────────────────────────────────────────────────────────────────────────────

function titleSpans(state: State, view: View): Span[] {
  const current = currentOf(state);
  if (current === undefined) {
    return [{ text: ` Home`, style: { bold: true } }, {
      text: ` · ${state.me?.name ?? ""} on ${view.server}`,
    }];
  }
  const { people, rooms } = state.directory;
  const { target } = current;
  const title = { text: ` ${titleOf(state.directory, target)}`, style: { bold: true } };
  // While the server is away nobody's presence is known.
  const isKnown = state.link.state === "online";
  if (target.kind === "user") {
    const person = people.get(target.id);
    return isKnown ? [title, { text: ` · ${person?.online ? "online" : "offline"}` }] : [title];
  }
  const room = rooms.get(target.id);
  const members = room?.members ?? [];
  const online = members.filter((id) => people.get(id)?.online === true).length;
  const count = isKnown ? ` · ${members.length} members, ${online} online` : "";
  const desc = room?.desc ? ` · ${room.desc}` : "";
  return [title, { text: `${count}${desc}` }];
}

function statusRow(state: State, view: View, columns: number, now: number): Row {
  if (view.hint !== undefined) return bar([{ text: ` ${view.hint}` }], columns);
  const spans: Span[] = [linkSpan(state, now)];
  const waiting = countQueued(state);
  if (waiting > 0) spans.push({ text: ` ${waiting} queued`, style: { color: COLOR.yellow } });
  if (view.anchor !== undefined) spans.push({ text: " ↓PageDown" });
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

// ── home ────────────────────────────────────────────────────────────────────────────────────

function homeRows(state: State, columns: number): Row[] {
  const { people, rooms } = state.directory;
  const friends = [...people.values()].filter((person) => person.friend);
  friends.sort((a, b) => Number(b.online) - Number(a.online) || a.name.localeCompare(b.name));
  const rows: Row[] = [];
  const heading = (text: string) => {
    rows.push([{ text: truncate(text, columns), style: { bold: true } }]);
  };
  if (rooms.size > 0) {
    heading("Groups");
    const cells = [...rooms.values()].sort((a, b) => a.name.localeCompare(b.name)).map((room) => ({
      text: `#${room.name}${unreadOf(state, `g${room.id}`)}`,
      style: {},
    }));
    rows.push(...cellRows(cells, columns));
  }
  if (friends.length > 0) {
    const online = friends.filter((friend) => friend.online).length;
    heading(`Friends, ${online} of ${friends.length} online`);
    const cells = friends.map((friend) => ({
      text: `${friend.online ? "●" : "○"} ${friend.name}${unreadOf(state, `u${friend.id}`)}`,
      style: friend.online ? { color: COLOR.green } : { dim: true },
    }));
    rows.push(...cellRows(cells, columns));
  }
  const hints = rooms.size + friends.length === 0
    ? [
      "Nobody here yet. /add NAME makes a friend,",
      "/create NAME a group, /join NAME enters one.",
    ]
    : ["/open NAME to talk, Alt-1 to Alt-9 to switch, /help for the rest"];
  rows.push([]);
  for (const hint of hints) {
    rows.push([{ text: truncate(hint, columns), style: { dim: true } }]);
  }
  const options = { columns, nameColumns: 0, me: state.me?.id ?? 0 };
  for (const line of state.notices) rows.push(...rowsOf(line, options));
  return rows;
}

function unreadOf(state: State, key: string): string {
  const unread = state.conversations.get(key)?.unread ?? 0;
  return unread === 0 ? "" : ` (${unread})`;
}

/** Cells side by side, as many as fit. */
function cellRows(cells: readonly Span[], columns: number): Row[] {
  const widest = Math.max(...cells.map((cell) => width(cell.text)));
  const cellColumns = Math.min(columns, Math.max(12, widest + 3));
  const perRow = Math.max(1, Math.floor(columns / cellColumns));
  const rows: Row[] = [];
  for (let at = 0; at < cells.length; at += perRow) {
    rows.push(
      cells.slice(at, at + perRow).map((cell) => ({
        ...cell,
        text: padEnd(` ${truncate(cell.text, cellColumns - 1)}`, cellColumns),
      })),
    );
  }
  return rows;
}
