/**
 * The signals of a program on a terminal: each goes to whoever answers for it at the moment.
 *
 * Invariant: while there is a listener, no signal ends the program behind its back, so that the
 * terminal can be given back first.
 */

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGWINCH", "SIGCONT"] as const;

/** What a signal does; one that is not named does what it does without a run. */
export type SignalHandlers = Readonly<Partial<Record<typeof SIGNALS[number], () => unknown>>>;

/** Listens to the signals of the process until it ends; there is one of it. */
export class Signals {
  #taken: SignalHandlers = {};

  /** @param otherwise What signals do that nobody has taken. */
  constructor(otherwise: SignalHandlers) {
    for (const signal of SIGNALS) {
      if (Deno.build.os === "windows" && signal !== "SIGINT") continue;
      Deno.addSignalListener(signal, () => void (this.#taken[signal] ?? otherwise[signal])?.());
    }
  }

  /** Signals go to these handlers first from now on. */
  take(handlers: SignalHandlers): void {
    this.#taken = handlers;
  }

  /** Nobody takes them. */
  release(): void {
    this.#taken = {};
  }
}
