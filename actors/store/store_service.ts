/** The store thread's actors over an open database, in a worker or inline, and what they count. */

import type { Meter } from "../observe/meter.ts";
import { type StorePort, StoreUnavailable, type UpkeepPort } from "../ports.ts";
import type { ActorSystem } from "../runtime/runtime.ts";
import { StoreActor } from "./store.ts";
import type { StoreMessage } from "./store_protocol.ts";
import { STORE_CONCURRENCY, type StoreWorkerOptions } from "./store_options.ts";
import { UpkeepActor, type UpkeepMessage } from "./upkeep.ts";

/**
 * Never full: workers bound their questions and their appends, and an append that is dropped would
 * never have an outcome.
 */
const STORE_MAILBOX = 1_000_000;
/** How often an outage is worth a line, ms. */
const LOG_EVERY_MS = 10_000;
/** Questions of administration that may wait, and be in hand at once. */
const UPKEEP_MAILBOX = 64;
const UPKEEP_CONCURRENCY = 4;

/** Spawns "store" and "upkeep". */
export function startStore(
  system: ActorSystem,
  port: StorePort & UpkeepPort,
  options: StoreWorkerOptions,
  meter: Meter,
  log: (text: string, error: unknown) => void,
): void {
  const failures = meter.counter("chat_store_failures_total");
  const commit = meter.histogram("chat_store_commit_seconds");
  const messages = meter.histogram("chat_store_batch_messages");
  const receipts = meter.histogram("chat_store_batch_receipts");
  let up = 1;
  let loggedAt = -Infinity;
  const onFailure = (error: unknown) => {
    failures.value++;
    // While the database is away every commit fails: a line now and then says as much.
    const now = system.clock.now();
    const isNews = up === 1 || now - loggedAt >= LOG_EVERY_MS;
    up = 0;
    if (!isNews) return;
    loggedAt = now;
    if (error instanceof StoreUnavailable) log(error.message, undefined);
    else log("the database failed", error);
  };
  const store = new StoreActor(system, port, {
    maxQueued: options.maxQueued,
    onFailure,
    onCommit(appendCount, receiptCount, ms) {
      up = 1;
      commit.observe(ms);
      messages.observe(appendCount);
      receipts.observe(receiptCount);
    },
  });
  meter.gauge("chat_store_queue", () => store.queued);
  meter.gauge("chat_store_unfiled", () => port.backlog?.().messages ?? 0);
  meter.gauge("chat_store_up", () => up);
  meter.gauge("chat_mailbox_messages", () => system.waiting("store"), "store");
  system.spawn<StoreMessage>("store", () => store, {
    concurrency: STORE_CONCURRENCY,
    mailbox: STORE_MAILBOX,
    onCrash: "escalate",
  });
  const probed: UpkeepPort = {
    async probe(value) {
      await port.probe(value);
      const problem = store.filingProblem;
      if (problem !== undefined) throw new StoreUnavailable(problem);
      up = 1;
    },
    trace: (mid) => port.trace(mid),
    waiting: (user) => port.waiting(user),
    prune: (after, before, limit) => port.prune(after, before, limit),
  };
  const pruned = meter.counter("chat_history_pruned_total");
  const { historyDays } = options;
  const upkeep = new UpkeepActor(system, probed, { historyDays, pruned, onFailure });
  system.spawn<UpkeepMessage>("upkeep", () => upkeep, {
    mailbox: UPKEEP_MAILBOX,
    concurrency: UPKEEP_CONCURRENCY,
    onCrash: "escalate",
  });
}
