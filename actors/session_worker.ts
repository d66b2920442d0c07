/** Thread entry: a worker of the session pool. */

import { loadTracer } from "./adapters/load_tracer.ts";
import type { InLane } from "./runtime/lane.ts";
import { type HostOptions, SessionHost } from "./worker/session_host.ts";
import { runThread } from "./runtime/thread.ts";

/** What the main thread sends to start a session worker. */
export type SessionWorkerOptions =
  & Omit<HostOptions, "later" | "log" | "heldBack" | "random" | "meter" | "tracer">
  & {
    /** One message in so many is traced; 0: none. @default 0 */
    readonly traceOneIn?: number;
  };

runThread<SessionWorkerOptions>(async ({ system, options, linkMain, log, warn, meter }) => {
  const tracer = await loadTracer(options.traceOneIn);
  const host = new SessionHost(system, {
    ...options,
    later: queueMicrotask,
    log,
    heldBack: (line) => warn("held back", line),
    meter,
    tracer,
  });
  const link = linkMain((lane) => host.receiveLane(lane as InLane)); // posted by our main thread
  host.start(link);
});
