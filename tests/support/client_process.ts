/**
 * The client program without a terminal, as a process of its own: lines in, JSON events out.
 */

import { deadline } from "@std/async/deadline";
import { z } from "zod";
import { cleanEnv, ROOT, taskCommand } from "./server_harness.ts";

const WAIT_MS = 15_000;

const Event = z.looseObject({ event: z.string() });
/** A line of output. */
export type Event = z.infer<typeof Event>;

/** How a client is started. */
export interface ProcessOptions {
  readonly args: readonly string[];
  readonly password?: string;
  readonly env?: Record<string, string>;
}

/** A running client. */
export class ClientProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  readonly #errors: Promise<string>;
  /** Every event so far. */
  readonly events: Event[] = [];
  #news = Promise.withResolvers<void>();
  #ended = false;

  constructor({ args, password, env = {} }: ProcessOptions) {
    const { command, args: flags } = taskCommand("client");
    this.#child = new Deno.Command(command, {
      args: [...flags, ...args],
      cwd: ROOT,
      env: cleanEnv({ ...(password !== undefined && { CHAT_PASSWORD: password }), ...env }),
      clearEnv: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#stdin = this.#child.stdin.getWriter();
    this.#reading = this.#read();
    this.#errors = new Response(this.#child.stderr).text();
  }

  /** Gives it a command. */
  async send(line: string | object): Promise<void> {
    const text = typeof line === "string" ? line : JSON.stringify(line);
    await this.#stdin.write(new TextEncoder().encode(`${text}\n`));
  }

  /** The first event that fits, from the beginning, waited for. */
  async event(fits: (event: Event) => boolean, what = String(fits)): Promise<Event> {
    const search = async () => {
      for (let at = 0;;) {
        for (; at < this.events.length; at++) {
          const event = this.events[at];
          if (event !== undefined && fits(event)) return event;
        }
        if (this.#ended) throw new Error("it has ended");
        await this.#news.promise;
      }
    };
    try {
      return await deadline(search(), WAIT_MS);
    } catch (cause) {
      const seen = this.events.map((event) => JSON.stringify(event)).join("\n");
      throw new Error(`no event ${what} in:\n${seen}`, { cause });
    }
  }

  /** The answer to the command on line `line`, counted from 1. */
  answer(line: number): Promise<Event> {
    return this.event(
      (e) => (e.event === "ok" || e.event === "error") && e.line === line,
      `answering line ${line}`,
    );
  }

  /** Waits for a message with this text. */
  message(text: string): Promise<Event> {
    return this.event((e) => e.event === "message" && e.text === text, `message ${text}`);
  }

  /** Ends the input and returns the exit status and what was printed to stderr. */
  async end(): Promise<{ code: number; stderr: string }> {
    await this.#stdin.close();
    return await this.ended();
  }

  /** How it ended. */
  async ended(): Promise<{ code: number; stderr: string }> {
    const { code } = await deadline(this.#child.status, WAIT_MS);
    await this.#reading;
    return { code, stderr: await this.#errors };
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) {
      try {
        this.#child.kill("SIGKILL");
      } catch (error) {
        // It has ended just now.
        if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    await this.#child.status;
    await this.#reading;
    await this.#errors;
    // A pipe that was never closed, or one whose reader is gone: both are done with.
    await this.#stdin.close().catch(() => {});
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    let held = "";
    for await (const chunk of this.#child.stdout) {
      held += decoder.decode(chunk, { stream: true });
      const lines = held.split("\n");
      held = lines.pop() ?? "";
      for (const line of lines) this.events.push(Event.parse(JSON.parse(line)));
      this.#rouse();
    }
    this.#ended = true;
    this.#rouse();
  }

  #rouse(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers<void>();
  }
}
