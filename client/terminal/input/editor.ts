/**
 * The input line: text, cursor, history, reverse search. Pure: a key gives a new editor.
 *
 * `node:readline`'s own line editor is not used: it moves by code point (an emoji family is seven
 * steps), takes a pasted newline for Enter, has no reverse search, and draws by itself. The keys are
 * those of GNU readline.
 * Invariant: the cursor stands between graphemes.
 */

import type { Key } from "./keys.ts";
import * as places from "./text_motion.ts";
import { graphemes } from "../../chat/safe_text.ts";

/** Longest input, in UTF-16 units: the longest message. */
export const MAX_UNITS = 16_384;
/** Steps that can be undone. */
const MAX_UNDO = 200;

/** A search through the history that is under way. */
export interface Search {
  readonly query: string;
  /** Index in the history of what was found. */
  readonly at: number;
  readonly found: boolean;
  /** What the line was before. */
  readonly before: { readonly text: string; readonly cursor: number };
}

/** The input line. */
export interface Editor {
  readonly text: string;
  /** UTF-16 units before the cursor. */
  readonly cursor: number;
  /** What was cut last, for Ctrl-Y. */
  readonly killed: string;
  /** Earlier inputs, oldest first. */
  readonly history: readonly string[];
  /** Which of them is shown; `history.length` for the new line. */
  readonly at: number;
  /** The new line, kept while an earlier one is shown. */
  readonly draft: string;
  readonly undo: readonly { readonly text: string; readonly cursor: number }[];
  readonly search: Search | undefined;
}

/** What a key did. `undefined`: it is no editing key. */
export type Edited =
  | { readonly editor: Editor; readonly submit?: string }
  | undefined;

/** An empty line over a history, oldest first. */
export function newEditor(history: readonly string[]): Editor {
  return {
    text: "",
    cursor: 0,
    killed: "",
    history,
    at: history.length,
    draft: "",
    undo: [],
    search: undefined,
  };
}

/** Whether there is room for so much more text. */
export function hasRoom(editor: Editor, text: string): boolean {
  return editor.text.length + text.length <= MAX_UNITS;
}

/** With text typed or pasted at the cursor, as much of it as there is room for. */
export function insert(editor: Editor, text: string): Editor {
  const room = MAX_UNITS - editor.text.length;
  const fits = hasRoom(editor, text) ? text : text.slice(0, Math.max(0, room)).toWellFormed();
  if (fits === "") return editor;
  return replace(editor, editor.cursor, editor.cursor, fits);
}

/** With `text` in place of a range, and the cursor after it. */
export function replace(editor: Editor, from: number, to: number, text: string): Editor {
  return changed(
    editor,
    editor.text.slice(0, from) + text + editor.text.slice(to),
    from + text.length,
  );
}

/** The line is done with: it joins the history, and a new one begins. */
export function submitted(editor: Editor): Editor {
  const { text, history } = editor;
  const again = text.trim() === "" || history.at(-1) === text;
  return { ...newEditor(again ? history : [...history, text]), killed: editor.killed };
}

/** Does what an editing key does. */
export function press(editor: Editor, key: Key): Edited {
  if (editor.search !== undefined) return pressInSearch(editor, editor.search, key);
  if (key.text !== "") return { editor: insert(editor, key.text) };
  const edit = editOf(key);
  return edit === undefined ? undefined : edit(editor);
}

type Edit = (editor: Editor) => Edited;

const KEYS: Readonly<Record<string, Edit>> = {
  "return": (e) => ({ editor: e, submit: e.text }),
  "enter": (e) => ({ editor: insert(e, "\n") }), // Ctrl-J
  "M-return": (e) => ({ editor: insert(e, "\n") }),
  "left": (e) => ({ editor: moved(e, places.before) }),
  "C-b": (e) => ({ editor: moved(e, places.before) }),
  "right": (e) => ({ editor: moved(e, places.after) }),
  "C-f": (e) => ({ editor: moved(e, places.after) }),
  "C-left": (e) => ({ editor: moved(e, places.wordStart) }),
  "M-b": (e) => ({ editor: moved(e, places.wordStart) }),
  "C-right": (e) => ({ editor: moved(e, places.wordEnd) }),
  "M-f": (e) => ({ editor: moved(e, places.wordEnd) }),
  "home": (e) => ({ editor: moved(e, places.lineStart) }),
  "C-a": (e) => ({ editor: moved(e, places.lineStart) }),
  "end": (e) => ({ editor: moved(e, places.lineEnd) }),
  "C-e": (e) => ({ editor: moved(e, places.lineEnd) }),
  "backspace": (e) => ({ editor: removed(e, places.before) }),
  "C-h": (e) => ({ editor: removed(e, places.before) }),
  "delete": (e) => ({ editor: removed(e, places.after) }),
  "C-d": (e) => e.text === "" ? undefined : { editor: removed(e, places.after) },
  "C-k": (e) => ({ editor: killed(e, restOfLine) }),
  "C-u": (e) => ({ editor: killed(e, places.lineStart) }),
  "C-w": (e) => ({ editor: killed(e, places.spaceStart) }),
  "M-backspace": (e) => ({ editor: killed(e, places.wordStart) }),
  "M-d": (e) => ({ editor: killed(e, places.wordEnd) }),
  "C-y": (e) => ({ editor: insert(e, e.killed) }),
  "C-t": (e) => ({ editor: transposed(e) }),
  "C-_": (e) => ({ editor: undone(e) }),
  "up": (e) => ({ editor: upward(e) }),
  "C-p": (e) => ({ editor: upward(e) }),
  "down": (e) => ({ editor: downward(e) }),
  "C-n": (e) => ({ editor: downward(e) }),
  "C-r": (e) => ({ editor: searching(e) }),
};

