/** Opens the database that the settings name. A driver is loaded only where it is used. */

import type { StorePort, UpkeepPort } from "../ports.ts";
import type { StoreWorkerOptions } from "../store/store_options.ts";

/** Rejects with one sentence when the database cannot be used. */
export async function openStore(
  database: StoreWorkerOptions["database"],
  maxPending: StoreWorkerOptions["maxPending"],
): Promise<StorePort & UpkeepPort> {
  if ("mysql" in database) {
    const { openMysql } = await import("./mysql/store.ts");
    return await openMysql(database.mysql, { maxPending });
  }
  const { openSqlite } = await import("./sqlite/store.ts");
  return await openSqlite(database.sqlite, { maxPending });
}
