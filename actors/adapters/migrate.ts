/**
 * Brings a database to this program's schema: numbered files in `sql/<dialect>/`, each applied
 * once, in order, under a lock, and recorded with its checksum in the table `migration`. What is
 * common to both databases, and SQLite; MySQL is mysql/migrate.ts.
 *
 * Invariant: a database is used only when what it records is a prefix of this program's files.
 */

import type { DatabaseSync } from "node:sqlite";
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
 * @throws {SchemaMismatch} When an applied file has changed, or the database knows other or more.
 */
export function outstanding(
  migrations: readonly Migration[],
  applied: readonly Applied[],
): readonly Migration[] {
  const byNumber = new Map(migrations.map((migration) => [migration.number, migration]));
  // Names first: of another line of versions, files of one name differ too.
  for (const { number, name } of applied) {
    const known = byNumber.get(number)?.name ?? name;
    if (known !== name) {
      throw new SchemaMismatch(
        `the database was made by a version before the first release (it has ${name}, this version ` +
          `${known}): start with an empty one, or go on with the version that made it`,
      );
    }
  }
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

/** A row of the table `migration`, from either database. */
export function appliedOf(row: Row): Applied {
  return { number: int(row, "number"), name: str(row, "name"), checksum: str(row, "checksum") };
}

/** What an error says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(digest).toHex();
}
