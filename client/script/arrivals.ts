/**
 * Messages that have come, for a script that waits for so many of them or for one with a text. It keeps
 * texts alone: what a message was like has been printed.
 *
 * Invariants: a message is counted by one wait only; the texts kept are bounded.
 */

import { type Clock, pause } from "../library/clock.ts";
import { ConnectionLost } from "../library/errors.ts";

/** Texts kept at least, if so many came. */
const MAX_REMEMBERED = 1_000;

/** The messages of one script. */
export class Arrivals {
  readonly #clock: Clock;
  /** Messages that no wait has counted. */
  #uncounted = 0;
  /** Latest texts, oldest first. */
  #texts: string[] = [];
  #changed = Promise.withResolvers<void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A message has come. */
  add(text: string): void {
    this.#uncounted++;
    this.#texts.push(text);
    if (this.#texts.length > 2 * MAX_REMEMBERED) this.#texts = this.#texts.slice(-MAX_REMEMBERED);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  /** Whose messages these were has logged out: nobody waits for them any more. */
  forget(): void {
    this.#uncounted = 0;
    this.#texts = [];
  }

  /**
   * Waits for so many messages, those included that have come since the last such wait.
   *
   * @throws {ConnectionLost} They did not come in time.
   */
  async count(count: number, timeoutS: number): Promise<void> {
    await this.#until(
      () => this.#uncounted >= count,
      timeoutS,
      () => `${this.#uncounted} of ${count} messages came in time`,
    );
    this.#uncounted -= count;
  }

  /**
   * Waits for a message with `text` in it; one that has come counts.
   *
   * @throws {ConnectionLost} None came in time.
   */
  async containing(text: string, timeoutS: number): Promise<void> {
    await this.#until(
      () => this.#texts.some((msg) => msg.includes(text)),
      timeoutS,
      () => "no such message came in time",
    );
  }

  async #until(done: () => boolean, timeoutS: number, why: () => string): Promise<void> {
    const limit = pause(this.#clock, timeoutS * 1000);
    let over = false;
    const end = limit.done.then(() => {
      over = true;
    });
    while (!done() && !over) await Promise.race([this.#changed.promise, end]);
    limit.stop();
    if (!done()) throw new ConnectionLost(why());
  }
}