function editOf(key: Key): Edit | undefined {
  const name = `${key.ctrl ? "C-" : ""}${key.meta ? "M-" : ""}${key.name}`;
  return Object.hasOwn(KEYS, name) ? KEYS[name] : undefined;
}

// ── changing ────────────────────────────────────────────────────────────────────────────────

function changed(editor: Editor, text: string, cursor: number): Editor {
  if (text === editor.text) return { ...editor, cursor };
  const undo = [...editor.undo, { text: editor.text, cursor: editor.cursor }].slice(-MAX_UNDO);
  return { ...editor, text, cursor, undo };
}

/** Where a way leads from a place in a text. */
type Way = (text: string, at: number) => number;

function moved(editor: Editor, way: Way): Editor {
  return { ...editor, cursor: way(editor.text, editor.cursor) };
}

/** Without what is on the way. */
function removed(editor: Editor, way: Way): Editor {
  const to = way(editor.text, editor.cursor);
  return replace(editor, Math.min(editor.cursor, to), Math.max(editor.cursor, to), "");
}

/** Without what is on the way, which Ctrl-Y brings back. */
function killed(editor: Editor, way: Way): Editor {
  const to = way(editor.text, editor.cursor);
  return kill(editor, Math.min(editor.cursor, to), Math.max(editor.cursor, to));
}

/** Past the end of the line. */
function restOfLine(text: string, at: number): number {
  return places.after(text, places.lineEnd(text, at));
}

function kill(editor: Editor, from: number, to: number): Editor {
  if (from === to) return editor;
  return { ...replace(editor, from, to, ""), killed: editor.text.slice(from, to) };
}

/** Ctrl-C: the line is emptied; Ctrl-Y brings it back. */
export function cleared(editor: Editor): Editor {
  const empty = kill({ ...editor, search: undefined }, 0, editor.text.length);
  return { ...empty, at: editor.history.length, draft: "" };
}

function undone(editor: Editor): Editor {
  const last = editor.undo.at(-1);
  return last === undefined ? editor : { ...editor, ...last, undo: editor.undo.slice(0, -1) };
}

function transposed(editor: Editor): Editor {
  const { text, cursor } = editor;
  const end = cursor === text.length ? cursor : places.after(text, cursor);
  const middle = places.before(text, end);
  const start = places.before(text, middle);
  if (start === middle) return editor;
  return replace(editor, start, end, text.slice(middle, end) + text.slice(start, middle));
}

// ── history ─────────────────────────────────────────────────────────────────────────────────

function upward(editor: Editor): Editor {
  const above = places.above(editor.text, editor.cursor);
  return above === undefined ? shown(editor, editor.at - 1) : { ...editor, cursor: above };
}

function downward(editor: Editor): Editor {
  const below = places.below(editor.text, editor.cursor);
  return below === undefined ? shown(editor, editor.at + 1) : { ...editor, cursor: below };
}

function shown(editor: Editor, at: number): Editor {
  const { history } = editor;
  if (at < 0 || at > history.length || at === editor.at) return editor;
  const draft = editor.at === history.length ? editor.text : editor.draft;
  const text = at === history.length ? draft : history[at] ?? "";
  return { ...editor, at, draft, text, cursor: text.length, undo: [] };
}

// ── reverse search ──────────────────────────────────────────────────────────────────────────

function searching(editor: Editor): Editor {
  const { text, cursor } = editor;
  const search = { query: "", at: editor.history.length, found: true, before: { text, cursor } };
  return { ...editor, search };
}

function pressInSearch(editor: Editor, search: Search, key: Key): Edited {
  const name = `${key.ctrl ? "C-" : ""}${key.meta ? "M-" : ""}${key.name}`;
  if (key.text !== "") return { editor: found(editor, search, search.query + key.text, search.at) };
  if (name === "C-r") return { editor: found(editor, search, search.query, search.at - 1) };
  if (name === "backspace" || name === "C-h") {
    const query = graphemes(search.query).slice(0, -1).join("");
    return { editor: found(editor, search, query, editor.history.length) };
  }
  if (name === "C-g" || name === "C-c") {
    return { editor: { ...editor, ...search.before, search: undefined } };
  }
  const draft = editor.at === editor.history.length ? search.before.text : editor.draft;
  const accepted: Editor = { ...editor, search: undefined, at: search.at, draft };
  if (name === "escape") return { editor: accepted };
  return press(accepted, key) ?? { editor: accepted };
}

/** Looks for `query` in the history from index `from` backwards. */
function found(editor: Editor, search: Search, query: string, from: number): Editor {
  const { history } = editor;
  const wanted = query.toLowerCase();
  if (wanted === "") {
    const { text, cursor } = search.before;
    const reset = { ...search, query, at: history.length, found: true };
    return { ...editor, text, cursor, search: reset };
  }
  for (let at = Math.min(from, history.length - 1); at >= 0; at--) {
    const text = history[at] ?? "";
    const place = text.toLowerCase().lastIndexOf(wanted);
    if (place < 0) continue;
    return { ...editor, text, cursor: place, search: { ...search, query, at, found: true } };
  }
  return { ...editor, search: { ...search, query, found: false } };
}
