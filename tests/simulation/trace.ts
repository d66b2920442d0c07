/** What happened in a simulation, line by line. Costs nothing while it is off. */

import type { Scheduler } from "./scheduler.ts";

/** See the module's header. */
export class Trace {
  readonly on: boolean;
  readonly lines: string[] = [];
  readonly #scheduler: Scheduler;

  constructor(scheduler: Scheduler, on: boolean) {
    this.#scheduler = scheduler;
    this.on = on;
  }

  /** Notes that something happened to `who`. Callers check `on` before they build the text. */
  note(who: string, text: string): void {
    if (!this.on) return;
    const { now, steps } = this.#scheduler;
    this.lines.push(`${now.toFixed(3).padStart(10)} ${String(steps).padStart(6)}  ${who} ${text}`);
  }
}
