/**
 * The input line as rows: the prompt, the text wrapped at the window's edge, and where the cursor is.
 * Pure.
 */

import type { Editor } from "../input/editor.ts";
import type { Row } from "./style.ts";
import { graphemes, safe } from "../../chat/safe_text.ts";
import { truncate, width } from "../text.ts";

/** The input as it is drawn. */
export interface InputRows {
  readonly rows: readonly Row[];
  /** Row of the cursor among them, and its column, from 0. */
  readonly cursor: { readonly row: number; readonly column: number };
}

/**
 * Lays the input out.
 *
 * @param maxRows A longer input scrolls, so that the cursor is always to be seen.
 */
export function inputRows(
  editor: Editor,
  prompt: string,
  columns: number,
  maxRows: number,
): InputRows {
  const { search } = editor;
  const shownPrompt = search === undefined
    ? prompt
    : `(${search.found ? "" : "failed "}search) ${search.query}: `;
  const head = truncate(shownPrompt, Math.max(2, Math.floor(columns / 2)));
  const rows: string[] = [];
  let row = "";
  let used = width(head);
  let cursor = { row: 0, column: used };
  let at = 0;
  for (const part of graphemes(editor.text)) {
    if (at === editor.cursor) cursor = { row: rows.length, column: used };
    at += part.length;
    if (part === "\n") {
      rows.push(row);
      row = "";
      used = 0;
      continue;
    }
    // Pasted text may hold what must not reach the terminal.
    const shown = safe(part).replaceAll("\n", "␊");
    const more = width(shown);
    if (used + more > columns - 1) {
      rows.push(row);
      row = "";
      used = 0;
      if (at - part.length === editor.cursor) cursor = { row: rows.length, column: 0 };
    }
    row += shown;
    used += more;
  }
  if (at === editor.cursor) cursor = { row: rows.length, column: used };
  rows.push(row);
  const first = Math.min(Math.max(0, cursor.row - maxRows + 1), Math.max(0, rows.length - maxRows));
  const style = search === undefined ? { bold: true } : { dim: true };
  return {
    rows: rows.slice(first, first + maxRows).map((text, index) =>
      index + first === 0 ? [{ text: head, style }, { text }] : [{ text }]
    ),
    cursor: { row: cursor.row - first, column: cursor.column },
  };
}
