/**
 * CPU profiles of every thread of a Deno process, through its inspector (`--inspect`).
 *
 * A Deno worker is reached as in Node: `NodeWorker.enable` on the main session attaches to all
 * workers, those already running included, and each command to one is wrapped in
 * `NodeWorker.sendMessageToWorker`. (`--cpu-prof` writes a worker's profile only when the worker
 * closes itself, which a pool worker never does.)
 * Source: https://chromedevtools.github.io/devtools-protocol/, domains Profiler and NodeWorker.
 */

import { deadline } from "@std/async/deadline";
import { z } from "zod";

const CALL_MS = 20_000;
/** Workers are announced right after `NodeWorker.enable`, without a last one. */
const ATTACH_MS = 500;

/** A sampled call tree as V8 gives it. Times in µs. */
export const CpuProfile = z.object({
  nodes: z.array(z.object({
    id: z.int(),
    callFrame: z.object({
      functionName: z.string(),
      url: z.string(),
      lineNumber: z.int(), // from 0
    }),
    children: z.array(z.int()).optional(),
  })),
  samples: z.array(z.int()),
  timeDeltas: z.array(z.number()),
});
export type CpuProfile = z.infer<typeof CpuProfile>;

/** A profile of one thread. */
export interface ThreadProfile {
  /** "main", or the worker's script and name. */
  readonly thread: string;
  readonly profile: CpuProfile;
  /** The profile as V8 gave it, for other tools. */
  readonly raw: unknown;
}

const Reply = z.looseObject({
  id: z.int(),
  result: z.unknown().optional(),
  error: z.object({ message: z.string() }).optional(),
});
const Attached = z.object({
  method: z.literal("NodeWorker.attachedToWorker"),
  params: z.object({ sessionId: z.string(), workerInfo: z.object({ url: z.string() }) }),
});
const FromWorker = z.object({
  method: z.literal("NodeWorker.receivedMessageFromWorker"),
  params: z.object({ sessionId: z.string(), message: z.string() }),
});

const MAIN = "";

/** A connection to a process's inspector. */
export class Inspector {
  readonly #socket: WebSocket;
  #lastId = 0;
  readonly #pending = new Map<string, (reply: z.infer<typeof Reply>) => void>();
  /** Session id ⇒ name of the thread. */
  readonly #threads = new Map<string, string>([[MAIN, "main"]]);

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = (event) => this.#receive(MAIN, String(event.data));
  }

  /** @param url As printed by `deno run --inspect`: `ws://…`. */
  static async connect(url: string): Promise<Inspector> {
    const socket = new WebSocket(url);
    await deadline(
      new Promise<void>((resolve, reject) => {
        socket.onopen = () => resolve();
        socket.onerror = () => reject(new Error(`no inspector at ${url}`));
      }),
      CALL_MS,
    );
    const inspector = new Inspector(socket);
    await inspector.#call(MAIN, "NodeWorker.enable", { waitForDebuggerOnStart: false });
    await new Promise((resolve) => setTimeout(resolve, ATTACH_MS));
    for (const [session, name] of inspector.#threads) {
      if (session === MAIN) continue;
      const own = await inspector.#evaluate(session, "self.name");
      if (own !== "") inspector.#threads.set(session, `${name} ${own}`);
    }
    return inspector;
  }

  /** Samples all threads, every `intervalUs`, while `during` runs. */
  async profile(intervalUs: number, during: () => Promise<void>): Promise<ThreadProfile[]> {
    const sessions = [...this.#threads.keys()];
    await Promise.all(sessions.map(async (session) => {
      await this.#call(session, "Profiler.enable", {});
      await this.#call(session, "Profiler.setSamplingInterval", { interval: intervalUs });
      await this.#call(session, "Profiler.start", {});
    }));
    await during();
    return await Promise.all(sessions.map(async (session) => {
      const reply = await this.#call(session, "Profiler.stop", {});
      const { profile } = z.object({ profile: z.unknown() }).parse(reply);
      return {
        thread: this.#threads.get(session) ?? session,
        profile: CpuProfile.parse(profile),
        raw: profile,
      };
    }));
  }

  /** Lets go of the process, which runs on. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#socket.onclose = () => resolve());
    this.#socket.close();
    await deadline(closed, CALL_MS);
  }

  async #evaluate(session: string, expression: string): Promise<string> {
    const reply = await this.#call(session, "Runtime.evaluate", { expression });
    const { result } = z.object({ result: z.object({ value: z.unknown() }) }).parse(reply);
    return String(result.value);
  }

  async #call(session: string, method: string, params: Record<string, unknown>): Promise<unknown> {
    const id = ++this.#lastId;
    const text = JSON.stringify({ id, method, params });
    const reply = new Promise<z.infer<typeof Reply>>((resolve) => {
      this.#pending.set(`${session}:${id}`, resolve);
    });
    this.#socket.send(
      session === MAIN ? text : JSON.stringify({
        id: ++this.#lastId,
        method: "NodeWorker.sendMessageToWorker",
        params: { sessionId: session, message: text },
      }),
    );
    const { error, result } = await deadline(reply, CALL_MS);
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  #receive(session: string, text: string): void {
    const message: unknown = JSON.parse(text);
    const attached = Attached.safeParse(message);
    if (attached.success) {
      const { sessionId, workerInfo } = attached.data.params;
      const script = workerInfo.url.slice(workerInfo.url.lastIndexOf("/") + 1);
      this.#threads.set(sessionId, `${script} #${sessionId}`);
      return;
    }
    const wrapped = FromWorker.safeParse(message);
    if (wrapped.success) {
      this.#receive(wrapped.data.params.sessionId, wrapped.data.params.message);
      return;
    }
    const reply = Reply.safeParse(message);
    if (!reply.success) return; // an event of no interest
    const key = `${session}:${reply.data.id}`;
    this.#pending.get(key)?.(reply.data);
    this.#pending.delete(key);
  }
}
