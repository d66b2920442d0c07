/**
 * The key that makes names unique: two names that look alike have one. No SQL and no driver.
 * Source: Unicode Technical Standard 39, "Confusable Detection", over NFKC case folding.
 */

import unhomoglyph from "unhomoglyph";

/** Begins every key: no name does, nor the key of a deleted account. */
const MARK = "\u0001";
/** Longest key in UTF-16 units: the column has 600 bytes. NFKC makes 18 letters of one, at worst. */
const MAX_KEY_UNITS = 190;

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
