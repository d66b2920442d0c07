/** Rows as columns of text. Control characters are escaped: names come from users. */

import type { AdminRow } from "./protocol.ts";

/** A table with a header; "nothing" for no rows. */
export function tableOf(rows: readonly AdminRow[]): string {
  if (rows.length === 0) return "nothing";
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const lines = [columns, ...rows.map((row) => columns.map((column) => shown(row[column])))];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines.map((line) =>
    line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd()
  ).join("\n");
}

function shown(value: string | number | boolean | undefined): string {
  return String(value ?? "").replace(
    /\p{Cc}/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
