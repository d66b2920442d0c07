/**
 * A real service as a private child process: a port, a life cycle, faults to order. What runs is
 * given by a launch function (services.ts, nginx.ts). Nothing is restarted that was not asked for.
 */

import { join } from "@std/path";
import { type Child, type Exit, sendSignal, untilReady } from "./child.ts";
import type { Binaries } from "./install.ts";
import { freePort } from "./ports.ts";

/** Ports tried when somebody takes the one just found free. */
const PORT_ATTEMPTS = 5;
/** How long a restart waits for its own port to become free again. */
const REBIND_MS = 10_000;
/** From SIGTERM to SIGKILL: MariaDB writes its dirty pages in it, a node drains. */
const STOP_MS = 30_000;

/** Where a service's output goes: a log file in its directory, or a receiver of lines. */
export type Output = "file" | ((line: string) => void);

/** What all private services take. */
export interface ServiceOptions {
  /** Created if need be. Its content is the service's state: give it again to go on with it. */
  readonly dir: string;
  /** Any free one by default. */
  readonly port?: number;
  /** `"file"` by default: DIR/<service>.log. */
  readonly output?: Output;
  /** What findBinaries finds, by default. */
  readonly binaries?: Binaries;
  /** Ends a start or restart that is under way, by force. */
  readonly signal?: AbortSignal;
}

/** How one kind of service is run. */
export interface Launch {
  /** "MariaDB", "Redis", … */
  readonly name: string;
  /** Starts the program on this port of 127.0.0.1; not ready yet. */
  spawn(port: number): Child;
  /** Whether this very child answers on the port. */
  ready(child: Child, port: number): Promise<boolean>;
  readonly readyMs: number;
  /** Ends it in an orderly way and at once. */
  readonly stopSignal: Deno.Signal;
  /** Processes that the child started and that a pause must stop too. */
  workers?(pid: number): number[];
}

/** How a start may go. */
export interface StartOptions {
  /** Any free one by default. */
  readonly port?: number;
  /** Ends a start or restart that is under way, by force. */
  readonly signal?: AbortSignal;
}

/** A running service. Every method may be called in any state; calls must not overlap. */
export class Service {
  readonly name: string;
  readonly port: number;
  readonly #launch: Launch;
  readonly #signal: AbortSignal | undefined;
  #child: Child;

  private constructor(launch: Launch, port: number, child: Child, signal?: AbortSignal) {
    this.name = launch.name;
    this.port = port;
    this.#launch = launch;
    this.#child = child;
    this.#signal = signal;
  }

  /**
   * Starts a service and waits until it answers.
   * @throws {Error} It ended or is not ready in time; the message has its latest output.
   */
  static async start(launch: Launch, { port, signal }: StartOptions): Promise<Service> {
    for (let attempt = 1;; attempt++) {
      const candidate = port ?? freePort();
      try {
        return new Service(launch, candidate, await run(launch, candidate, signal), signal);
      } catch (error) {
        if (!isPortTaken(error) || port !== undefined || attempt >= PORT_ATTEMPTS) throw error;
      }
    }
  }

  /** Of the current run, or of the last. */
  get pid(): number {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child.exit === undefined;
  }

  /** When and how the current run ends. */
  get ended(): Promise<Exit> {
    return this.#child.ended;
  }

  /** Latest output of the current run. */
  tail(): string {
    return this.#child.tail();
  }

  /**
   * Ends it in an orderly way; its data stays.
   * @returns How it ended, now or before.
   */
  async stop(): Promise<Exit> {
    return await this.#child.stop(this.#launch.stopSignal, STOP_MS);
  }

  /** kill -9, its own children included; resolves when the process is gone. */
  async kill9(): Promise<void> {
    if (this.running) this.#child.killGroup();
    await this.#child.ended;
  }

  /** Stops it if it runs, then starts it with the same port and data, and waits until it answers. */
  async restart(): Promise<void> {
    await this.stop();
    const end = performance.now() + REBIND_MS;
    for (;;) {
      try {
        this.#child = await run(this.#launch, this.port, this.#signal);
        return;
      } catch (error) {
        if (!isPortTaken(error) || performance.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** SIGSTOP: connections stay open and nobody answers. */
  pause(): void {
    this.#signalAll("SIGSTOP");
  }

  /** SIGCONT after {@linkcode Service.pause}. */
  resume(): void {
    this.#signalAll("SIGCONT");
  }

  /** Sends a signal to its main process. */
  signal(signal: Deno.Signal): void {
    this.#child.signal(signal);
  }

  #signalAll(signal: Deno.Signal): void {
    if (!this.running) return;
    for (const pid of this.#launch.workers?.(this.pid) ?? []) sendSignal(pid, signal);
    this.#child.signal(signal);
  }
}

async function run(launch: Launch, port: number, signal?: AbortSignal): Promise<Child> {
  const child = launch.spawn(port);
  try {
    await untilReady(child, () => launch.ready(child, port), launch.readyMs, signal);
    return child;
  } catch (error) {
    if (child.exit === undefined) child.killGroup();
    await child.ended;
    throw error;
  }
}

/** The services' own words for EADDRINUSE. */
function isPortTaken(error: unknown): boolean {
  return error instanceof Error && /Address already in use|address in use/i.test(error.message);
}

/** The directory's real path, created if need be, and where output goes. */
export async function prepare(
  options: ServiceOptions,
  name: string,
): Promise<{ dir: string; output: string | ((line: string) => void) }> {
  await Deno.mkdir(options.dir, { recursive: true });
  const dir = await Deno.realPath(options.dir);
  const output = options.output ?? "file";
  return { dir, output: output === "file" ? join(dir, `${name}.log`) : output };
}

/** Content of a file that a service writes, undefined until it has. */
export async function textOf(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Connects, sends `request`, and gives the first bytes of the answer; undefined when nobody
 * answers within `limitMs`.
 */
export async function firstBytes(
  port: number,
  request: string,
  limitMs: number,
): Promise<Uint8Array | undefined> {
  let conn: Deno.TcpConn;
  try {
    conn = await Deno.connect({ hostname: "127.0.0.1", port });
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return undefined;
    throw error;
  }
  let open = true;
  const close = () => {
    if (open) conn.close();
    open = false;
  };
  const timer = setTimeout(close, limitMs);
  try {
    if (request !== "") await conn.write(new TextEncoder().encode(request));
    const bytes = new Uint8Array(64);
    const count = await conn.read(bytes);
    return count === null ? undefined : bytes.subarray(0, count);
  } catch (error) {
    const gone = error instanceof Deno.errors.ConnectionReset ||
      error instanceof Deno.errors.BrokenPipe;
    if (gone || !open) return undefined;
    throw error;
  } finally {
    clearTimeout(timer);
    close();
  }
}
