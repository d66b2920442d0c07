/**
 * The key that makes names unique: two names that look alike have one. No SQL and no driver.
 * Source: Unicode Technical Standard 39, "Confusable Detection", over NFKC case folding.
 */

import unhomoglyph from "unhomoglyph";

/** Begins every key; no name does. A row with another key is from before names were compared by look. */
const MARK = "\u0001";
/** Longest key in UTF-16 units: the column has 600 bytes. NFKC makes 18 letters of one, at worst. */
const MAX_KEY_UNITS = 190;
/** Condition for rows whose keys are old, over a column `KEY`. */
export const HAS_OLD_KEY = "(KEY < CHAR(1) OR KEY >= CHAR(2))";
/** Rows whose keys are brought up to date together. */
export const REKEYED_AT_ONCE = 1_000;

/**
 * A name without case: under it a name is looked up, exactly.
 * Lower, upper, lower: "ß", "ẞ" and "SS", or "σ" and "ς", fold to the same only that way.
 */
export function foldedName(name: string): string {
  return name.normalize("NFC").toLowerCase().toUpperCase().toLowerCase().normalize("NFC");
}

/**
 * The key under which a name is unique: names with one key look alike. Folded once more at the end,
 * as the look of a digit may be a capital letter ("0" and "O").
 */
export function nameKey(name: string): string {
  const folded = foldedName(name.normalize("NFKC")).normalize("NFKC").replace(/\s+/gu, " ");
  const look = unhomoglyph(folded.normalize("NFD")).normalize("NFD");
  const key = foldedName(look.replace(/\s+/gu, " ").trim());
  return MARK + key.slice(0, MAX_KEY_UNITS).toWellFormed();
}

/** Keys under which a name may be found: its look, and the one of before. */
export function keysOf(name: string): [look: string, old: string] {
  return [nameKey(name), foldedName(name)];
}
