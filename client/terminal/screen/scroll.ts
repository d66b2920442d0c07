/**
 * Which rows of a conversation are in the window. Pure.
 *
 * The window hangs on a line, not on a row number: what comes below or is loaded above moves
 * nothing that is being read. Work is proportional to the rows shown or scrolled, not to all lines.
 */

import type { Line } from "../../chat/lines.ts";
import { type RowOptions, rowsOf, separators } from "./message_rows.ts";
import type { Row } from "./style.ts";

/** The lowest row in the window: `skip` rows of line `seq` are below it. */
export interface Anchor {
  readonly seq: number;
  readonly skip: number;
}

/** A conversation's lines and how they are laid out. */
export interface Column {
  readonly lines: readonly Line[];
  /** `mid` of the message below the unread mark. */
  readonly marker: string | undefined;
  readonly options: RowOptions;
}

/** What is in the window. */
export interface Window {
  /** Top to bottom, at most as many as asked for. */
  readonly rows: readonly Row[];
  /** The first line's first row is among them. */
  readonly atTop: boolean;
}

/** Rows of line `at` with what separates it from the line before. */
function rowsAt({ lines, marker, options }: Column, at: number): readonly Row[] {
  const line = lines[at];
  if (line === undefined) return [];
  const above = separators(lines[at - 1], line, marker, options.columns);
  const rows = rowsOf(line, options);
  return above.length === 0 ? rows : [...above, ...rows];
}

/** Where the anchor is now; the end when its line has gone. */
function place(column: Column, anchor: Anchor | undefined): { at: number; skip: number } {
  const last = column.lines.length - 1;
  if (anchor === undefined) return { at: last, skip: 0 };
  const at = column.lines.findLastIndex((line) => line.seq === anchor.seq);
  if (at < 0) return { at: last, skip: 0 };
  return { at, skip: Math.min(anchor.skip, rowsAt(column, at).length - 1) };
}

/** The rows in a window of a height that hangs on `anchor`; undefined is the end. */
export function windowAt(column: Column, anchor: Anchor | undefined, height: number): Window {
  const { at: from, skip } = place(column, anchor);
  const blocks: (readonly Row[])[] = [];
  let count = 0;
  let at = from;
  for (; at >= 0 && count < height; at--) {
    const rows = rowsAt(column, at);
    const block = at === from && skip > 0 ? rows.slice(0, rows.length - skip) : rows;
    blocks.push(block);
    count += block.length;
  }
  const rows = blocks.reverse().flat();
  return { rows: rows.slice(Math.max(0, rows.length - height)), atTop: at < 0 && count <= height };
}

/**
 * The anchor `rows` further up (or down, when negative), not past either end of a window of a height.
 *
 * @returns undefined at the end.
 */
export function moved(
  column: Column,
  anchor: Anchor | undefined,
  rows: number,
  height: number,
): Anchor | undefined {
  let { at, skip } = place(column, anchor);
  skip += rows;
  while (at > 0 && skip >= rowsAt(column, at).length) {
    skip -= rowsAt(column, at).length;
    at--;
  }
  while (skip < 0) {
    if (at >= column.lines.length - 1) return undefined;
    at++;
    skip += rowsAt(column, at).length;
  }
  return clampTop(column, at, skip, height);
}

/** Not higher than a window full of the first lines. */
function clampTop(column: Column, from: number, by: number, height: number): Anchor | undefined {
  let above = -by;
  for (let at = from; at >= 0 && above < height; at--) above += rowsAt(column, at).length;
  let at = from;
  let skip = by;
  // So many rows too high: down again.
  for (let missing = height - above; missing > 0; missing--) {
    if (skip > 0) {
      skip--;
      continue;
    }
    if (at >= column.lines.length - 1) return undefined;
    at++;
    skip = rowsAt(column, at).length - 1;
  }
  const line = column.lines[at];
  const isEnd = at === column.lines.length - 1 && skip === 0;
  return line === undefined || isEnd ? undefined : { seq: line.seq, skip };
}
