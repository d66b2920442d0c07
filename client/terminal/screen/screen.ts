/**
 * Draws frames on a terminal: the alternate screen, only rows that changed, one write per frame.
 * It knows rows and columns, nothing of chats.
 *
 * Invariants: what was there before the program is there after it; a frame that comes while one is
 * being written replaces those that wait, so that a slow terminal costs no memory; text never
 * reaches past the window's edge.
 */

import type { Frame, Size } from "./layout.ts";
import { type Row, sgr, type Span } from "./style.ts";
import { graphemes } from "../../chat/safe_text.ts";
import { truncate, width } from "../text.ts";

const ENTER = "\x1b[?1049h" + // alternate screen
  "\x1b[?7l" + // no automatic wrap
  "\x1b[?2004h" + // bracketed paste
  "\x1b[?1004h" + // focus reports
  "\x1b[2J";
const LEAVE = "\x1b[?1004l\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[0m\x1b[?1049l";
const BEGIN_UPDATE = "\x1b[?2026h\x1b[?25l";
const END_UPDATE = "\x1b[?25h\x1b[?2026l";

/** The terminal that a screen draws on. */
export interface Terminal {
  /** Writes all of it; may take as long as the terminal likes. */
  write(text: string): Promise<void>;
  /** Writes all of it before it returns: for leaving. */
  writeNow(text: string): void;
  size(): Size;
}

/** One terminal's screen. */
export class Screen {
  readonly #terminal: Terminal;
  readonly #color: boolean;
  #drawn: string[] = [];
  #size: Size = { columns: 0, rows: 0 };
  #waiting: Frame | undefined;
  #sounds = "";
  #writing: Promise<void> | undefined;
  #open = false;

  /** @param color False with NO_COLOR. */
  constructor(terminal: Terminal, color: boolean) {
    this.#terminal = terminal;
    this.#color = color;
  }

  /** Takes the terminal over. */
  enter(): void {
    this.#open = true;
    this.#drawn = [];
    this.#terminal.writeNow(ENTER);
  }

  /** Gives the terminal back as it was. Idempotent. */
  leave(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#waiting = undefined;
    this.#terminal.writeNow(LEAVE);
  }

  /** The next frame is drawn whole: the terminal may show anything. */
  forget(): void {
    this.#drawn = [];
  }

  /** Shows a frame, now or as soon as the terminal has taken the one before. */
  draw(frame: Frame): void {
    if (!this.#open) return;
    this.#waiting = frame;
    this.#start();
  }

  /** Rings the bell and, with a text, asks the terminal for a desktop notification (OSC 9). */
  notify(bell: boolean, text: string | undefined): void {
    if (!this.#open) return;
    if (text !== undefined) this.#sounds += `\x1b]9;${text}\x07`;
    if (bell) this.#sounds += "\x07";
    this.#start();
  }

  /** Resolves when everything has been written. */
  async settled(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  #start(): void {
    // A failure to write means that the terminal is gone; its input ends then, and the program.
    this.#writing ??= this.#drain().catch(() => this.leave()).finally(() => {
      this.#writing = undefined;
      if (this.#open && (this.#waiting !== undefined || this.#sounds !== "")) this.#start();
    });
  }

  async #drain(): Promise<void> {
    while (this.#open && (this.#waiting !== undefined || this.#sounds !== "")) {
      const sounds = this.#sounds;
      const frame = this.#waiting;
      this.#sounds = "";
      this.#waiting = undefined;
      const text = sounds + (frame === undefined ? "" : this.#changes(frame));
      await this.#terminal.write(text);
    }
  }

  #changes(frame: Frame): string {
    const size = this.#terminal.size();
    let out = "";
    if (size.columns !== this.#size.columns || size.rows !== this.#size.rows) {
      this.#size = size;
      this.#drawn = [];
    }
    if (this.#drawn.length === 0) out += "\x1b[0m\x1b[2J";
    frame.rows.forEach((row, index) => {
      const text = rowText(row, size.columns, this.#color);
      if (this.#drawn[index] === text) return;
      this.#drawn[index] = text;
      // Cleared first: after a full row the cursor is still on its last character.
      out += `\x1b[${index + 1};1H\x1b[2K${text}\x1b[0m`;
    });
    const { row, column } = frame.cursor;
    return `${BEGIN_UPDATE}${out}\x1b[${row + 1};${column + 1}H${END_UPDATE}`;
  }
}

/** A row as it is written, cut at the window's edge. */
export function rowText(row: Row, columns: number, color: boolean): string {
  let out = "";
  let column = 0;
  for (const span of row) {
    if (column >= columns) break;
    const fits = width(span.text) <= columns - column
      ? span.text
      : truncate(span.text, columns - column);
    const style = sgr(span.style, color);
    out += style === "" ? "" : `\x1b[0m${style}`;
    out += placed(fits, column, columns);
    if (style !== "") out += "\x1b[0m";
    column += width(fits);
  }
  return out;
}

// Characters whose width no terminal gets wrong.
const CERTAIN = /^[\x20-\x7e\u00a0-\u02ff\u0370-\u058f\u3000-\u9fff\uac00-\ud7a3\uff00-\uffef]*$/;

/**
 * Text that begins in a column. Terminals disagree about the width of emoji sequences (skin tones,
 * flags, variation selectors): after each of them the cursor is put where this program has it, over
 * blanks, so that a disagreement stays within that one character.
 */
function placed(text: Span["text"], from: number, columns: number): string {
  if (CERTAIN.test(text)) return text;
  let out = "";
  let column = from;
  for (const grapheme of graphemes(text)) {
    const taken = width(grapheme);
    const isUncertain = taken > 1 && [...grapheme].length > 1;
    const next = column + taken;
    out += isUncertain
      ? `${" ".repeat(taken)}\x1b[${column + 1}G${grapheme}${
        next < columns ? `\x1b[${next + 1}G` : ""
      }`
      : grapheme;
    column = next;
  }
  return out;
}
