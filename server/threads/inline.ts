/**
 * `--workers 0`: the sessions run in the main thread, over a link that hands payloads over by
 * reference. The same actors, for hosts with a core or two, where waking a session worker costs more
 * than its work. What would stall the sockets, the store and Argon2id, keeps its threads.
 */

import { loadTracer } from "../../actors/adapters/load_tracer.ts";
import type { InLane } from "../../actors/runtime/lane.ts";
import { inlinePorts, type PortLike, type ThreadId } from "../../actors/runtime/link.ts";
import { Meter } from "../../actors/observe/meter.ts";
import type { Clock } from "../../actors/ports.ts";
import { workerThread } from "../../actors/routing/router.ts";
import { ActorSystem } from "../../actors/runtime/runtime.ts";
import { SessionHost } from "../../actors/worker/session_host.ts";
import type { SessionWorkerOptions } from "../../actors/session_worker.ts";
import { withCause } from "../../actors/runtime/thread.ts";
import type { Log } from "../observe/log.ts";

/** See the module's header. */
export class InlineSessions {
  readonly #system: ActorSystem;
  readonly #log: Log;
  #host: SessionHost | undefined;

  constructor(clock: Clock, log: Log) {
    this.#log = log;
    this.#system = new ActorSystem(workerThread(0), clock, {
      onDeadLetter: (to) => log.debug("dead letter", { to }),
      onCrash: (name, error, delayMs) =>
        log.error("actor failed", { name, delayMs, error: String(error) }),
      onGiveUp: (name, error) => {
        log.error("actor failed for good", { name, error: String(error) });
        queueMicrotask(() => {
          throw error;
        });
      },
    }, queueMicrotask);
  }

  /** Links them to another thread, in place of an earlier link to it. */
  link(peer: ThreadId, port: PortLike): void {
    this.#system.link(peer, port);
  }

  /** @param linkMain Links the main actors to them. */
  async start(options: SessionWorkerOptions, linkMain: (port: PortLike) => void): Promise<void> {
    const later = queueMicrotask;
    const meter = new Meter();
    this.#system.spawn("meter", () => ({ receive: () => meter.snapshot() }));
    const host = this.#host = new SessionHost(this.#system, {
      ...options,
      tracer: await loadTracer(options.traceOneIn),
      later,
      meter,
      log: (text, error, conn) => this.#log.error(withCause(text, error), { conn }),
      heldBack: (line) => this.#log.warn("held back", { ...line }),
    });
    const [mainSide, sessionSide] = inlinePorts(later);
    const link = this.#system.link(0, sessionSide, (lane) => host.receiveLane(lane as InLane));
    linkMain(mainSide);
    host.start(link);
  }

  stop(): void {
    this.#host?.stop();
    this.#system.close();
  }
}
