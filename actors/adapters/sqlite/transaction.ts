/** One transaction at a time on a SQLite connection: all of its work, or nothing. */

import type { DatabaseSync } from "node:sqlite";

/** Runs `work` in a transaction; rolls back when it throws. */
export type Transaction = <T>(work: () => T) => T;

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
