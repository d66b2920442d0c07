/**
 * The output of a script: one JSON object per line, and whether any of them told of a failure.
 *
 * Invariant: what has failed is told, and what was told as failed counts, however the script goes on.
 */

import { inWords } from "../chat/event_json.ts";

/**
 * What JSON leaves as it is and a terminal may obey, or a reader takes for the end of a line: C1
 * controls, line and paragraph separators, and what changes the direction of text.
 */
const UNSEEN = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** A command as its answer names it. */
export interface Asked {
  readonly line: number;
  /** The caller's own mark of a JSON command, echoed. */
  readonly ref: unknown;
}

/** The output of one script. */
export class ScriptAnswers {
  readonly #print: (line: string) => void;
  #failed = false;

  /** @param print Writes one line. */
  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  /** Something failed so far. */
  get failed(): boolean {
    return this.#failed;
  }

  /** A command has succeeded. */
  ok({ line, ref }: Asked, cmd: string, result: object): void {
    this.tell({ event: "ok", line, ref, cmd, ...result });
  }

  /** A command has failed; `cmd` is undefined when it is none. */
  error({ line, ref }: Asked, cmd: string | undefined, error: unknown): void {
    this.#failed = true;
    this.tell({ event: "error", line, ref, cmd, ...inWords(error) });
  }

  /** Something has failed that belongs to no command. */
  fail(error: unknown): void {
    this.#failed = true;
    this.tell({ event: "error", ...inWords(error) });
  }

  /** Something has happened. */
  tell(object: object): void {
    this.#print(JSON.stringify(object).replace(UNSEEN, escaped));
  }
}
