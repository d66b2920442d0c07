/** Looks now and then whether messages get through, so that the log and `chat_ready` know it. */

import type { Log } from "./log.ts";
import type { Readiness } from "./readiness.ts";

/** How often, ms: each look is a small commit. */
const EVERY_MS = 10_000;

/**
 * Checks at once and then all the time; a change is worth a line.
 * @returns Ends it.
 */
export function watchReadiness(readiness: Readiness, log: Log): () => void {
  let known: string | undefined;
  let since = 0;
  let ended = false;
  const look = async () => {
    const problem = await readiness.check();
    if (ended || problem === known) return;
    if (problem === undefined) {
      log.info("messages get through again", {
        afterSeconds: Math.round((performance.now() - since) / 1_000),
      });
    } else {
      if (known === undefined) since = performance.now();
      log.warn("messages do not get through", { problem });
    }
    known = problem;
  };
  const timer = setInterval(look, EVERY_MS); // never rejects
  void look();
  return () => {
    ended = true;
    clearInterval(timer);
  };
}
