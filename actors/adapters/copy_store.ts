/**
 * Copies a SQLite store into an empty MySQL database: every row of every table, ids included.
 * In batches, so memory stays bounded however large the store is. Nothing is written to the source
 * but the schema's outstanding migrations.
 *
 * Invariant: it resolves only when both databases count the same rows in every table.
 */

import { DatabaseSync } from "node:sqlite";
import type { Connection } from "mysql2/promise";
import { loadMigrations, messageOf, migrateSqlite, migrationsDir } from "./migrate.ts";
import { openMysql } from "./mysql/store.ts";
import { Connections } from "./mysql/connections.ts";
import { type Param, rows } from "./mysql/link.ts";
import { MultiRow } from "./mysql/multi.ts";
import { int, intOr0, type Row, str } from "./rows.ts";

/** A column and how it is read: numbers as they are, 0 for NULL as NULL, text as bytes. */
type Column = readonly [name: string, kind: "int" | "reference" | "text"];

/** Tables, each after those that it refers to. */
const TABLES: Readonly<Record<string, readonly Column[]>> = {
  user: [["id", "int"], ["name", "text"], ["namekey", "text"], ["password", "text"]],
  friend: [["userid", "int"], ["friendid", "int"]],
  allgroup: [
    ["id", "int"],
    ["groupname", "text"],
    ["groupkey", "text"],
    ["groupdesc", "text"],
    ["members", "int"],
  ],
  groupuser: [["groupid", "int"], ["userid", "int"], ["grouprole", "text"]],
  message: [
    ["mid", "text"],
    ["sender", "int"],
    ["cid", "text"],
    ["toid", "reference"],
    ["groupid", "reference"],
    ["ts", "int"],
    ["msg", "text"],
    ["extra", "text"],
  ],
  offlinemessage: [["userid", "int"], ["mid", "text"], ["sender", "int"]],
  crowdmessage: [["mid", "text"], ["groupid", "int"], ["users", "text"]],
  crowdread: [["userid", "int"], ["groupid", "int"], ["mid", "text"]],
  token: [["id", "text"], ["userid", "int"], ["expires", "int"], ["device", "text"]],
  loginorigin: [["userid", "int"], ["origin", "text"], ["at", "int"]],
  secret: [["name", "text"], ["value", "text"]],
};

/** Rows of one INSERT, and their text in UTF-16 units: below any usual max_allowed_packet. */
const BATCH_ROWS = 256;
const BATCH_UNITS = 1_024 * 1_024;
const CONNECT_MS = 5_000;
/** How long another process may hold the source. A node holds it as long as it runs. */
const BUSY_MS = 1_000;

/** Why nothing, or not everything, was copied; one sentence with the remedy. */
export class CopyRefused extends Error {
  override readonly name = "CopyRefused";
}

/** Rows of every table, by its name. */
export type Counts = Readonly<Record<string, number>>;

/**
 * Copies `file` into the database at `url`.
 * @param onTable Told of a table that has been copied.
 * @returns Rows copied.
 * @throws {CopyRefused} The source is missing or in use, the target is not empty, or counts differ.
 * @throws {StoreUnavailable | SchemaMismatch} As openSqlite and openMysql.
 */
export async function copyStore(
  file: string,
  url: string,
  onTable: (table: string, count: number) => void = () => {},
): Promise<Counts> {
  const source = await openSource(file);
  try {
    await (await openMysql(url)).close(); // its migrations
    const connections = new Connections({ url, connectMs: CONNECT_MS, size: 1 });
    const target = await connections.acquire();
    try {
      await requireEmpty(target);
      for (const [table, columns] of Object.entries(TABLES)) {
        onTable(table, await copyTable(source, target, table, columns));
      }
      return await sameCounts(source, target);
    } finally {
      connections.release(target);
      await connections.close();
    }
  } finally {
    source.close();
  }
}

/** The source, with its schema up to date, and locked against every other process. */
async function openSource(file: string): Promise<DatabaseSync> {
  try {
    await Deno.stat(file); // opening would create it
  } catch (cause) {
    throw new CopyRefused(`there is no SQLite database ${file}`, { cause });
  }
  const migrations = await loadMigrations(migrationsDir("sqlite"));
  const db = new DatabaseSync(file, { timeout: BUSY_MS });
  try {
    db.exec("PRAGMA locking_mode = EXCLUSIVE");
    // Reading row by row tells nothing of a page that cannot be read (node:sqlite).
    const [check] = db.prepare("PRAGMA quick_check(1)").all();
    if (check?.quick_check !== "ok") throw new Error(`malformed: ${check?.quick_check}`);
    migrateSqlite(db, migrations);
    return db;
  } catch (cause) {
    db.close();
    const text = messageOf(cause);
    if (text === "database is locked") {
      throw new CopyRefused(`${file} is in use: stop the node that runs on it first`, { cause });
    }
    if (/malformed|not a database/.test(text)) {
      throw new CopyRefused(`${file} is damaged: restore a backup (${text})`, { cause });
    }
    throw cause;
  }
}

async function requireEmpty(target: Connection): Promise<void> {
  for (const table of Object.keys(TABLES)) {
    const count = await countTarget(target, table);
    if (count > 0) {
      throw new CopyRefused(
        `the MySQL database is not empty: table ${table} has rows; ` +
          "create a new database, or drop and create this one again, also after a copy cut short",
      );
    }
  }
}

async function copyTable(
  source: DatabaseSync,
  target: Connection,
  table: string,
  columns: readonly Column[],
): Promise<number> {
  const names = columns.map(([name]) => name).join(", ");
  const insert = new MultiRow(`INSERT INTO ${table} (${names}) VALUES `, columns.length);
  // As bytes: text that holds a NUL is cut when read as text (node:sqlite).
  const selected = columns.map(([name, kind]) =>
    kind === "text" ? `CAST(${name} AS BLOB) AS ${name}` : name
  );
  let batch: Param[] = [];
  let [units, count] = [0, 0];
  const flush = async () => {
    await insert.change(target, batch);
    batch = [];
    units = 0;
  };
  for (const row of source.prepare(`SELECT ${selected.join(", ")} FROM ${table}`).iterate()) {
    for (const column of columns) {
      const value = read(row, column);
      if (typeof value === "string") units += value.length;
      batch.push(value);
    }
    count++;
    if (batch.length >= BATCH_ROWS * columns.length || units >= BATCH_UNITS) await flush();
  }
  await flush();
  return count;
}

function read(row: Row, [name, kind]: Column): Param {
  if (kind === "text") return str(row, name);
  return kind === "int" ? int(row, name) : intOr0(row, name) || null;
}

async function sameCounts(source: DatabaseSync, target: Connection): Promise<Counts> {
  const counts: Record<string, number> = {};
  for (const table of Object.keys(TABLES)) {
    const row = source.prepare(`SELECT COUNT(*) AS count FROM ${table}`).get();
    const [there, here] = [
      row === undefined ? -1 : int(row, "count"),
      await countTarget(target, table),
    ];
    if (there !== here) {
      throw new CopyRefused(
        `table ${table} has ${there} rows in SQLite and ${here} in MySQL: is a node running on it? ` +
          "Do not use the copy; drop and create the database again",
      );
    }
    counts[table] = here;
  }
  return counts;
}

async function countTarget(target: Connection, table: string): Promise<number> {
  const [row] = await rows(target, `SELECT COUNT(*) AS count FROM ${table}`, []);
  return row === undefined ? -1 : int(row, "count");
}
