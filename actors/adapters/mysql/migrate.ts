/**
 * Brings a MySQL database to this program's schema. The rules are migrate.ts's.
 *
 * MySQL commits each DDL statement by itself, hence one statement per file. A file is recorded as
 * begun before its statement and as finished after it: so a crash in between is told from a table
 * that somebody else has made.
 */

import type { Connection, RowDataPacket } from "mysql2/promise";
import { appliedOf, messageOf, type Migration, outstanding, SchemaMismatch } from "../migrate.ts";
import { serverErrno } from "./link.ts";

/** How long a process waits for another one that migrates, s. */
const LOCK_S = 120;

/**
 * Server errors that say that a statement's work is there already: table, column, key exists, or
 * what should be dropped does not.
 */
const DONE_ALREADY = new Set([1050, 1060, 1061, 1091]);

/**
 * Applies all outstanding files. After an error the connection still has the lock: close it.
 * @param lockSeconds How long to wait while another process migrates.
 */
export async function migrateMysql(
  connection: Connection,
  migrations: readonly Migration[],
  lockSeconds = LOCK_S,
): Promise<void> {
  const lock = "CONCAT('migration:', SHA1(DATABASE()))"; // names are of the whole server
  const [[got]] = await connection.execute<RowDataPacket[]>(
    `SELECT GET_LOCK(${lock}, ?) AS got`,
    [lockSeconds],
  );
  if (got?.got !== 1) {
    throw new SchemaMismatch(
      `another process has been migrating the database for ${lockSeconds} s; try again later`,
    );
  }
  await migrateLocked(connection, migrations);
  await connection.query(`DO RELEASE_LOCK(${lock})`);
}

async function migrateLocked(
  connection: Connection,
  migrations: readonly Migration[],
): Promise<void> {
  await connection.query(
    `CREATE TABLE IF NOT EXISTS migration (
      number INT NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, checksum CHAR(64) NOT NULL,
      finished TINYINT NOT NULL
    ) ENGINE = InnoDB DEFAULT CHARACTER SET = ascii`,
  );
  const [recorded] = await connection.query<RowDataPacket[]>("SELECT * FROM migration");
  const begun = new Set(recorded.filter((row) => row.finished === 0).map((row) => row.number));
  const names = new Set(migrations.map(({ name }) => name));
  // A file that this version does not know counts even when it was only begun.
  const applied = recorded.filter((row) => row.finished === 1 || !names.has(row.name));
  for (const migration of outstanding(migrations, applied.map(appliedOf))) {
    const { number, name, sql, checksum } = migration;
    await connection.execute(
      "REPLACE INTO migration (number, name, checksum, finished) VALUES (?, ?, ?, 0)",
      [number, name, checksum],
    );
    try {
      await connection.query(sql);
    } catch (cause) {
      const errno = serverErrno(cause);
      if (errno === undefined || !begun.has(number) || !DONE_ALREADY.has(errno)) {
        // Refused by the server, so not begun: what exists already is not ours, next time either.
        if (errno !== undefined && !begun.has(number)) {
          await connection.execute("DELETE FROM migration WHERE number = ?", [number]);
        }
        throw new SchemaMismatch(`migration ${name} failed: ${messageOf(cause)}`, { cause });
      }
    }
    await connection.execute("UPDATE migration SET finished = 1 WHERE number = ?", [number]);
  }
}
