/** How the store actor is started, in a thread of its own or inline. */

/** What the store is opened with. */
export interface StoreWorkerOptions {
  /** A MySQL URL, or the path of a SQLite file. */
  readonly database: { readonly mysql: string } | { readonly sqlite: string };
  /** Messages that may wait for one user; 0: no limit. */
  readonly maxPending: number;
  /** Days that messages are kept; 0: for ever. */
  readonly historyDays: number;
  /** Most messages that wait for a commit. */
  readonly maxQueued: number;
}

/** Questions in hand at once: they are independent reads and rare writes. */
export const STORE_CONCURRENCY = 4_096;
