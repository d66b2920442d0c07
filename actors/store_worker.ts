/** Thread entry: the store actor with its database. */

import { openStore } from "./adapters/open_store.ts";
import { StoreActor, type StoreMessage } from "./store.ts";
import { STORE_CONCURRENCY, type StoreWorkerOptions } from "./store_options.ts";
import { runThread } from "./thread.ts";

runThread<StoreWorkerOptions>(async ({ system, options, linkMain, log }) => {
  const { database, maxPending, maxQueued } = options;
  const port = await openStore(database, maxPending);
  linkMain();
  const actor = new StoreActor(system, port, {
    maxQueued,
    onFailure: (error) => log("the database refused", error),
  });
  system.spawn<StoreMessage>("store", () => actor, {
    concurrency: STORE_CONCURRENCY,
    onCrash: "escalate",
  });
});
