/**
 * One child process that cannot outlive us. No knowledge of what it runs, no restarts.
 *
 * Invariants: the child leads a session of its own, so that a terminal's Ctrl-C reaches only us
 * and a group signal reaches its own children; when this process dies, even by SIGKILL, a watcher
 * ends the child; `ended` settles after what is left of its group has been killed and its output
 * is drained, so that nothing is left open.
 */

import { deadline } from "@std/async/deadline";

/** How a child ended. */
export interface Exit {
  /** Exit status; 128 + signal number when a signal ended it. */
  readonly code: number;
  readonly signal: Deno.Signal | null;
}

/** What to run and where its output goes. */
export interface ChildOptions {
  /** For messages. */
  readonly name: string;
  /** Absolute path. */
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  /** All of the child's environment. */
  readonly env?: Record<string, string>;
  /**
   * A file that output is appended to, by the child itself: nothing is pending in this process
   * between tests. Or a receiver of lines.
   */
  readonly output: string | ((line: string) => void);
}

/** Time from SIGTERM to SIGKILL when the parent died, in seconds; a database flushes in it. */
const ORPHAN_GRACE_S = 5;
/** Most output kept for an error message. */
const TAIL_LINES = 40;
const TAIL_BYTES = 8 * 1024;
/** A longer line is cut: a child without newlines must not fill our memory. */
const MAX_LINE_UNITS = 16 * 1024;

/**
 * The pipe on stdin ends when its writer dies, however it dies: that wakes the watcher. `exec`
 * gives the child the pid that we spawned; the double fork gives it no child it did not ask for.
 * SIGCONT comes after SIGTERM, so that a paused child ends too.
 */
const WRAPPER = `
exec 3<&0 </dev/null
if [ -n "$1" ]; then exec >>"$1" 2>&1; else exec 2>&1; fi
shift
( (
  exec >/dev/null 2>&1
  read -r _ <&3
  kill -TERM $$
  kill -CONT $$
  i=0
  while [ $i -lt ${ORPHAN_GRACE_S}0 ] && kill -0 $$; do sleep 0.1; i=$((i + 1)); done
  kill -KILL -$$
) & )
exec "$@" 3<&-
`;

/** A running child, or one that has ended. */
export class Child {
  readonly name: string;
  readonly pid: number;
  /** Settles when the child has ended and everything of it is released. Never rejects. */
  readonly ended: Promise<Exit>;
  #exit: Exit | undefined;
  readonly #process: Deno.ChildProcess;
  readonly #logPath: string | undefined;
  readonly #logStart: number;
  readonly #tail: string[] = [];

  /**
   * Starts it. Not yet ready for anything.
   * @throws {Deno.errors.NotFound} No shell, or no directory `cwd`.
   */
  constructor(options: ChildOptions) {
    const { output } = options;
    this.name = options.name;
    this.#logPath = typeof output === "string" ? output : undefined;
    this.#logStart = this.#logPath === undefined ? 0 : sizeOf(this.#logPath);
    this.#process = new Deno.Command("/bin/sh", {
      args: ["-c", WRAPPER, "sh", this.#logPath ?? "", options.command, ...options.args],
      cwd: options.cwd,
      env: options.env,
      clearEnv: options.env !== undefined,
      detached: true,
      stdin: "piped",
      stdout: this.#logPath === undefined ? "piped" : "null",
      stderr: "null",
    }).spawn();
    this.pid = this.#process.pid;
    const lines = typeof output === "string" ? Promise.resolve() : this.#pump(output);
    this.ended = this.#settle(lines);
  }

  /** Undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** Its latest output, this run's only. */
  tail(): string {
    if (this.#logPath === undefined) return this.#tail.join("\n");
    try {
      using file = Deno.openSync(this.#logPath, { read: true });
      const size = file.statSync().size;
      const from = Math.max(this.#logStart, size - TAIL_BYTES);
      file.seekSync(from, Deno.SeekMode.Start);
      const bytes = new Uint8Array(Math.max(0, size - from));
      const count = file.readSync(bytes) ?? 0;
      return new TextDecoder().decode(bytes.subarray(0, count)).trimEnd();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return ""; // nothing was written
      throw error;
    }
  }

  /** Signals the child; false when it has ended. */
  signal(signal: Deno.Signal): boolean {
    return this.#exit === undefined && sendSignal(this.pid, signal);
  }

  /** Signals it and all processes it started, the watcher among them: for SIGKILL only. */
  killGroup(): void {
    sendSignal(-this.pid, "SIGKILL");
  }

  /**
   * Asks it to end, then waits; kills it when it takes longer than `graceMs`.
   * @returns How it ended; `code` 137 tells that it had to be killed.
   */
  async stop(signal: Deno.Signal, graceMs: number): Promise<Exit> {
    this.signal(signal);
    this.signal("SIGCONT"); // a paused one takes no other signal
    try {
      return await deadline(this.ended, graceMs);
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "TimeoutError")) throw error;
      this.killGroup();
      return await this.ended;
    }
  }

  async #settle(lines: Promise<void>): Promise<Exit> {
    const status = await this.#process.status;
    // What it left behind goes with it: the watcher, which keeps the group's number from being
    // given to others until now, and workers of a killed nginx, which would go on serving.
    this.killGroup();
    await this.#process.stdin.close();
    await lines;
    this.#exit = { code: status.code, signal: status.signal };
    return this.#exit;
  }

  async #pump(receive: (line: string) => void): Promise<void> {
    let rest = "";
    const take = (line: string) => {
      this.#tail.push(line);
      if (this.#tail.length > TAIL_LINES) this.#tail.shift();
      receive(line);
    };
    for await (const text of this.#process.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) take(line);
      if (rest.length > MAX_LINE_UNITS) {
        take(rest);
        rest = "";
      }
    }
    if (rest !== "") take(rest);
  }
}

/**
 * Waits until `ready` holds, asking every few ms.
 * @throws {Error} The child ended first, or `limitMs` passed; the message has its latest output.
 */
export async function untilReady(
  child: Child,
  ready: () => Promise<boolean>,
  limitMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const end = performance.now() + limitMs;
  for (;;) {
    signal?.throwIfAborted();
    if (child.exit !== undefined) {
      const how = child.exit.signal ?? `status ${child.exit.code}`;
      throw new Error(`${child.name} ended at start (${how}). Its output:\n${child.tail()}`);
    }
    if (await ready()) return;
    if (performance.now() > end) {
      throw new Error(
        `${child.name} is not ready after ${limitMs} ms. Its output:\n${child.tail()}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Sends a signal; false when there is no such process. */
export function sendSignal(pid: number, signal: Deno.Signal): boolean {
  try {
    Deno.kill(pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || isNoSuchProcess(error)) return false;
    throw error;
  }
}

/** ESRCH has no error class of its own in every Deno version. */
function isNoSuchProcess(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ESRCH";
}

function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}
