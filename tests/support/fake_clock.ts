/** Time that stands still until a test moves it. */

import type { Clock } from "../../actors/ports.ts";

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
}

/** Timers fire in order of their time, then of their arming, while `advance` runs. */
export class FakeClock implements Clock {
  #now: number;
  #order = 0;
  readonly #timers = new Set<Timer>();

  constructor(now = 1_000_000) {
    this.#now = now;
  }

  /** Timers that are armed. */
  get armed(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { at: this.#now + ms, order: this.#order++, fn };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** A thread was busy for so long: time has gone on, and no timer could fire. */
  pass(ms: number): void {
    this.#now += ms;
  }

  /** Moves time on; what a timer starts is settled before the next one fires. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await microtasks();
      const [next] = [...this.#timers]
        .filter((timer) => timer.at <= end)
        .sort((a, b) => a.at - b.at || a.order - b.order);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.fn();
    }
    this.#now = Math.max(this.#now, end);
    await microtasks();
  }
}

/** Resolves once all microtasks, and those they queue, have run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** The same for chains of at most some tens of microtasks, a hundred times faster. */
export async function microtasks(): Promise<void> {
  for (let i = 0; i < 40; i++) await undefined;
}
