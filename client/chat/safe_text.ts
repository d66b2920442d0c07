/**
 * Text of somebody else, made harmless to show, and cut into what a reader takes for characters.
 * How wide it is, is the terminal's to know.
 *
 * Invariant: what `safe` returns moves no cursor, changes no mode and reorders nothing but by the
 * letters' own direction.
 */

/** Columns between tab stops. */
const TAB = "    ";
/** Longest grapheme kept, in UTF-16 units: the longest emoji has 14; more is stacked marks. */
const MAX_GRAPHEME_UNITS = 24;

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Text in which each unit is one column, one grapheme and harmless. */
export const PLAIN = /^[\x20-\x7e]*$/;
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
