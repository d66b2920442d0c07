/**
 * Every process the bench starts, so that all are stopped when it is done, on failure and on
 * Ctrl-C. Should the bench itself be killed, `Child` ends them.
 */

import { Child, type Exit } from "../../server/cluster/child.ts";

/** How long a process may take to end after SIGTERM before it gets SIGKILL. */
const STOP_MS = 10_000;

const running = new Set<Program>();

/** One process and what it prints, both streams together. */
export class Program {
  readonly #child: Child;
  readonly #listeners = new Set<(line: string) => void>();
  /** Settles when it has ended and all its output has been read. */
  readonly ended: Promise<Exit>;

  constructor(readonly name: string, args: readonly string[], cwd?: string) {
    this.#child = new Child({
      name,
      command: Deno.execPath(),
      args,
      ...(cwd === undefined ? {} : { cwd }),
      output: (line) => {
        for (const listener of this.#listeners) listener(line);
      },
    });
    running.add(this);
    this.ended = this.#child.ended.then((exit) => {
      running.delete(this);
      return exit;
    });
  }

  /** Process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** The last lines it has printed. */
  tail(): string {
    return this.#child.tail();
  }

  /** Calls `listener` for every further line; returns how to stop that. */
  onLine(listener: (line: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The first match of `pattern` in its further output.
   * @throws {Error} When the process ends or `limitMs` pass without one.
   */
  async match(pattern: RegExp, limitMs: number): Promise<RegExpExecArray> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let off = () => {};
    try {
      return await new Promise<RegExpExecArray>((resolve, reject) => {
        off = this.onLine((line) => {
          const found = pattern.exec(line);
          if (found !== null) resolve(found);
        });
        const fail = (why: string) => reject(new Error(`${this.name} ${why}:\n${this.tail()}`));
        timer = setTimeout(() => fail(`printed no ${pattern} in ${limitMs} ms`), limitMs);
        this.ended.then((exit) => fail(`ended with status ${exit.code}`), reject);
      });
    } finally {
      clearTimeout(timer);
      off();
    }
  }

  /** SIGKILL, without waiting. */
  kill(): void {
    this.#child.killGroup();
  }

  /** SIGTERM, after a while SIGKILL; resolves when it has ended. */
  async stop(): Promise<Exit> {
    return await this.#child.stop("SIGTERM", STOP_MS);
  }
}

/** Stops every process still running. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((program) => program.stop()));
}

/**
 * Runs `main` and stops every process afterwards, also when it throws and on SIGINT and SIGTERM.
 *
 * @param main Must end soon after `interrupted` aborts; what it waits for then fails, as all
 *   processes end, so that its `finally` blocks clean up.
 * @returns What `main` returned, or 130 when a signal ended it.
 */
export async function withChildren(
  main: (interrupted: AbortSignal) => Promise<number>,
): Promise<number> {
  Deno.env.set("NO_COLOR", "1"); // for the children, whose words go into our messages
  const controller = new AbortController();
  const interrupt = () => {
    controller.abort();
    void stopAll(); // awaited below, where all are stopped again
  };
  Deno.addSignalListener("SIGINT", interrupt);
  Deno.addSignalListener("SIGTERM", interrupt);
  try {
    return await main(controller.signal);
  } catch (error) {
    if (controller.signal.aborted) return 130;
    throw error;
  } finally {
    await stopAll();
    Deno.removeSignalListener("SIGINT", interrupt);
    Deno.removeSignalListener("SIGTERM", interrupt);
  }
}
