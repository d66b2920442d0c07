/**
 * Every process the bench starts, so that none outlives it: stopped when done, on failure and on
 * Ctrl-C. A child's output is read all the time, its last lines kept for the error message.
 */

/** How long a process may take to end after SIGTERM before it gets SIGKILL. */
const STOP_MS = 5_000;
const KEPT_LINES = 30;

const running = new Set<Child>();

/** One process and its output. */
export class Child {
  readonly #process: Deno.ChildProcess;
  readonly #lines: string[] = [];
  readonly #listeners = new Set<(line: string) => void>();
  readonly #readers: Promise<void>[];
  #status: Deno.CommandStatus | undefined;
  /** Resolves when the process has ended and its output has been read. */
  readonly ended: Promise<Deno.CommandStatus>;

  constructor(readonly name: string, command: string, args: readonly string[], cwd?: string) {
    this.#process = new Deno.Command(command, {
      args: [...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      ...(cwd === undefined ? {} : { cwd }),
    }).spawn();
    running.add(this);
    this.#readers = [this.#read(this.#process.stdout), this.#read(this.#process.stderr)];
    this.ended = this.#process.status.then(async (status) => {
      this.#status = status;
      await Promise.all(this.#readers);
      running.delete(this);
      return status;
    });
  }

  /** Process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** The last lines it has printed. */
  tail(): string {
    return this.#lines.join("\n");
  }

  /** Calls `listener` for every further line of either stream; returns how to stop that. */
  onLine(listener: (line: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The first match of `pattern` in its output, past lines included.
   * @throws When the process ends or `limitMs` pass without one.
   */
  async match(pattern: RegExp, limitMs: number): Promise<RegExpExecArray> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let off = () => {};
    try {
      return await new Promise<RegExpExecArray>((resolve, reject) => {
        const test = (line: string) => {
          const found = pattern.exec(line);
          if (found !== null) resolve(found);
        };
        for (const line of this.#lines) test(line);
        off = this.onLine(test);
        const fail = (why: string) => reject(new Error(`${this.name} ${why}:\n${this.tail()}`));
        timer = setTimeout(() => fail(`printed no ${pattern} in ${limitMs} ms`), limitMs);
        this.ended.then((status) => fail(`ended with status ${status.code}`), reject);
      });
    } finally {
      clearTimeout(timer);
      off();
    }
  }

  /** Sends a signal unless the process has ended. */
  signal(signal: Deno.Signal): void {
    if (this.#status !== undefined) return;
    try {
      this.#process.kill(signal);
    } catch (error) {
      // Ended between the check and the call.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** SIGTERM, after a while SIGKILL; resolves when it has ended. */
  async stop(): Promise<Deno.CommandStatus> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), STOP_MS);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stream) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#take(line);
    }
    if (rest !== "") this.#take(rest);
  }

  #take(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
    for (const listener of this.#listeners) listener(line);
  }
}

/** Stops every process still running. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((child) => child.stop()));
}

/**
 * Runs `main` and stops every child afterwards, also when it throws and on SIGINT and SIGTERM.
 * @returns What `main` returned, or 130 when a signal ended it.
 */
export async function withChildren(main: () => Promise<number>): Promise<number> {
  let interrupt = () => {};
  const interrupted = new Promise<number>((resolve) => {
    interrupt = () => resolve(130);
  });
  Deno.addSignalListener("SIGINT", interrupt);
  Deno.addSignalListener("SIGTERM", interrupt);
  const work = main();
  // After a signal nobody waits for `main`, which then fails because its children end.
  work.catch(() => {});
  try {
    return await Promise.race([work, interrupted]);
  } finally {
    await stopAll();
    Deno.removeSignalListener("SIGINT", interrupt);
    Deno.removeSignalListener("SIGTERM", interrupt);
  }
}
