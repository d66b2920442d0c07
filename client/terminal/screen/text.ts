/**
 * Text as a terminal shows it: what is safe to print, how many columns it takes, where it wraps.
 * No styles, no terminal.
 *
 * Invariant: what `safe` returns moves no cursor, changes no mode and reorders nothing but by the
 * letters' own direction. Widths follow Unicode 17 as `string-width` has it; wrapping is by grapheme.
 */

import stringWidth from "string-width";

/** Columns between tab stops. */
const TAB = "    ";
/** Longest grapheme kept, in UTF-16 units: the longest emoji has 14; more is stacked marks. */
const MAX_GRAPHEME_UNITS = 24;

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

const PLAIN = /^[\x20-\x7e]*$/;
// Control characters, line and paragraph separators, marks and overrides of direction, invisible
// characters, tags outside emoji, surrogates without a partner.
const UNSAFE =
  // deno-lint-ignore no-control-regex -- they are what is looked for
  /[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

// Soft hyphen, marks of direction, spaces without width; fillers of Hangul, of which terminals draw
// a width of their own.
const INVISIBLE = /[\u00ad\u061c\u115f\u1160\u200b\u200e\u200f\u2060\u3164\ufeff\uffa0]/;

/**
 * Text of somebody else, made harmless: control characters become visible pictures, overrides of
 * direction become U+FFFD, invisible characters vanish. Newlines stay, tabs become spaces.
 */
export function safe(text: string): string {
  if (PLAIN.test(text)) return text;
  const clean = text.replaceAll("\r\n", "\n").replace(UNSAFE, replacement);
  return clean.length > MAX_GRAPHEME_UNITS ? cutTowers(clean) : clean;
}

/** {@linkcode safe} on one line: for names. */
export function safeLine(text: string): string {
  return safe(text).replaceAll("\n", "␊");
}

function replacement(char: string): string {
  const code = char.charCodeAt(0);
  if (code === 0x0a || code === 0x0d || code === 0x2028 || code === 0x2029) return "\n";
  if (code === 0x09) return TAB;
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "␡";
  return INVISIBLE.test(char) ? "" : "\ufffd";
}

/** Cuts graphemes with towers of combining marks, which would be drawn over other lines. */
function cutTowers(text: string): string {
  let out = "";
  for (const grapheme of graphemes(text)) {
    out += grapheme.length > MAX_GRAPHEME_UNITS
      ? grapheme.slice(0, MAX_GRAPHEME_UNITS).toWellFormed()
      : grapheme;
  }
  return out;
}

/** What a reader takes for one character each. */
export function graphemes(text: string): string[] {
  if (PLAIN.test(text)) return text.split("");
  return Array.from(segmenter.segment(text), (segment) => segment.segment);
}

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
