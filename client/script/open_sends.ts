/**
 * Sends of a script whose line has not been answered. It sends nothing itself.
 *
 * Invariant: bounded, for the script waits for room before it sends.
 */

/** Sends that may wait for their acknowledgement at once. */
const MAX_OPEN = 256;

/** The open sends of one script. */
export class OpenSends {
  readonly #answers = new Set<Promise<void>>();
  readonly #cids = new Set<string>();

  /** A chat's line will be answered. */
  has(cid: string): boolean {
    return this.#cids.has(cid);
  }

  /** Resolves when one more may be sent. */
  async room(): Promise<void> {
    while (this.#answers.size >= MAX_OPEN) await Promise.race(this.#answers);
  }

  /** A chat is sent; `answered` resolves when its line has been answered. */
  add(cid: string, answered: Promise<void>): void {
    this.#cids.add(cid);
    const closed = answered.finally(() => {
      this.#answers.delete(closed);
      this.#cids.delete(cid);
    });
    this.#answers.add(closed);
  }

  /** Resolves when those that are open now have been answered. */
  async done(): Promise<void> {
    await Promise.all(this.#answers);
  }
}
