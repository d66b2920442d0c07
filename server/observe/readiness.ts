/**
 * `/readyz`: proves that messages can be delivered, with a canary over every part of their way. A
 * value is committed and read back, the store's queue is passed, each session worker answers, and
 * the bus has heard its own envelope come back within the last beats.
 */

/** What is asked. */
export interface ReadinessParts {
  readonly stopping: () => boolean;
  /** Passes the store's queue, commits and reads back; rejects with what is wrong. */
  readonly store: (ms: number) => Promise<unknown>;
  /** Threads that do not answer in time. */
  readonly silentThreads: (ms: number) => Promise<readonly string[]>;
  readonly bus: () => string | undefined;
}

/** How long a check may take, ms. */
const CHECK_MS = 2_000;
/** A result serves this long, ms: whoever asks often costs no more commits. */
const FRESH_MS = 500;

/** See the module's header. */
export class Readiness {
  readonly #parts: ReadinessParts;
  #checking: Promise<string | undefined> | undefined;
  #checkedAt = -Infinity;
  #problem: string | undefined = "not checked yet";

  constructor(parts: ReadinessParts) {
    this.#parts = parts;
  }

  /** What the last check found. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Undefined when messages get through, else one sentence. */
  check(): Promise<string | undefined> {
    if (this.#parts.stopping()) return Promise.resolve(this.#problem = "the node stops");
    if (performance.now() - this.#checkedAt < FRESH_MS) return Promise.resolve(this.#problem);
    return this.#checking ??= this.#check().then((problem) => {
      this.#checkedAt = performance.now();
      this.#checking = undefined;
      return this.#problem = problem;
    });
  }

  async #check(): Promise<string | undefined> {
    const [store, silent] = await Promise.all([
      this.#parts.store(CHECK_MS).then(() => undefined, (e) => `store: ${e.message}`),
      this.#parts.silentThreads(CHECK_MS),
    ]);
    if (store !== undefined) return store;
    if (silent.length > 0) return `threads do not answer: ${silent.join(", ")}`;
    const bus = this.#parts.bus();
    return bus === undefined ? undefined : `bus: ${bus}`;
  }
}
