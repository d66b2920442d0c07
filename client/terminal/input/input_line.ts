/**
 * The input line of the full screen, and what it shows until the next key: the candidates of a
 * completion, a hint, the question whether to leave. It draws nothing, sends nothing and runs nothing.
 *
 * Invariants: the line changes by keys and pastes alone, but for a text given back into an empty one;
 * a text that does not fit is not taken at all; what only the next key answers ends with it.
 */

import { complete, type Completion } from "./complete.ts";
import {
  cleared,
  type Editor,
  hasRoom,
  insert,
  MAX_UNITS,
  newEditor,
  press,
  submitted,
} from "./editor.ts";
import type { Key } from "./keys.ts";
import type { State } from "../../chat/state.ts";
import { safeLine } from "../../chat/safe_text.ts";

const LEAVE_HINT = "Ctrl-C again to leave, any other key to stay";

/** What a key has done, and what is left to do. */
export type Pressed =
  /** A message has changed: its author types. */
  | "typed"
  /** Something that concerns the line alone. */
  | "edited"
  /** The user wants to leave, and has been asked. */
  | "leave"
  /** Nothing: it is no key of the line. */
  | "unused"
  /** The line is to be done with; it stays until {@linkcode InputLine.accept}. */
  | { readonly submit: string };

/** The input line of one screen. */
export class InputLine {
  #editor: Editor;
  #completion: Completion | undefined;
  #hint: string | undefined;
  #isAskingToLeave = false;

  /**
   * @param history Earlier inputs, oldest first.
   * @param draft What is in the line at first.
   */
  constructor(history: readonly string[], draft: string) {
    this.#editor = insert(newEditor(history), draft);
  }

  /** The line as it is shown. */
  get editor(): Editor {
    return this.#editor;
  }

  /** What takes the status line's place. */
  get hint(): string | undefined {
    return this.#hint;
  }

  /** Does what a key does. `state` has whom and what Tab may complete. */
  press(key: Key, state: State): Pressed {
    const wasAsked = this.#isAskingToLeave;
    const running = this.#completion;
    this.#settle();
    const isSearching = this.#editor.search !== undefined;
    if (key.ctrl && key.name === "c" && !isSearching) return this.#interrupt(wasAsked);
    if (key.name === "tab" && !isSearching) return this.#complete(state, running, key);
    const before = this.#editor.text;
    const edited = press(this.#editor, key);
    if (edited === undefined) return "unused";
    this.#editor = edited.editor;
    if (edited.submit !== undefined) return { submit: edited.submit };
    const { text, search } = edited.editor;
    const isMessage = !text.startsWith("/") && search === undefined;
    return key.text !== "" && isMessage && before !== text ? "typed" : "edited";
  }

  /** Takes a pasted text. False when there is no room: a part of it would be sent for the whole. */
  paste(text: string): boolean {
    this.#settle();
    const editor = { ...this.#editor, search: undefined };
    if (!hasRoom(editor, text)) {
      this.#hint = `not pasted: with it the message has more than ${MAX_UNITS} characters`;
      return false;
    }
    this.#editor = insert(editor, text);
    return true;
  }

  /** What was submitted is done with: it joins the history, and a new line begins. */
  accept(): void {
    this.#editor = submitted(this.#editor);
  }

  /** Puts a text back that could not be sent, unless something else is being written. */
  giveBack(text: string): void {
    if (this.#editor.text === "") this.#editor = insert(this.#editor, text);
  }

  /** Whom Tab may complete has changed: the next Tab begins anew. */
  endCompletion(): void {
    this.#completion = undefined;
  }

  /** Ends what only the next key answers. */
  #settle(): void {
    this.#hint = undefined;
    this.#isAskingToLeave = false;
    this.#completion = undefined;
  }

  #interrupt(again: boolean): Pressed {
    if (this.#editor.text !== "") {
      this.#editor = cleared(this.#editor);
      return "edited";
    }
    if (again) return "leave";
    this.#isAskingToLeave = true;
    this.#hint = LEAVE_HINT;
    return "edited";
  }

  #complete(state: State, running: Completion | undefined, { shift }: Key): Pressed {
    const { editor, completion } = complete(state, this.#editor, running, shift ? -1 : 1);
    this.#editor = editor;
    this.#completion = completion;
    this.#hint = completion?.candidates.map((candidate, index) => {
      const word = safeLine(candidate.trim());
      return index === completion.at ? `[${word}]` : word;
    }).join("  ");
    return "edited";
  }
}
