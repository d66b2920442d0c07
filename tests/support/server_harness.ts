/**
 * A real server process for tests, as `deno task serve` starts it: the permissions are read from
 * deno.json, so that they stay the same. Free ports, a data directory of its own, cheap passwords.
 */

import { deadline } from "@std/async/deadline";
import { fromFileUrl } from "@std/path";
import { z } from "zod";
import { Child, type Exit, sendSignal, untilReady } from "../../server/cluster/child.ts";
import { TestPeer, WAIT_MS } from "./test_peer.ts";

export { type Received, TestPeer, WAIT_MS } from "./test_peer.ts";

/** The repository. */
export const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** Modules may have to be compiled first, on a machine that runs other tests too. */
const START_MS = 60_000;
/** Longer than the server takes to stop whatever happens. */
const STOP_MS = 15_000;
const READY = /^chat server ready: listening on \S+?:(\d+), health on http:\/\/\S+?:(\d+)\//;

const DenoJson = z.object({ tasks: z.record(z.string(), z.string()) });

/** Program and arguments of a task in deno.json, without the shell. */
export function taskCommand(task: string): { command: string; args: string[] } {
  const { tasks } = DenoJson.parse(JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`)));
  const [program, ...args] = tasks[task]?.split(/\s+/) ?? [];
  if (program !== "deno") throw new Error(`the task ${task} does not begin with deno`);
  return { command: Deno.execPath(), args };
}

/** Our environment without settings of the server and client. */
export function cleanEnv(more: Record<string, string> = {}): Record<string, string> {
  const own = Object.entries(Deno.env.toObject()).filter(([name]) => !name.startsWith("CHAT_"));
  return { ...Object.fromEntries(own), NO_COLOR: "1", ...more };
}

/** How a test's server is started. */
export interface TestServerOptions {
  /** Session workers. @default 1 */
  readonly workers?: number;
  /** Data directory, which is kept. @default a new one, removed at the end */
  readonly data?: string;
  /** Flags beside those of every test. */
  readonly flags?: readonly string[];
  /** Cost of a password: KiB and passes. @default "64,1" */
  readonly passwordCost?: string;
  readonly env?: Record<string, string>;
}

/** Flags of a server that believes what its peers say of their address, as from a balancer. */
export const BALANCED = [
  ...["--proxy-protocol", "on", "--trusted-proxies", "127.0.0.1/32"],
] as const;

/** A running server; disposing it stops it and removes its data. */
export class TestServer implements AsyncDisposable {
  readonly #options: TestServerOptions;
  readonly data: string;
  #child: Child;
  #lines: string[] = [];
  #news = Promise.withResolvers<void>();
  #port = 0;
  #httpPort = 0;

  private constructor(options: TestServerOptions, data: string) {
    this.#options = options;
    this.data = data;
    this.#child = this.#spawn();
  }

  /** Resolves when it is ready. */
  static async start(options: TestServerOptions = {}): Promise<TestServer> {
    const data = options.data ?? await Deno.makeTempDir({ prefix: "chat-test-" });
    const server = new TestServer(options, data);
    try {
      await server.#ready();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  get port(): number {
    return this.#port;
  }

  get httpPort(): number {
    return this.#httpPort;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** What it has printed since it was last started, both streams. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Resident memory, bytes. */
  memoryBytes(): number {
    const [, pages] = Deno.readTextFileSync(`/proc/${this.pid}/statm`).split(" ").map(Number);
    return (pages ?? 0) * 4096;
  }

  /** A connection to it. */
  /** @param from The address it comes from; the server has to take it ({@linkcode BALANCED}). */
  async connect(v: 1 | 2 = 2, from?: string): Promise<TestPeer> {
    const peer = await TestPeer.connect(this.#port, v);
    if (from === undefined) return peer;
    const family = from.includes(":") ? "TCP6" : "TCP4";
    await peer.sendText(`PROXY ${family} ${from} ${from} 50000 6000\r\n`);
    return peer;
  }

  /** GET on the HTTP port. */
  async get(path: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://127.0.0.1:${this.#httpPort}${path}`);
    return { status: response.status, text: await response.text() };
  }

  signal(signal: Deno.Signal): void {
    if (!sendSignal(this.pid, signal)) throw new Error("the server has ended");
  }

  /** The `count`th line that matches, waited for; fails with all lines when there is none. */
  async line(pattern: RegExp, count = 1, ms = WAIT_MS): Promise<string> {
    const search = async () => {
      for (;;) {
        const found = this.#lines.filter((line) => pattern.test(line))[count - 1];
        if (found !== undefined) return found;
        await this.#news.promise;
      }
    };
    try {
      return await deadline(search(), ms);
    } catch {
      throw new Error(`no line ${count} like ${pattern} in:\n${this.#lines.join("\n")}`);
    }
  }

  /** SIGTERM, and how it then ended. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<Exit> {
    return await this.#child.stop(signal, STOP_MS);
  }

  /** SIGKILL: nothing is finished, nobody is told. */
  async kill9(): Promise<void> {
    this.#child.killGroup();
    await deadline(this.#child.ended, STOP_MS);
  }

  /** Resolves when it has ended by itself. */
  async ended(ms = STOP_MS): Promise<Exit> {
    return await deadline(this.#child.ended, ms);
  }

  /** Starts it again after `stop` or `kill9`: same ports, same data. */
  async restart(): Promise<void> {
    if (this.#child.exit === undefined) throw new Error("stop it first");
    this.#lines = [];
    this.#child = this.#spawn();
    await this.#ready();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exit === undefined) await this.stop();
    if (this.#options.data === undefined) await Deno.remove(this.data, { recursive: true });
  }

  #spawn(): Child {
    const { command, args } = taskCommand("serve");
    const { workers = 1, flags = [], env = {} } = this.#options;
    return new Child({
      name: "server",
      command,
      args: [
        ...args,
        ...["--port", String(this.#port), "--http-port", String(this.#httpPort)],
        ...["--data", this.data, "--workers", String(workers)],
        ...["--password-cost", this.#options.passwordCost ?? "64,1"],
        ...flags,
      ],
      cwd: ROOT,
      env: cleanEnv(env),
      output: (line) => {
        this.#lines.push(line);
        this.#news.resolve();
        this.#news = Promise.withResolvers<void>();
      },
    });
  }

  async #ready(): Promise<void> {
    let match: RegExpExecArray | null = null;
    const ready = () => {
      for (const line of this.#lines) match ??= READY.exec(line);
      return Promise.resolve(match !== null);
    };
    await untilReady(this.#child, ready, START_MS);
    const [, port, httpPort] = match ?? [];
    this.#port = Number(port);
    this.#httpPort = Number(httpPort);
  }
}
