/**
 * The node's threads: starts workers, introduces them to each other, and replaces one that dies,
 * with back-off. An uncaught error in a worker would otherwise end the whole process.
 */

import type { Payload, PortLike, ThreadId } from "../../actors/runtime/link.ts";
import { backoffMs } from "../../actors/runtime/runtime.ts";
import type { ThreadInit, ThreadPeer, ThreadReport } from "../../actors/runtime/thread.ts";
import type { Log } from "../observe/log.ts";

/** What a thread is. */
export interface ThreadSpec {
  readonly thread: ThreadId;
  /** For the log. */
  readonly name: string;
  /** Module that calls `runThread`. */
  readonly module: URL;
  readonly options: unknown;
  /** Threads it talks to directly, besides the main thread. */
  readonly peers: readonly ThreadId[];
  /** Runs when it is ready, each time it is started. */
  readonly onReady: (port: PortLike, restarted: boolean) => void;
  /** Runs when it has died. */
  readonly onDown: () => void;
}

/** First delay before a dead thread is started again, ms; doubles, with jitter, up to the cap. */
const RESTART_MS = 50;
const RESTART_CAP_MS = 5_000;
/** A thread that ran this long begins with the first delay again, ms. */
const STABLE_MS = 30_000;
/** How long a thread may take to be ready, ms; MySQL's own time-outs are below it. */
const READY_MS = 30_000;

interface Running {
  readonly spec: ThreadSpec;
  worker: Worker | undefined;
  attempts: number;
  startedAt: number;
}

/** Told of a port to a thread that has started (anew). */
export type Introduce = (peer: ThreadId, port: MessagePort) => void;

/** See the module's header. */
export class Threads {
  readonly #log: Log;
  readonly #onFatal: (text: string) => void;
  readonly #threads = new Map<ThreadId, Running>();
  /** Actor systems that have a thread number and run in the main thread. */
  readonly #inline = new Map<ThreadId, Introduce>();
  /** Times each was started again, by name. */
  readonly restarts = new Map<string, number>();
  #closing = false;

  /** @param onFatal A thread cannot be started again: the node should end. */
  constructor(log: Log, onFatal: (text: string) => void) {
    this.#log = log;
    this.#onFatal = onFatal;
  }

  /** `thread` runs in the main thread: whoever has it for a peer is introduced to it here. */
  addInline(thread: ThreadId, introduce: Introduce): void {
    this.#inline.set(thread, introduce);
  }

  /**
   * Starts a thread and waits until it is ready.
   * @throws {Error} One sentence on why it cannot start.
   */
  async start(spec: ThreadSpec): Promise<void> {
    const running: Running = { spec, worker: undefined, attempts: 0, startedAt: 0 };
    this.#threads.set(spec.thread, running);
    this.restarts.set(spec.name, 0); // a counter that begins with 1 has no increase
    await this.#run(running, false);
  }

  /** Ends a thread as a crash would: it is started again. False when there is none. */
  kill(thread: ThreadId): boolean {
    const running = this.#threads.get(thread);
    if (running?.worker === undefined) return false;
    this.#died(running, running.worker, "killed");
    return true;
  }

  /** Ends all threads for good. */
  close(): void {
    this.#closing = true;
    for (const running of this.#threads.values()) running.worker?.terminate();
    this.#threads.clear();
  }

  async #run(running: Running, restarted: boolean): Promise<void> {
    const { spec } = running;
    const worker = new Worker(spec.module, { type: "module", name: spec.name });
    running.worker = worker;
    running.startedAt = Date.now();
    let receive: ((payload: Payload) => void) | undefined;
    const early: Payload[] = [];
    const ready = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${spec.name} was not ready in time`)),
        READY_MS,
      );
      worker.onmessage = (event: MessageEvent<Payload | ThreadReport>) => {
        const { data } = event;
        if (!("control" in data)) {
          if (receive === undefined) early.push(data);
          else receive(data);
        } else if (data.control === "log") {
          const about = data.conn === undefined ? {} : { conn: data.conn };
          this.#log[data.level](data.text, { thread: spec.name, ...about, ...data.fields });
        } else {
          clearTimeout(timer);
          if (data.control === "ready") resolve();
          else reject(new Error(data.text));
        }
      };
      worker.onerror = (event) => {
        event.preventDefault(); // else it ends this process
        clearTimeout(timer);
        reject(new Error(event.message));
        this.#died(running, worker, event.message);
      };
    });
    const peers: { thread: ThreadId; port: MessagePort }[] = [];
    for (const peer of spec.peers) {
      const introduce = this.#introducer(peer);
      if (introduce === undefined) continue; // it introduces itself when it starts
      const { port1, port2 } = new MessageChannel();
      peers.push({ thread: peer, port: port1 });
      introduce(spec.thread, port2);
    }
    const init: ThreadInit<unknown> = {
      control: "init",
      thread: spec.thread,
      peers,
      options: spec.options,
    };
    worker.postMessage(init, peers.map((p) => p.port));
    const port: PortLike = {
      post: (payload, transfer) => worker.postMessage(payload, transfer),
      listen(to) {
        receive = to;
        for (const payload of early.splice(0)) to(payload);
      },
      close() {},
    };
    await ready;
    if (running.worker === worker) spec.onReady(port, restarted);
  }

  #introducer(to: ThreadId): Introduce | undefined {
    const worker = this.#threads.get(to)?.worker;
    if (worker === undefined) return this.#inline.get(to);
    return (thread, port) => {
      const introduction: ThreadPeer = { control: "peer", thread, port };
      worker.postMessage(introduction, [port]);
    };
  }

  #died(running: Running, worker: Worker, why: string): void {
    if (running.worker !== worker || this.#closing) return;
    running.worker = undefined;
    worker.terminate();
    running.spec.onDown();
    if (Date.now() - running.startedAt > STABLE_MS) running.attempts = 0;
    const delayMs = backoffMs(running.attempts++, RESTART_MS, RESTART_CAP_MS);
    const { name } = running.spec;
    this.restarts.set(name, (this.restarts.get(name) ?? 0) + 1);
    this.#log.error("thread died, starting another", { name, why, inMs: Math.round(delayMs) });
    setTimeout(() => {
      if (this.#closing) return;
      this.#run(running, true).catch((error) => {
        if (running.worker === undefined || this.#closing) return; // its death is being dealt with
        this.#onFatal(`${name} cannot be started again: ${error.message}`);
      });
    }, delayMs);
  }
}
