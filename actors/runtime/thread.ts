/**
 * What every worker thread starts with: an actor system, its link to the main thread, and links to
 * other threads as they are introduced. The first message says what the thread is to be.
 */

import { type Link, messagePort, type Payload, type ThreadId } from "./link.ts";
import { measureLag, Meter } from "../observe/meter.ts";
import { systemClock } from "../ports.ts";
import { ActorSystem } from "./runtime.ts";

/** The main thread's first message to a worker. */
export interface ThreadInit<O> {
  readonly control: "init";
  readonly thread: ThreadId;
  readonly peers: readonly { readonly thread: ThreadId; readonly port: MessagePort }[];
  readonly options: O;
}

/** A new port to a thread that has started (anew). */
export interface ThreadPeer {
  readonly control: "peer";
  readonly thread: ThreadId;
  readonly port: MessagePort;
}

/** A worker's word to the main thread, outside the link. */
export type ThreadReport =
  | { readonly control: "ready" }
  /** It cannot start: one sentence with the remedy. */
  | { readonly control: "failed"; readonly text: string }
  | {
    readonly control: "log";
    readonly level: "warn" | "error";
    readonly text: string;
    readonly conn?: number;
    /** More fields of the line. */
    readonly fields?: object;
  };

/** The parts of a worker's global scope that are used. */
interface WorkerScope {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** What a thread's `start` works with. */
export interface ThreadContext<O> {
  readonly system: ActorSystem;
  readonly options: O;
  /** What this thread counts; the main thread reads it from its actor "meter". */
  readonly meter: Meter;
  /** Joins the main thread; `onLane` receives the frames lane. */
  linkMain(onLane?: (lane: unknown) => void): Link;
  /** @param conn The connection that it is about. */
  log(text: string, error?: unknown, conn?: number): void;
  /** A line that is no failure of ours. */
  warn(text: string, fields: object): void;
}

/**
 * Runs this worker. `start` is called once, with the links to its peers in place; when it resolves
 * the thread is ready, when it rejects the main thread is told why.
 */
export function runThread<O>(start: (context: ThreadContext<O>) => void | Promise<void>): void {
  const scope = self as unknown as WorkerScope;
  let deliver: ((payload: Payload) => void) | undefined;
  const early: Payload[] = [];
  let system: ActorSystem | undefined;
  const meter = new Meter();
  const deadLetters = meter.counter("chat_dead_letters_total");
  const restarts = meter.counter("chat_actor_restarts_total");
  measureLag(meter);

  const report = (message: ThreadReport) => scope.postMessage(message);
  const log = (text: string, error?: unknown, conn?: number) =>
    report({ control: "log", level: "error", text: withCause(text, error), conn });

  scope.onmessage = (event: MessageEvent<Payload | ThreadInit<O> | ThreadPeer>) => {
    const { data } = event;
    if (!("control" in data)) {
      if (deliver === undefined) early.push(data);
      else deliver(data);
    } else if (data.control === "peer") {
      system?.link(data.thread, portOf(data.port));
    } else {
      system = new ActorSystem(data.thread, systemClock, {
        onDeadLetter(to) {
          deadLetters.value++;
          report({ control: "log", level: "warn", text: `dead letter to ${to}` });
        },
        onCrash(name, error, delayMs) {
          restarts.value++;
          log(`actor ${name} failed, starts again in ${Math.round(delayMs)} ms`, error);
        },
        onGiveUp: (name, error) => {
          log(`actor ${name} failed for good`, error);
          // Uncaught on purpose: it ends this thread, and the main thread starts another.
          queueMicrotask(() => {
            throw error;
          });
        },
      }, queueMicrotask);
      for (const { thread, port } of data.peers) system.link(thread, portOf(port));
      system.spawn("meter", () => ({ receive: () => meter.snapshot() }));
      const context: ThreadContext<O> = {
        system,
        meter,
        options: data.options,
        log,
        warn: (text, fields) => report({ control: "log", level: "warn", text, fields }),
        linkMain(onLane) {
          const mainPort = {
            post: (payload: Payload, transfer: Transferable[]) =>
              scope.postMessage(payload, transfer),
            listen(receive: (payload: Payload) => void) {
              deliver = receive;
              for (const payload of early.splice(0)) receive(payload);
            },
            close() {},
          };
          if (system === undefined) throw new Error("a thread links after its init");
          return system.link(0, mainPort, onLane);
        },
      };
      Promise.resolve().then(() => start(context)).then(
        () => report({ control: "ready" }),
        (error) => report({ control: "failed", text: withCause("", error) }),
      );
    }
  };
}

/** A port as a link uses it. */
export function portOf(port: MessagePort): ReturnType<typeof messagePort> {
  return messagePort(port, () => port.close());
}

/** One line that says what happened and why. */
export function withCause(text: string, error: unknown): string {
  if (error === undefined) return text;
  const why = error instanceof Error ? error.stack ?? error.message : String(error);
  return text === "" ? (error instanceof Error ? error.message : why) : `${text}: ${why}`;
}
