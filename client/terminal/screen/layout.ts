/**
 * State → the rows of the whole screen and the place of the cursor. Pure: it draws nothing. What a
 * bar, the home page or the input says is theirs.
 *
 * From top to bottom: a title, the messages, a status line, the input. Small windows lose the title.
 */

import { hintRow, statusRow, titleRow } from "./status_bar.ts";
import type { Conversation } from "../../chat/conversation.ts";
import { titleOf } from "../../chat/directory.ts";
import type { Editor } from "../input/editor.ts";
import { homeRows } from "./home_page.ts";
import { type InputRows, inputRows } from "./input_rows.ts";
import { nameColumns } from "./message_rows.ts";
import { type Anchor, type Column, windowAt } from "./scroll.ts";
import { currentOf, type State } from "../../chat/state.ts";
import type { Row } from "./style.ts";
import { truncate, width } from "../text.ts";

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
  if (areas.title > 0) rows.push(titleRow(state, view.server, columns));
  const body = bodyRows(state, view, columns, areas.messages);
  const blanks: Row[] = Array.from({ length: areas.messages - body.length }, () => []);
  // Conversations grow from below, the home page from above.
  rows.push(...(state.current === undefined ? [...body, ...blanks] : [...blanks, ...body]));
  if (size.rows >= 2) {
    rows.push(
      view.hint === undefined
        ? statusRow(state, view.anchor !== undefined, columns, now)
        : hintRow(view.hint, columns),
    );
  }
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
