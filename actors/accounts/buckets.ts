/**
 * How much somebody may do a minute: a bucket for each that holds a minute's worth, or less, and drains
 * steadily.
 * Bounded: when many are remembered the one that was filled first is forgotten, and begins anew.
 */

import type { Clock } from "../ports.ts";

const MINUTE_MS = 60_000;
const MAX_REMEMBERED = 100_000;

/** Buckets of one kind. */
export class MinuteBuckets<K> {
  readonly #clock: Pick<Clock, "now">;
  readonly #perMinute: number;
  readonly #holdsMs: number;
  /** When each is empty again, ms of the clock; changed in place, as messages pass here. */
  readonly #buckets = new Map<K, { emptyAt: number }>();

  /**
   * @param perMinute What one may do; 0: whatever he likes.
   * @param holdsMs How much of it at once: what drains in this time, ms. @default all of it
   */
  constructor(clock: Pick<Clock, "now">, perMinute: number, holdsMs = MINUTE_MS) {
    this.#clock = clock;
    this.#perMinute = perMinute;
    this.#holdsMs = holdsMs;
  }

  /** How long until there is room for something of this cost, ms; 0 when there is. */
  wait(key: K, cost = 1): number {
    if (this.#perMinute === 0) return 0;
    const now = this.#clock.now();
    const emptyAt = Math.max(now, this.#buckets.get(key)?.emptyAt ?? 0);
    const needsMs = Math.min(this.#ms(cost), this.#holdsMs); // what is larger needs it empty
    return Math.max(0, Math.ceil(emptyAt + needsMs - (now + this.#holdsMs)));
  }

  /** It is done. */
  add(key: K, cost = 1): void {
    if (this.#perMinute === 0) return;
    const now = this.#clock.now();
    const bucket = this.#buckets.get(key);
    if (bucket !== undefined) {
      bucket.emptyAt = Math.max(now, bucket.emptyAt) + this.#ms(cost);
      return;
    }
    this.#buckets.set(key, { emptyAt: now + this.#ms(cost) });
    if (this.#buckets.size <= MAX_REMEMBERED) return;
    for (const oldest of this.#buckets.keys()) {
      this.#buckets.delete(oldest);
      return;
    }
  }

  #ms(cost: number): number {
    return cost * MINUTE_MS / this.#perMinute;
  }
}
