/**
 * Text as a terminal shows it: how many columns it takes, where it is cut and where it wraps. No
 * styles, no terminal; the text is made harmless already.
 *
 * Widths follow Unicode 17 as `string-width` has it; wrapping is by grapheme.
 */

import stringWidth from "string-width";
import { graphemes, PLAIN } from "../chat/safe_text.ts";

/** Columns that a text without control characters takes. */
export function width(text: string): number {
  if (PLAIN.test(text)) return text.length;
  return stringWidth(text);
}

/** The text's beginning in at most `columns`, ended by "…" when something was cut. */
export function truncate(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  if (columns <= 0) return "";
  let out = "";
  let used = 0;
  for (const grapheme of graphemes(text)) {
    const more = width(grapheme);
    if (used + more > columns - 1) break;
    out += grapheme;
    used += more;
  }
  return `${out}…`;
}

/** The text with spaces after it, `columns` wide; a longer one is returned as it is. */
export function padEnd(text: string, columns: number): string {
  return text + " ".repeat(Math.max(0, columns - width(text)));
}

/** The text with spaces before it, `columns` wide; a longer one is returned as it is. */
export function padStart(text: string, columns: number): string {
  return " ".repeat(Math.max(0, columns - width(text))) + text;
}

// Line breaking of Chinese and Japanese: what may not begin and what may not end a line.
const NO_START = new Set(
  "、。，．・：；？！」』】〕）］｝〉》〗〙〟’”ー々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ…‥%℃,.:;?!)]}",
);
const NO_END = new Set("「『【〔（［｛〈《〖〘〝‘“([{");

/**
 * Lines of at most `columns`: broken at spaces, and between wide characters, where their
 * punctuation allows it; a word that is wider than a line is cut anywhere.
 *
 * @param text As `safe` returns it; its newlines break lines.
 * @param columns At least 2, so that every character fits.
 * @returns At least one line.
 */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split("\n")) {
    if (paragraph.length <= columns && PLAIN.test(paragraph)) lines.push(paragraph);
    else wrapParagraph(paragraph, Math.max(2, columns), lines);
  }
  return lines;
}

function wrapParagraph(paragraph: string, columns: number, lines: string[]): void {
  const parts = graphemes(paragraph);
  const widths = parts.map(width);
  let start = 0; // first grapheme of the line
  let used = 0; // its columns so far
  let breakAt = 0; // where it may be broken: index of the next line's first grapheme
  let at = 0;
  while (at < parts.length) {
    const part = parts[at] ?? "";
    const columnsOfPart = widths[at] ?? 0;
    if (at > start && mayBreak(parts[at - 1] ?? "", part, widths[at - 1] ?? 0, columnsOfPart)) {
      breakAt = at;
    }
    // A space at the end of a line takes no column: it is not shown.
    if (used + columnsOfPart > columns && part !== " " && at > start) {
      const end = breakAt > start ? breakAt : at;
      lines.push(parts.slice(start, end).join("").trimEnd());
      start = end;
      while (parts[start] === " ") start++;
      at = start;
      used = 0;
      breakAt = start;
      continue;
    }
    used += columnsOfPart;
    at++;
  }
  lines.push(parts.slice(start).join("").trimEnd());
}

function mayBreak(before: string, after: string, widthBefore: number, widthAfter: number): boolean {
  if (before === " ") return after !== " ";
  if (widthBefore < 2 && widthAfter < 2) return false;
  return !NO_START.has(after) && !NO_END.has(before);
}
