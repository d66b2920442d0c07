/**
 * Tries something again and again, with a growing, jittered pause after failures. Redis coming back
 * is met by every node at once: the jitter spreads them out, the cap bounds the recovery.
 */

/** Longest pause between two tries, ms. */
const MAX_PAUSE_MS = 2_000;
/** Longest pause after a success, doubled with each failure, ms. */
const MIN_PAUSE_MS = 100;

/** A loop that ends with {@linkcode Retry.stop}. */
export class Retry {
  #stopped = false;
  #wake: () => void = () => {};

  /** @param attempt Resolves to whether it went well, when it is over. */
  async run(attempt: () => Promise<boolean>): Promise<void> {
    let failures = 0;
    while (!this.#stopped) {
      failures = await attempt() ? 0 : failures + 1;
      if (this.#stopped) return;
      const capMs = Math.min(MAX_PAUSE_MS, MIN_PAUSE_MS * 2 ** Math.min(failures, 10));
      await this.#pause(Math.random() * capMs);
    }
  }

  /** Ends the loop after the present attempt. */
  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  async #pause(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }
}
