/**
 * Copies a SQLite store into an empty MySQL database: every row of every table, ids included.
 * In batches, so memory stays bounded however large the store is. Nothing is written to the source
 * but the schema's outstanding migrations, and what is left in its log is filed.
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
import { midAt } from "../hlc.ts";
import { midOf, timeOf } from "./message_id.ts";
import { int, type Row, str } from "./rows.ts";
import { storeOn } from "./sqlite/store.ts";

/**
 * A column and how it is read: numbers as they are, text as bytes. Of a message, whose number there
 * is none in MySQL, the mid and the time that the number says a part of.
 */
type Column = readonly [name: string, kind: "int" | "text" | "mid" | "ts" | "bound"];

/** Tables, each after those that it refers to; and what of a message `m` belongs to a row. */
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
  conversation: [["id", "int"], ["lowid", "int"], ["highid", "int"], ["groupid", "int"]],
  message: [
    ["mid", "mid"],
    ["conv", "int"],
    ["sender", "int"],
    ["cid", "text"],
    ["ts", "ts"],
    ["msg", "text"],
    ["extra", "text"],
  ],
  offlinemessage: [["userid", "int"], ["mid", "mid"], ["sender", "int"]],
  crowdmessage: [["mid", "mid"], ["groupid", "int"], ["users", "text"]],
  crowdread: [["userid", "int"], ["groupid", "int"], ["mid", "bound"]],
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
    storeOn(db); // files what is left in its log
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
  const selected = columns.flatMap(([name, kind]) => COLUMNS[kind].map((c) => c(table, name)));
  let batch: Param[] = [];
  let [units, count] = [0, 0];
  const flush = async () => {
    await insert.change(target, batch);
    batch = [];
    units = 0;
  };
  const from = REFERS_TO_MESSAGE.has(table)
    ? `${table} JOIN message m ON m.id = ${table}.message`
    : table;
  for (const row of source.prepare(`SELECT ${selected.join(", ")} FROM ${from}`).iterate()) {
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

/** Tables whose rows are about a message. */
const REFERS_TO_MESSAGE: ReadonlySet<string> = new Set(["offlinemessage", "crowdmessage"]);

/** What is selected for a column, by its kind. */
const COLUMNS: Readonly<
  Record<Column[1], readonly ((table: string, name: string) => string)[]>
> = {
  int: [(table, name) => `${table}.${name}`],
  // As bytes: text that holds a NUL is cut when read as text (node:sqlite).
  text: [(table, name) => `CAST(${table}.${name} AS BLOB) AS ${name}`],
  mid: [
    (table) => `${REFERS_TO_MESSAGE.has(table) ? "m" : table}.id AS messageid`,
    (table) => `${REFERS_TO_MESSAGE.has(table) ? "m" : table}.mid AS tail`,
  ],
  ts: [(table, name) => `${table}.${name}`],
  bound: [(table) => `${table}.message AS messageid`],
};

function read(row: Row, [name, kind]: Column): Param {
  switch (kind) {
    case "text":
      return str(row, name);
    case "int":
      return int(row, name);
    case "mid":
      return midOf(int(row, "messageid"), str(row, "tail"));
    case "ts":
      return timeOf(int(row, "messageid")) + int(row, name);
    // Nothing of the group waits up to here.
    case "bound":
      return midAt(timeOf(int(row, "messageid")));
    default:
      return kind satisfies never;
  }
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
