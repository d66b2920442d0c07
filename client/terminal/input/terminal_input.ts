/**
 * The keyboard of a terminal: raw mode, one reader, inputs to whoever asks at the moment.
 *
 * Invariants: it reads while somebody asks, and what is not read stays with the terminal for whoever
 * reads next; what came along with an answer is kept for the next one who asks, bounded.
 */

import { type Input, KeyDecoder } from "./keys.ts";

/** Inputs kept while nobody asks. */
const MAX_KEPT = 4_096;
const READ_BYTES = 16 * 1024;

/** The terminal's input; there is one of it. */
export class TerminalInput {
  readonly #readBytes: number;
  #sink: ((input: Input) => void) | undefined;
  #kept: Input[] = [];
  #onEnd: (() => void) | undefined;
  #reading = false;
  #ended = false;
  #raw = false;
  readonly #decoder = new KeyDecoder((input) => {
    if (this.#sink !== undefined) this.#sink(input);
    else if (this.#kept.length < MAX_KEPT) this.#kept.push(input);
  });

  /**
   * Switches to raw mode.
   *
   * @param readBytes At most so many are taken at once; with 1, none is taken past an answer.
   */
  constructor(readBytes = READ_BYTES) {
    this.#readBytes = readBytes;
    this.raw(true);
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
    while (this.#sink !== undefined) {
      const input = this.#kept.shift();
      if (input === undefined) break;
      this.#sink(input);
    }
    if (this.#ended) this.#onEnd?.();
    // Ends with the question, the terminal or the process; a failure is told as the end.
    else if (!this.#reading) void this.#read();
  }

  /** Nobody asks. */
  release(): void {
    this.#sink = undefined;
    this.#onEnd = undefined;
  }

  async #read(): Promise<void> {
    this.#reading = true;
    const buffer = new Uint8Array(this.#readBytes);
    try {
      while (this.#sink !== undefined) {
        const count = await Deno.stdin.read(buffer);
        if (count === null) {
          this.#end();
          break;
        }
        this.#decoder.feed(buffer.subarray(0, count));
      }
    } catch (error) {
      this.#end();
      throw error;
    } finally {
      this.#reading = false;
    }
  }

  #end(): void {
    this.#ended = true;
    this.#decoder.close();
    this.#onEnd?.();
  }
}
