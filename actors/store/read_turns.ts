/**
 * Reads of many rows, by turns with everything else that the store's thread does. A database inside the
 * thread does its work before it returns: a hundred who log in, with thousands of messages waiting for
 * each, would be one turn of a second, and everybody's commit would wait behind it.
 *
 * Where the work is done elsewhere a read takes no time here, and nothing ever waits.
 */

import type { Clock } from "../ports.ts";

/** How long reads may go on before others have their turn, ms. */
const SLICE_MS = 5;
/** Longest time that others then have, ms; otherwise as long as the reads had. */
const MAX_PAUSE_MS = 20;

/** See the module's header. */
export class ReadTurns {
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  #spentMs = 0;
  #isPaused = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs a read, in the order of asking; those who wait are as many as callers bound them to. */
  async run<T>(read: () => Promise<T>): Promise<T> {
    if (this.#isPaused) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const began = this.#clock.now();
    const result = read(); // a database in this thread has done its work now
    this.#spentMs += Math.max(0, this.#clock.now() - began);
    if (this.#spentMs >= SLICE_MS) this.#pause();
    if (!this.#isPaused) this.#waiting.shift()?.();
    return await result;
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    const ms = Math.min(MAX_PAUSE_MS, this.#spentMs);
    this.#spentMs = 0;
    this.#clock.after(ms, () => {
      this.#isPaused = false;
      this.#waiting.shift()?.();
    });
  }
}
