/**
 * Where in a text a cursor may go: by characters, words and lines. Pure; places are counted in UTF-16
 * units from the beginning.
 *
 * Invariant: from a place between graphemes every way leads to another one. A grapheme never reaches
 * over a newline, so that one line is enough to look at.
 */

import { graphemes } from "../../chat/safe_text.ts";

/** One character to the left. */
export function before(text: string, at: number): number {
  const start = lineStart(text, at);
  if (start === at) return Math.max(0, at - 1);
  const last = graphemes(text.slice(start, at)).at(-1);
  return at - (last?.length ?? 0);
}

/** One character to the right. */
export function after(text: string, at: number): number {
  if (text[at] === "\n") return at + 1;
  const first = graphemes(text.slice(at, lineEnd(text, at)))[0];
  return at + (first?.length ?? 0);
}

/** The beginning of the line. */
export function lineStart(text: string, at: number): number {
  return at === 0 ? 0 : text.lastIndexOf("\n", at - 1) + 1;
}

/** The end of the line, before its newline. */
export function lineEnd(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
}

/** The beginning of the word, or of the one before. */
export function wordStart(text: string, at: number): number {
  const match = /[\p{L}\p{N}\p{M}_]*[^\p{L}\p{N}\p{M}_]*$/u.exec(text.slice(0, at));
  return at - (match?.[0].length ?? 0);
}

/** The end of the word, or of the next one. */
export function wordEnd(text: string, at: number): number {
  const match = /^[^\p{L}\p{N}\p{M}_]*[\p{L}\p{N}\p{M}_]*/u.exec(text.slice(at));
  return at + (match?.[0].length ?? 0);
}

/** The beginning of what stands between blanks. */
export function spaceStart(text: string, at: number): number {
  const match = /\S*\s*$/u.exec(text.slice(0, at));
  return at - (match?.[0].length ?? 0);
}

/** The same column in the line above; undefined in the first. */
export function above(text: string, at: number): number | undefined {
  const start = lineStart(text, at);
  if (start === 0) return undefined;
  return atColumn(text, lineStart(text, start - 1), at - start);
}

/** The same column in the line below; undefined in the last. */
export function below(text: string, at: number): number | undefined {
  const end = lineEnd(text, at);
  if (end === text.length) return undefined;
  return atColumn(text, end + 1, at - lineStart(text, at));
}

/** The place `units` into the line that begins at `start`, on a grapheme's edge. */
function atColumn(text: string, start: number, units: number): number {
  let at = start;
  for (const grapheme of graphemes(text.slice(start, lineEnd(text, start)))) {
    if (at + grapheme.length > start + units) break;
    at += grapheme.length;
  }
  return at;
}
