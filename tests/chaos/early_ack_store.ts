/**
 * The product's store with its guarantee removed: a commit resolves before it is made. Put in place
 * of `actors/adapters/open_store.ts` by an import map of the harness, so that the product has no
 * such switch. Nothing but tests/ may name this file.
 */

import { openStore as openRealStore } from "../../actors/adapters/open_store.ts";
import type { Append, AppendOutcome, Receipt, StorePort } from "../../actors/ports.ts";
import type { StoreWorkerOptions } from "../../actors/store/store_options.ts";

/** How much later than its acknowledgement a commit is made, ms. */
const LATE_MS = 400;

/** As the module it stands for. */
export async function openStore(
  database: StoreWorkerOptions["database"],
  maxPending: number,
): Promise<StorePort> {
  const real = await openRealStore(database, maxPending);
  return new Proxy(real, {
    get(target, name: keyof StorePort) {
      if (name === "commit") return commitLater(real);
      const member = target[name];
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

function commitLater(real: StorePort): StorePort["commit"] {
  let waiting: Promise<unknown> = Promise.resolve();
  return (appends: readonly Append[], receipts: readonly Receipt[]): Promise<AppendOutcome[]> => {
    const due = new Promise((resolve) => setTimeout(resolve, LATE_MS));
    waiting = waiting.then(() => due).then(() => real.commit(appends, receipts));
    return Promise.resolve(appends.map(() => ({ status: "stored", pending: [] })));
  };
}
