/**
 * `/readyz`: proves that messages can be delivered, with a canary over every part of their way. A
 * value is committed and read back, the store's queue is passed, each session worker answers, and
 * the bus has heard its own envelope come back within the last beats.
 */

import type { Log } from "./log.ts";

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

/** How often, ms: each look is a small commit. */
const LOOK_EVERY_MS = 10_000;

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

/**
 * Looks at once and then all the time whether messages get through, so that the log and `chat_ready`
 * know it; a change is worth a line.
 * @returns Ends it.
 */
export function watchReadiness(readiness: Readiness, log: Log): () => void {
  let known: string | undefined;
  let since = 0;
  let ended = false;
  const look = async () => {
    const problem = await readiness.check();
    if (ended || problem === known) return;
    if (problem === undefined) {
      log.info("messages get through again", {
        afterSeconds: Math.round((performance.now() - since) / 1_000),
      });
    } else {
      if (known === undefined) since = performance.now();
      log.warn("messages do not get through", { problem });
    }
    known = problem;
  };
  const timer = setInterval(look, LOOK_EVERY_MS); // never rejects
  void look();
  return () => {
    ended = true;
    clearInterval(timer);
  };
}
