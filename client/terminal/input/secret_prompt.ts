/**
 * A question on the full screen whose answer is not shown. It draws nothing.
 *
 * Invariants: what is typed here never becomes part of the editor or the history; one question is open
 * at a time, and another one gives it up.
 */

import type { Input } from "./keys.ts";
import { graphemes } from "../../chat/safe_text.ts";

/** The question of one screen. */
export class SecretPrompt {
  #open: {
    readonly question: string;
    readonly answer: (text: string | undefined) => void;
  } | undefined;
  #typed = "";

  /** What is asked; undefined when nothing is. */
  get question(): string | undefined {
    return this.#open?.question;
  }

  /** Asks; undefined when the user gives up. */
  ask(question: string): Promise<string | undefined> {
    this.#answer(undefined);
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    this.#open = { question, answer: resolve };
    return promise;
  }

  /** Takes what was typed while a question is open. */
  take(input: Exclude<Input, { kind: "focus" }>): void {
    if (input.kind === "paste") {
      this.#typed += input.text.split("\n", 1)[0] ?? "";
      return;
    }
    const { name, ctrl, text } = input;
    if (text !== "") this.#typed += text;
    else if (name === "return" || name === "enter") this.#answer(this.#typed);
    else if (name === "backspace") this.#typed = graphemes(this.#typed).slice(0, -1).join("");
    else if (ctrl && name === "u") this.#typed = "";
    else if (name === "escape" || (ctrl && (name === "c" || name === "d" || name === "g"))) {
      this.#answer(undefined);
    }
  }

  #answer(text: string | undefined): void {
    const open = this.#open;
    this.#open = undefined;
    this.#typed = "";
    open?.answer(text);
  }
}
