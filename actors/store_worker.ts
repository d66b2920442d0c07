/** Thread entry: the store's actors with their database. */

import { openStore } from "./adapters/open_store.ts";
import type { StoreWorkerOptions } from "./store/store_options.ts";
import { startStore } from "./store/store_service.ts";
import { runThread } from "./runtime/thread.ts";

runThread<StoreWorkerOptions>(async ({ system, options, linkMain, log, meter }) => {
  const { database, maxPending } = options;
  const port = await openStore(database, maxPending);
  linkMain();
  startStore(system, port, options, meter, log);
});
