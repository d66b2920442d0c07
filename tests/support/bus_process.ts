/**
 * The test's side of tests/support/bus_node.ts, and the record of what any bus told its handler.
 * A process's bus looks like a bus in this process, but for what only its own side can know.
 */

import { assert } from "@std/assert";
import type { BusHandler, BusPort, Claim, Location, NodeId, UserId } from "../../actors/ports.ts";
import type { Command } from "./bus_node.ts";

/** What the process says. */
export type BusEvent =
  | { readonly on: "started" }
  | { readonly on: "envelope"; readonly from: NodeId; readonly text: string }
  | { readonly on: "up" | "down"; readonly node: NodeId }
  | { readonly on: "reset" }
  | { readonly on: "answer"; readonly ask: number; readonly claim?: Claim };

/** All that a handler was told, in order. */
export class Seen implements BusHandler {
  readonly envelopes: { from: NodeId; text: string }[] = [];
  readonly ups: NodeId[] = [];
  readonly downs: NodeId[] = [];
  resets = 0;

  onEnvelope(from: NodeId, text: string): void {
    this.envelopes.push({ from, text });
  }

  onNodeUp(node: NodeId): void {
    this.ups.push(node);
  }

  onNodeDown(node: NodeId): void {
    this.downs.push(node);
  }

  onReset(): void {
    this.resets++;
  }

  /** Texts from one node. */
  texts(from: NodeId): string[] {
    return this.envelopes.filter((e) => e.from === from).map((e) => e.text);
  }
}

/** A bus and its record. */
export interface Member {
  readonly bus: BusPort;
  readonly seen: Seen;
}

/** Waits for a condition, looking every few ms. */
export async function until(condition: () => boolean, limitMs: number, what: string) {
  const end = performance.now() + limitMs;
  while (!condition()) {
    assert(performance.now() < end, `${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** As {@linkcode until}, for a condition that must be asked for. */
export async function untilAsync(
  condition: () => Promise<boolean>,
  limitMs: number,
  what: string,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    assert(performance.now() < end, `${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What the process opens its bus with. */
export interface BusProcessOptions {
  readonly url: string;
  readonly node: NodeId;
  readonly leaseMs: number;
  readonly prefix: string;
}

/** A node in a process of its own. */
export class BusProcess implements Member {
  readonly seen = new Seen();
  readonly bus: BusPort;
  readonly #process: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #answers = new Map<number, (claim: Claim | undefined) => void>();
  readonly #reading: Promise<void>;
  #asks = 0;
  #started = false;

  private constructor(options: BusProcessOptions) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [
        // Exactly what a server gets, but for files.
        ...["run", "--no-lock", "--ignore-env", "--allow-env=CHAT_*", "--allow-net"],
        new URL("bus_node.ts", import.meta.url).pathname,
        JSON.stringify(options),
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#stdin = this.#process.stdin.getWriter();
    this.#reading = this.#read();
    this.bus = {
      node: options.node,
      counters: { dropped: 0, resets: 0 },
      start: () => Promise.reject(new Error("started already")),
      send: (to, text) => void this.#tell({ do: "send", to, text }),
      broadcast: (text) => void this.#tell({ do: "broadcast", text }),
      claim: async (user, conn, takeover) => {
        const claim = await this.#ask({ do: "claim", ask: this.#asks++, user, conn, takeover });
        assert(claim);
        return claim;
      },
      release: async (user, conn) => {
        await this.#ask({ do: "release", ask: this.#asks++, user, conn });
      },
      announce: async (entries) => {
        await this.#ask({ do: "announce", ask: this.#asks++, entries: [...entries] });
      },
      problem: () => undefined,
      close: () => this.#close(),
    };
  }

  /** Resolves when its bus has started. */
  static async start(options: BusProcessOptions): Promise<BusProcess> {
    const process = new BusProcess(options);
    await until(() => process.#started, 10_000, "the node process starts");
    return process;
  }

  signal(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** kill -9, also of a stopped process. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#gone();
  }

  async #close(): Promise<void> {
    await this.#stdin.close();
    await this.#gone();
  }

  async #gone(): Promise<void> {
    await this.#process.status;
    await this.#reading;
    await this.#stdin.abort().catch(() => {}); // closed, or broken with the process
  }

  async #tell(command: Command): Promise<void> {
    await this.#stdin.write(new TextEncoder().encode(`${JSON.stringify(command)}\n`));
  }

  #ask(command: Command & { ask: number }): Promise<Claim | undefined> {
    return new Promise((resolve) => {
      this.#answers.set(command.ask, resolve);
      void this.#tell(command);
    });
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const text of this.#process.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#event(JSON.parse(line));
    }
  }

  #event(event: BusEvent): void {
    switch (event.on) {
      case "started":
        this.#started = true;
        return;
      case "envelope":
        return this.seen.onEnvelope(event.from, event.text);
      case "up":
        return this.seen.onNodeUp(event.node);
      case "down":
        return this.seen.onNodeDown(event.node);
      case "reset":
        return this.seen.onReset();
      case "answer":
        // JSON has no undefined.
        this.#answers.get(event.ask)?.(
          event.claim?.granted ? { ...event.claim, previous: event.claim.previous } : event.claim,
        );
        this.#answers.delete(event.ask);
        return;
      default:
        return event satisfies never;
    }
  }
}

/** Text of a location, as Redis holds it. */
export function locationText({ node, conn }: Location): string {
  return `${node}:${conn}`;
}

/** user ⇒ `<node>:<conn>`. */
export type Entries = Map<UserId, string>;
