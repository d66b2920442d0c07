/**
 * Brings a database to this program's schema: numbered files in `sql/<dialect>/`, each applied
 * once, in order, under a lock, and recorded with its checksum in the table `migration`.
 * No statements of the application itself.
 *
 * Invariant: a database is used only when what it records is a prefix of this program's files.
 */

import type { DatabaseSync } from "node:sqlite";
import type { Connection, RowDataPacket } from "mysql2/promise";
import { serverErrno } from "./mysql_link.ts";
import { int, type Row, str } from "./rows.ts";

/** One file. */
export interface Migration {
  readonly number: number;
  /** File name without its suffix: `0001_user`. */
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the text, hex; line ends do not count. */
  readonly checksum: string;
}

/** One row of the table `migration`. */
export interface Applied {
  readonly number: number;
  readonly name: string;
  readonly checksum: string;
}

/** The database does not fit this program; the message says what to do. */
export class SchemaMismatch extends Error {
  override readonly name = "SchemaMismatch";
}

/** Where a dialect's files are. */
export function migrationsDir(dialect: "sqlite" | "mysql"): URL {
  return new URL(`../../sql/${dialect}/`, import.meta.url);
}

/** Reads a directory's `NNNN_name.sql` files, by number. Throws when numbers repeat or leave a gap. */
export async function loadMigrations(dir: URL): Promise<Migration[]> {
  const migrations: Migration[] = [];
  for await (const entry of Deno.readDir(dir)) {
    const found = /^(\d{4})_\w+\.sql$/.exec(entry.name);
    if (!entry.isFile || found === null) continue;
    const sql = (await Deno.readTextFile(new URL(entry.name, dir))).replaceAll("\r\n", "\n");
    migrations.push({
      number: Number(found[1]),
      name: entry.name.slice(0, -".sql".length),
      sql,
      checksum: await sha256(sql),
    });
  }
  migrations.sort((a, b) => a.number - b.number);
  for (const [index, { number, name }] of migrations.entries()) {
    if (number !== index + 1) throw new SchemaMismatch(`${name}: expected number ${index + 1}`);
  }
  return migrations;
}

/**
 * The files still to apply.
 * @throws {SchemaMismatch} When an applied file has changed, or the database knows more files.
 */
export function outstanding(
  migrations: readonly Migration[],
  applied: readonly Applied[],
): readonly Migration[] {
  const byNumber = new Map(migrations.map((migration) => [migration.number, migration]));
  for (const { number, name, checksum } of applied) {
    const migration = byNumber.get(number);
    if (migration === undefined) {
      throw new SchemaMismatch(
        `the database is from a newer version of this program: it has ${name}, this version knows ` +
          `${migrations.length} migrations; run the newer version or restore an older backup`,
      );
    }
    if (migration.checksum !== checksum) {
      throw new SchemaMismatch(
        `the file of migration ${name} has changed since it was applied; restore the file and put ` +
          `the change into a new migration`,
      );
    }
  }
  const known = new Set(applied.map(({ number }) => number));
  return migrations.filter(({ number }) => !known.has(number));
}

/** Migrates a SQLite database: all outstanding files in one transaction, or none. */
export function migrateSqlite(db: DatabaseSync, migrations: readonly Migration[]): void {
  db.exec("BEGIN EXCLUSIVE"); // the lock: another process starting now waits here
  try {
    db.exec(
      `CREATE TABLE IF NOT EXISTS migration (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL
      ) STRICT`,
    );
    const applied = db.prepare("SELECT number, name, checksum FROM migration").all().map(appliedOf);
    const record = db.prepare("INSERT INTO migration (number, name, checksum) VALUES (?, ?, ?)");
    for (const { number, name, sql, checksum } of outstanding(migrations, applied)) {
      try {
        db.exec(sql);
      } catch (cause) {
        throw new SchemaMismatch(`migration ${name} failed: ${messageOf(cause)}`, { cause });
      }
      record.run(number, name, checksum);
    }
    db.exec("COMMIT");
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

/** How long a process waits for another one that migrates, s. */
const MYSQL_LOCK_S = 120;

/**
 * Server errors that say that a statement's work is there already: table, column, key exists, or
 * what should be dropped does not.
 */
const DONE_ALREADY = new Set([1050, 1060, 1061, 1091]);

/**
 * Migrates a MySQL database. MySQL commits each DDL statement by itself, hence one statement per
 * file; a file is recorded as begun before and as finished after it, so that a crash in between
 * is told from a table of somebody else.
 * @param lockSeconds How long to wait while another process migrates.
 */
export async function migrateMysql(
  connection: Connection,
  migrations: readonly Migration[],
  lockSeconds = MYSQL_LOCK_S,
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
  try {
    await migrateLocked(connection, migrations);
  } finally {
    await connection.query(`DO RELEASE_LOCK(${lock})`);
  }
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
  // A file that this version does not know counts even when it was only begun.
  const applied = recorded.filter((row) => row.finished === 1 || row.number > migrations.length);
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

function appliedOf(row: Row): Applied {
  return { number: int(row, "number"), name: str(row, "name"), checksum: str(row, "checksum") };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(digest).toHex();
}
