/**
 * The keyboard of a terminal: raw mode, one reader, inputs to whoever asks at the moment.
 *
 * Invariant: what is typed while nobody asks is kept for the next one who does, bounded.
 */

import { type Input, KeyDecoder } from "./keys.ts";

/** Inputs kept while nobody asks. */
const MAX_KEPT = 4_096;
const READ_BYTES = 16 * 1024;

/** The terminal's input; there is one of it. */
export class TerminalInput {
  #sink: ((input: Input) => void) | undefined;
  #kept: Input[] = [];
  #onEnd: (() => void) | undefined;
  #ended = false;
  #raw = false;
  readonly #decoder = new KeyDecoder((input) => {
    if (this.#sink !== undefined) this.#sink(input);
    else if (this.#kept.length < MAX_KEPT) this.#kept.push(input);
  });

  /** Switches to raw mode and begins to read. */
  constructor() {
    this.raw(true);
    // Ends with the terminal or the process; a failure is told as the end.
    void this.#read();
  }

  /** Raw mode on or off. */
  raw(on: boolean): void {
    if (this.#raw === on) return;
    this.#raw = on;
    // The terminal may be gone already (a closed window): then there is nothing to restore.
    if (!this.#ended || on) Deno.stdin.setRaw(on);
  }

  /** Switches raw mode on again after something else may have changed it (a stopped process). */
  restoreRaw(): void {
    if (this.#raw) Deno.stdin.setRaw(true);
  }

  /** Inputs go to `sink` from now on; `onEnd` is called when there are no more. */
  take(sink: (input: Input) => void, onEnd: () => void): void {
    this.#sink = sink;
    this.#onEnd = onEnd;
    const kept = this.#kept;
    this.#kept = [];
    for (const input of kept) sink(input);
    if (this.#ended) onEnd();
  }

  /** Nobody asks. */
  release(): void {
    this.#sink = undefined;
    this.#onEnd = undefined;
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    try {
      while (true) {
        const count = await Deno.stdin.read(buffer);
        if (count === null) break;
        this.#decoder.feed(buffer.subarray(0, count));
      }
    } finally {
      this.#ended = true;
      this.#decoder.close();
      this.#onEnd?.();
    }
  }
}
