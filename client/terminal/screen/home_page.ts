/**
 * The home page: groups and friends side by side, hints, and what was told to nobody in particular.
 * Pure; which part of it is in the window is the layout's.
 */

import { rowsOf } from "./message_rows.ts";
import type { State } from "../../chat/state.ts";
import { COLOR, type Row, type Span } from "./style.ts";
import { padEnd, truncate, width } from "../text.ts";

/** The whole home page; it may be longer than the window. */
export function homeRows(state: State, columns: number): Row[] {
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
