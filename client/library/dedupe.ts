/**
 * Which messages have been handed over, in bounded memory.
 *
 * Two generations of keys: when the young one is full it becomes the old one, and the former old one
 * is forgotten. Invariant: the latest `capacity` keys are known, at most twice as many are held.
 * A repeat comes from an unconfirmed push (at most 1,024 are open) or from a sender's retry, so both
 * lie far inside the window.
 */
export class Dedupe {
  readonly #capacity: number;
  #young = new Set<string>();
  #old = new Set<string>();

  /** @param capacity Keys that are surely known; positive. */
  constructor(capacity: number) {
    if (!(capacity > 0)) throw new RangeError(`capacity must be positive, is ${capacity}`);
    this.#capacity = capacity;
  }

  /** Whether the key was added before; adds it. */
  seen(key: string): boolean {
    if (this.#young.has(key) || this.#old.has(key)) return true;
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(key);
    return false;
  }

  /** Keys held now. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }
}
