/**
 * Bytes from the terminal → keys, pastes and changes of focus. No state of the chat, no drawing.
 *
 * `node:readline` decodes the keys. What it does not do is done around it: a bracketed paste becomes
 * one event whatever is in it, focus reports are told apart from keys, and an Esc that stands alone
 * is a key once nothing has followed it for a moment.
 */

import { StringDecoder } from "node:string_decoder";
import { emitKeypressEvents } from "node:readline";
import { PassThrough } from "node:stream";

/** A key with its modifiers. */
export interface Key {
  readonly kind: "key";
  /** As `node:readline` names it: `a`, `return`, `left`, `pageup`, …; "" for other characters. */
  readonly name: string;
  readonly ctrl: boolean;
  readonly meta: boolean;
  readonly shift: boolean;
  /** What it types; "" when it types nothing. */
  readonly text: string;
}

/** What a terminal sends. */
export type Input =
  | Key
  | { readonly kind: "paste"; readonly text: string }
  | { readonly kind: "focus"; readonly focused: boolean };

const PASTE_START = "\x1b[200~";
const PASTE_END = "\x1b[201~";
const FOCUS_IN = "\x1b[I";
const FOCUS_OUT = "\x1b[O";
/** Longest paste kept, in UTF-16 units; it is more than fits a message, which has at most 16,384. */
const MAX_PASTE_UNITS = 65_536;
/** How long an Esc may be the beginning of a sequence, in ms. */
const ESCAPE_MS = 40;

/** Decodes one terminal's input. */
export class KeyDecoder {
  readonly #sink: (input: Input) => void;
  readonly #bytes = new StringDecoder("utf8");
  readonly #keys = new PassThrough();
  #held = "";
  #paste: string | undefined;
  #escapeTimer: ReturnType<typeof setTimeout> | undefined;

  /** @param sink Called for each input, in order, while `feed` runs (a lone Esc: later). */
  constructor(sink: (input: Input) => void) {
    this.#sink = sink;
    emitKeypressEvents(this.#keys);
    this.#keys.on("keypress", (text: string | undefined, key: NodeKey) => {
      const undo = key.sequence === "\x1f"; // Ctrl-_ and Ctrl-/, which readline leaves nameless
      this.#sink({
        kind: "key",
        name: undo ? "_" : key.name === "undefined" ? "" : key.name ?? "",
        ctrl: key.ctrl || undo,
        meta: key.meta,
        shift: key.shift,
        text: typed(text, key),
      });
    });
  }

  /** Takes the next bytes. */
  feed(bytes: Uint8Array): void {
    clearTimeout(this.#escapeTimer);
    this.#take(this.#held + this.#bytes.write(bytes));
  }

  /** Lets timers go. */
  close(): void {
    clearTimeout(this.#escapeTimer);
    this.#keys.destroy();
  }

  #take(text: string): void {
    this.#held = "";
    let rest = text;
    while (rest !== "") {
      if (this.#paste !== undefined) {
        const end = rest.indexOf(PASTE_END);
        // The end mark may be cut: its possible beginning is held back.
        const safe = end >= 0 ? end : rest.length - partial(rest, PASTE_END);
        this.#paste = (this.#paste + rest.slice(0, safe)).slice(0, MAX_PASTE_UNITS);
        if (end < 0) {
          this.#held = rest.slice(safe);
          return;
        }
        const pasted = this.#paste;
        this.#paste = undefined;
        rest = rest.slice(end + PASTE_END.length);
        this.#sink({ kind: "paste", text: pasted.replaceAll(/\r\n?/g, "\n") });
        continue;
      }
      const mark = firstMark(rest);
      const before = rest.slice(0, mark?.at ?? rest.length - partialMark(rest));
      if (before !== "") this.#keys.emit("data", before);
      if (mark === undefined) {
        this.#held = rest.slice(before.length);
        if (this.#held !== "") this.#waitForMore();
        return;
      }
      if (mark.text === PASTE_START) this.#paste = "";
      else this.#sink({ kind: "focus", focused: mark.text === FOCUS_IN });
      rest = rest.slice(mark.at + mark.text.length);
    }
  }

  #waitForMore(): void {
    this.#escapeTimer = setTimeout(() => {
      const held = this.#held;
      this.#held = "";
      if (held === "\x1b") {
        const none = { ctrl: false, meta: false, shift: false, text: "" };
        this.#sink({ kind: "key", name: "escape", ...none });
      } else {
        this.#keys.emit("data", held);
      }
    }, ESCAPE_MS);
  }
}

/** What `node:readline` tells of a key. */
interface NodeKey {
  readonly name?: string | undefined;
  readonly ctrl: boolean;
  readonly meta: boolean;
  readonly shift: boolean;
  readonly sequence?: string;
}

function typed(text: string | undefined, key: NodeKey): string {
  if (key.ctrl || key.meta || typeof text !== "string") return "";
  // deno-lint-ignore no-control-regex -- they type nothing
  return /^[\x00-\x1f\x7f]/.test(text) ? "" : text;
}

const MARKS = [PASTE_START, FOCUS_IN, FOCUS_OUT];

function firstMark(text: string): { readonly at: number; readonly text: string } | undefined {
  let first: { at: number; text: string } | undefined;
  for (const mark of MARKS) {
    const at = text.indexOf(mark);
    if (at >= 0 && (first === undefined || at < first.at)) first = { at, text: mark };
  }
  return first;
}

function partialMark(text: string): number {
  return Math.max(...MARKS.map((mark) => partial(text, mark)));
}

/** How many characters at the text's end may be the beginning of `mark`. */
function partial(text: string, mark: string): number {
  for (let length = Math.min(mark.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(mark.slice(0, length))) return length;
  }
  return 0;
}
