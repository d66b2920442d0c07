/** Thread entry: a worker of the session pool. */

import type { InLane } from "./lane.ts";
import { type HostOptions, SessionHost } from "./session_host.ts";
import { runThread } from "./thread.ts";

/** What the main thread sends to start a session worker. */
export type SessionWorkerOptions = Omit<HostOptions, "later" | "log" | "random" | "meter">;

runThread<SessionWorkerOptions>(({ system, options, linkMain, log, meter }) => {
  const host = new SessionHost(system, { ...options, later: queueMicrotask, log, meter });
  const link = linkMain((lane) => host.receiveLane(lane as InLane)); // posted by our main thread
  host.start(link);
});
