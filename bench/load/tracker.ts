/**
 * Checks one stream of numbered messages: what came twice, late, or never. Exact, and constant in
 * memory while the stream is in order. Numbers begin at 1.
 */
export class Tracker {
  #next = 1;
  #missing: Set<number> | undefined;
  /** Messages that came again. */
  duplicates = 0;
  /** Messages that came after one with a higher number. */
  outOfOrder = 0;

  /** Takes note of message `seq`. Whether it is the first with this number. */
  see(seq: number): boolean {
    if (seq === this.#next) {
      this.#next++;
      return true;
    }
    if (seq > this.#next) {
      this.#missing ??= new Set();
      for (let i = this.#next; i < seq; i++) this.#missing.add(i);
      this.#next = seq + 1;
      return true;
    }
    if (this.#missing?.delete(seq)) {
      this.outOfOrder++;
      return true;
    }
    this.duplicates++;
    return false;
  }

  /** Messages of 1 to `sent` that have not come. */
  lost(sent: number): number {
    return (this.#missing?.size ?? 0) + sent - (this.#next - 1);
  }
}
