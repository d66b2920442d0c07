/**
 * Earlier inputs on disk, one JSON string a line, mode 0600. Bounded.
 */

import { parseJson } from "../../files/json.ts";
import { readIfThere, replaceFile } from "../../files/whole_file.ts";

/** Inputs kept. */
const MAX_ENTRIES = 1_000;

/** The inputs of one profile. */
export class InputHistory {
  readonly #path: string;
  /** Oldest first. */
  readonly entries: readonly string[];
  #last: string | undefined;

  private constructor(path: string, entries: readonly string[]) {
    this.#path = path;
    this.entries = entries;
    this.#last = entries.at(-1);
  }

  /** Reads the file; one that has grown past twice the limit is shortened. */
  static async open(path: string): Promise<InputHistory> {
    const all = (await readIfThere(path)).split("\n").flatMap(entry);
    const entries = all.slice(-MAX_ENTRIES);
    if (all.length > 2 * MAX_ENTRIES) {
      await replaceFile(path, entries.map((text) => `${JSON.stringify(text)}\n`).join(""));
    }
    return new InputHistory(path, entries);
  }

  /** Remembers an input. One that begins with a space is not remembered, nor a repeat. */
  async add(text: string): Promise<void> {
    if (text.trim() === "" || text.startsWith(" ") || text === this.#last) return;
    this.#last = text;
    const line = `${JSON.stringify(text)}\n`;
    await Deno.writeTextFile(this.#path, line, { append: true, mode: 0o600 });
  }
}

/** The input in a line; none when a crash has torn it. */
function entry(line: string): string[] {
  const value = parseJson(line);
  return typeof value === "string" ? [value] : [];
}
