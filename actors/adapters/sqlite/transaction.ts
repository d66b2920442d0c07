/** One transaction at a time on a SQLite connection: all of its work, or nothing. */

import type { DatabaseSync } from "node:sqlite";

/** Runs `work` in a transaction; rolls back when it throws. */
export type Transaction = <T>(work: () => T) => T;

/**
 * Pages of WAL before they are copied into the file: 8 MiB. A page written by many commits is
 * copied once, so more is cheaper; but whoever copies makes the next commit wait (10 to 20 ms).
 */
const CHECKPOINT_PAGES = 2_000;
/** The same for a commit that somebody waits for: it copies only if nobody else has for long. */
const CHECKPOINT_AT_LAST = 16_000;

/** Sets a new connection up: what a transaction has committed is on disk. */
export function setDurable(db: DatabaseSync): void {
  db.exec("PRAGMA journal_mode = WAL");
  db.exec(DURABLE);
}

const DURABLE = `PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = ${CHECKPOINT_AT_LAST}`;
const UNFLUSHED = `PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`;

/** Prepared, unlike `exec`: its errors carry no result code. */
export function transactionOn(db: DatabaseSync): Transaction {
  const begin = db.prepare("BEGIN IMMEDIATE");
  const commit = db.prepare("COMMIT");
  return (work) => {
    begin.run();
    try {
      const result = work();
      commit.run();
      return result;
    } catch (error) {
      // A full disk or a failed write has rolled back already.
      if (db.isTransaction) db.exec("ROLLBACK");
      throw error;
    }
  };
}

/**
 * The same without waiting for the disk: a crash of the machine, not of the process, may undo it,
 * with everything after it up to the next flush. It copies the WAL into the file when that is due.
 */
export function unflushedOn(db: DatabaseSync, transaction: Transaction): Transaction {
  return (work) => {
    db.exec(UNFLUSHED);
    try {
      return transaction(work);
    } finally {
      db.exec(DURABLE);
    }
  };
}
