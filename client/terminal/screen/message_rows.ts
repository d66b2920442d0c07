/**
 * The lines of a conversation as rows of the screen: times, names, wrapped texts, separators.
 * Pure. Rows of a line are kept for as long as the line and the width stay the same.
 */

import type { Line } from "../../chat/lines.ts";
import { COLOR, personColor, type Row, type Span } from "./style.ts";
import { padStart, truncate, width, wrap } from "../text.ts";

/** Windows narrower than this have no column of names: the text would have no room. */
const NARROW_COLUMNS = 56;
/** Windows narrower than this show no times either. */
const TINY_COLUMNS = 30;
const MAX_NAME_COLUMNS = 14;

/** What rows depend on besides the line. */
export interface RowOptions {
  readonly columns: number;
  /** Columns for names. */
  readonly nameColumns: number;
  /** The user. */
  readonly me: number;
}

/** How wide the column of names is for these names. */
export function nameColumns(names: Iterable<string>, columns: number): number {
  if (columns < NARROW_COLUMNS) return 0;
  let widest = 3;
  for (const name of names) widest = Math.max(widest, width(name));
  return Math.min(widest, MAX_NAME_COLUMNS);
}

const cache = new WeakMap<Line, { readonly key: string; readonly rows: readonly Row[] }>();

/** The rows of one line, without separators. */
export function rowsOf(line: Line, options: RowOptions): readonly Row[] {
  const key = `${options.columns}:${options.nameColumns}:${options.me}`;
  const cached = cache.get(line);
  if (cached?.key === key) return cached.rows;
  const rows = line.kind === "notice" ? noticeRows(line, options) : messageRows(line, options);
  cache.set(line, { key, rows });
  return rows;
}

function noticeRows(line: Extract<Line, { kind: "notice" }>, { columns }: RowOptions): Row[] {
  const style = line.tone === "error" ? { color: COLOR.red } : { dim: true };
  const head = line.tone === "error" ? "! " : "· ";
  return wrap(line.text, columns - 2).map((text, index) => [
    { text: index === 0 ? head : "  ", style },
    { text, style },
  ]);
}

function messageRows(
  line: Extract<Line, { kind: "message" }>,
  { columns, nameColumns, me }: RowOptions,
): Row[] {
  const mine = line.from === me;
  const nameStyle = { color: personColor(line.from), bold: mine || line.mention };
  const time = {
    text: columns < TINY_COLUMNS ? "" : `${clock(line.ts)} `,
    style: { dim: true },
  };
  const narrow = nameColumns === 0;
  const head: Span[] = narrow
    ? [time, { text: `${truncate(line.name, 12)}: `, style: nameStyle }]
    : [
      time,
      { text: padStart(truncate(line.name, nameColumns), nameColumns), style: nameStyle },
      { text: " │ ", style: line.mention ? { color: COLOR.magenta, bold: true } : { dim: true } },
    ];
  const headColumns = head.reduce((sum, span) => sum + width(span.text), 0);
  const indent: Span = narrow
    ? { text: "  " }
    : { text: `${" ".repeat(headColumns - 3)} │ `, style: { dim: true } };
  const bodyStyle = line.mention ? { bold: true } : {};
  const texts = narrow
    ? wrapHanging(line.text, columns - headColumns, columns - 2)
    : wrap(line.text, columns - headColumns);
  const rows: Span[][] = texts.map((text, index) => [
    ...(index === 0 ? head : [indent]),
    { text, style: bodyStyle },
  ]);
  addMark(rows, line, columns, indent);
  return rows;
}

/** Wraps with a first line shorter than the others. */
function wrapHanging(text: string, first: number, others: number): string[] {
  if (first < 8) return ["", ...wrap(text, others)];
  const [head = "", ...rest] = wrap(text, first);
  if (rest.length === 0) return [head];
  // Everything after the first line again, at its own width.
  const left = text.slice(head.length).replace(/^ *\n?/, "");
  return [head, ...wrap(left, others)];
}

const MARKS = { queued: "⋯", sent: "✓", delivered: "✓✓", failed: "✗ not sent" } as const;

/** How far an own message has come, after its text, on a row of its own when there is no room. */
function addMark(
  rows: Span[][],
  line: Extract<Line, { kind: "message" }>,
  columns: number,
  indent: Span,
): void {
  if (line.mark === undefined) return;
  const isFailed = line.mark === "failed";
  const text = isFailed && line.why !== "" ? `${MARKS.failed}: ${line.why}` : MARKS[line.mark];
  const style = isFailed ? { color: COLOR.red } : { dim: true };
  const last = rows.at(-1);
  const used = last?.reduce((sum, span) => sum + width(span.text), 0) ?? 0;
  const shown = truncate(text, columns - width(indent.text));
  if (last !== undefined && used + 1 + width(shown) <= columns) {
    last.push({ text: ` ${shown}`, style });
  } else rows.push([indent, { text: shown, style }]);
}

/**
 * What stands above a line: its day, when it is another than the line's before; the unread mark.
 *
 * @param marker `mid` of the message below the mark.
 */
export function separators(
  before: Line | undefined,
  line: Line,
  marker: string | undefined,
  columns: number,
): Row[] {
  const rows: Row[] = [];
  if (before === undefined || dayOf(before.ts) !== dayOf(line.ts)) {
    rows.push(rule(dayName(line.ts), columns, { dim: true }));
  }
  if (marker !== undefined && line.kind === "message" && line.mid === marker) {
    rows.push(rule("new", columns, { color: COLOR.red }));
  }
  return rows;
}

/** A line across, with a word in it. */
export function rule(text: string, columns: number, style: Span["style"]): Row {
  const room = Math.max(0, columns - width(text) - 2);
  const left = Math.min(room, 4);
  const line = `${"─".repeat(left)} ${text} ${"─".repeat(room - left)}`;
  return [{ text: truncate(line, columns), ...(style && { style }) }];
}

const two = (n: number) => String(n).padStart(2, "0");

/** Local time of day, `HH:MM`. */
export function clock(ts: number): string {
  const date = new Date(ts);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

function dayOf(ts: number): string {
  const date = new Date(ts);
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** Local day: `Monday 2026-11-23`. */
export function dayName(ts: number): string {
  const date = new Date(ts);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${DAYS[date.getDay()]} ${day}`;
}
