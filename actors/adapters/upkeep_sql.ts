/** What upkeep shares between both databases. */

import type { Pruned } from "../ports.ts";

/** Name under which the table of secrets holds the value of the last probe. */
export const PROBE = "probe";
/** Nothing old was there. */
export const NOTHING_PRUNED: Pruned = { removed: 0, last: "" };
