/** The schema of both databases: applied once, by whoever comes first, and never by guesswork. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { type Connection, createConnection, type RowDataPacket } from "mysql2/promise";
import {
  loadMigrations,
  type Migration,
  migrationsDir,
  SchemaMismatch,
} from "../../actors/adapters/migrate.ts";
import { openMysql } from "../../actors/adapters/mysql/store.ts";
import { migrateMysql } from "../../actors/adapters/mysql/migrate.ts";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import { ensureServices, startMariaDb, type UrlService } from "../../server/cluster/services.ts";

let dir = "";
let server: UrlService;
let databases = 0;

Deno.test.beforeAll(async () => {
  await ensureServices({ install: true });
  dir = await Deno.makeTempDir({ prefix: "chat-migrate-" });
  server = await startMariaDb({ dir, durable: false });
});

Deno.test.afterAll(async () => {
  await server.stop();
  await Deno.remove(dir, { recursive: true });
});

/** Another path in the test's directory. */
const freshFile = () => `${dir}/file${databases++}.db`;

/** An empty database of its own, and a connection to it. */
async function withDatabase(
  body: (url: string, connection: Connection) => Promise<void>,
): Promise<void> {
  const name = `db${databases++}`;
  const url = server.url.replace(/chat$/, name);
  const admin = await createConnection(server.url);
  await admin.query("CREATE DATABASE ??", [name]);
  await admin.end();
  const connection = await createConnection(url);
  try {
    await body(url, connection);
  } finally {
    await connection.end();
  }
}

async function recorded(connection: Connection): Promise<unknown[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    "SELECT number, name, finished FROM migration ORDER BY number",
  );
  return rows.map((row) => [row.number, row.name, row.finished]);
}

/** A made-up migration. */
function made(sql: string, number = 1): Migration {
  const name = `${String(number).padStart(4, "0")}_made`;
  return { number, name, sql, checksum: sql.length.toString(16).padStart(64, "0") };
}

/** This version's files, as another one had them: one has another name, one has changed. */
async function earlier(dialect: "sqlite" | "mysql"): Promise<Migration[]> {
  const migrations = await loadMigrations(migrationsDir(dialect));
  return migrations.map((one) => {
    if (one.number === 5) return { ...one, name: "0005_message" };
    return one.number === 2 ? { ...one, checksum: "0" } : one;
  });
}

const REFUSED = "the database was made by a version before the first release (it has " +
  "0005_message, this version 0005_conversation): start with an empty one, or go on with the " +
  "version that made it";

Deno.test("both databases have the same migrations", async () => {
  const [sqlite, mysql] = [
    await loadMigrations(migrationsDir("sqlite")),
    await loadMigrations(migrationsDir("mysql")),
  ];

  assertEquals(sqlite.map(({ name }) => name), mysql.map(({ name }) => name));
  assert(sqlite.length >= 8);
  for (const { name, sql } of mysql) {
    const statements = sql.replaceAll(/--.*$/gm, "").split(";").filter((part) =>
      part.trim() !== ""
    );
    assertEquals(statements.length, 1, `${name} has one statement`);
  }
});

Deno.test("line ends do not change a checksum, and a gap in the numbers is refused", async () => {
  const [one, two] = [`${dir}/lf`, `${dir}/crlf`];
  for (const [path, sql] of [[one, "-- x\nSELECT 1\n"], [two, "-- x\r\nSELECT 1\r\n"]] as const) {
    await Deno.mkdir(path);
    await Deno.writeTextFile(`${path}/0001_a.sql`, sql);
  }

  assertEquals(
    await loadMigrations(new URL(`file://${one}/`)),
    await loadMigrations(new URL(`file://${two}/`)),
  );
  await Deno.writeTextFile(`${one}/0003_c.sql`, "SELECT 1");
  await assertRejects(() => loadMigrations(new URL(`file://${one}/`)), SchemaMismatch, "0003_c");
});

Deno.test("a SQLite file whose migration has changed is refused", async () => {
  const path = freshFile();
  const migrations = await loadMigrations(migrationsDir("sqlite"));
  await (await openSqlite(path)).close();

  const changed = migrations.map((one) => one.number === 3 ? { ...one, checksum: "0" } : one);

  await assertRejects(
    () => openSqlite(path, { migrations: changed }),
    SchemaMismatch,
    "0003_allgroup has changed",
  );
  await (await openSqlite(path)).close();
});

Deno.test("a SQLite file from a newer version is refused, and a newer version goes on with it", async () => {
  const path = freshFile();
  const migrations = await loadMigrations(migrationsDir("sqlite"));
  const newer = [...migrations, made("CREATE TABLE newest (n INTEGER)", migrations.length + 1)];
  await (await openSqlite(path)).close();

  await (await openSqlite(path, { migrations: newer })).close();

  await assertRejects(() => openSqlite(path), SchemaMismatch, "newer version");
});

Deno.test("a SQLite file of a version before the first release is refused in one sentence", async () => {
  const path = freshFile();
  await (await openSqlite(path, { migrations: await earlier("sqlite") })).close();
  const before = await Deno.readFile(path);

  const error = await assertRejects(() => openSqlite(path), SchemaMismatch);

  assertEquals(error.message, REFUSED);
  assertEquals(await Deno.readFile(path), before);
});

Deno.test("a SQLite migration that fails leaves the file as it was", async () => {
  const path = freshFile();
  const good = made("CREATE TABLE one (n INTEGER)");
  const bad = made("CREATE TABLE two (n INTEGER); CREATE TABLE one (n INTEGER)", 2);

  await assertRejects(
    () => openSqlite(path, { migrations: [good, bad] }),
    SchemaMismatch,
    "0002_made failed: table one already exists",
  );

  const db = new DatabaseSync(path);
  assertEquals(db.prepare("SELECT COUNT(*) AS n FROM sqlite_schema").get()?.n, 0);
  db.close();
});

Deno.test("processes that start at once on one new SQLite file all succeed", async () => {
  const path = freshFile();
  const module = new URL("../../actors/adapters/sqlite/store.ts", import.meta.url).href;
  const code = `const { openSqlite } = await import(${JSON.stringify(module)});
    const store = await openSqlite(${JSON.stringify(path)});
    console.log(await store.secret("key", String(Deno.pid)));
    await store.close();`;

  const outputs = await Promise.all(Array.from({ length: 4 }, async () => {
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-lock", code],
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    assert(success, decoder.decode(stderr));
    return decoder.decode(stdout);
  }));

  assertEquals(new Set(outputs).size, 1, "all have the first one's secret");
});

Deno.test("a file that cannot be used as a SQLite database gives one sentence with its path and a remedy", async () => {
  const path = freshFile();
  await Deno.writeTextFile(
    path,
    "this is no database, but long enough to be taken for one".repeat(9),
  );

  const error = await assertRejects(() => openSqlite(path), Error, `cannot open the database`);

  assertStringIncludes(error.message, path);
  assertStringIncludes(error.message, "not a database; give another path");
  await assertRejects(
    () => openSqlite(`${dir}/no/such/dir/chat.db`),
    Error,
    "check that its directory exists",
  );
  const locked = freshFile();
  const other = new DatabaseSync(locked);
  other.exec("BEGIN EXCLUSIVE");
  await assertRejects(() => openSqlite(locked, { busyMs: 20 }), Error, "another process uses it");
  other.close();
});

Deno.test("processes that start at once on one empty MySQL database all succeed", async () => {
  await withDatabase(async (url, connection) => {
    const migrations = await loadMigrations(migrationsDir("mysql"));

    const stores = await Promise.all([1, 2, 3, 4].map(() => openMysql(url)));

    for (const store of stores) await store.close();
    assertEquals(
      await recorded(connection),
      migrations.map(({ number, name }) => [number, name, 1]),
    );
  });
});

Deno.test("a MySQL database that another process migrates is waited for, then refused", async () => {
  await withDatabase(async (_url, connection) => {
    const other = await createConnection({ uri: server.url, database: connection.config.database });
    await other.query("SELECT GET_LOCK(CONCAT('migration:', SHA1(DATABASE())), 0)");

    await assertRejects(
      () => migrateMysql(connection, [made("CREATE TABLE one (n INT)")], 0.1),
      SchemaMismatch,
      "another process",
    );
    await other.end(); // a process that dies gives its lock up
    await migrateMysql(connection, [made("CREATE TABLE one (n INT)")], 5);

    assertEquals(await recorded(connection), [[1, "0001_made", 1]]);
  });
});

Deno.test("a MySQL database that changed or is newer is refused", async () => {
  await withDatabase(async (url, connection) => {
    const migrations = await loadMigrations(migrationsDir("mysql"));
    await (await openMysql(url)).close();

    const changed = migrations.map((one) => one.number === 2 ? { ...one, checksum: "0" } : one);

    await assertRejects(
      () => openMysql(url, { migrations: changed }),
      SchemaMismatch,
      "0002_friend has changed",
    );
    await assertRejects(
      () => openMysql(url, { migrations: migrations.slice(0, 7) }),
      SchemaMismatch,
      "newer version",
    );
    await connection.query("UPDATE migration SET finished = 0 WHERE number = 8");
    await assertRejects(
      () => openMysql(url, { migrations: migrations.slice(0, 7) }),
      SchemaMismatch,
      "newer version",
    );
  });
});

Deno.test("a MySQL database of a version before the first release is refused in one sentence", async () => {
  await withDatabase(async (url, connection) => {
    await (await openMysql(url, { migrations: await earlier("mysql") })).close();
    const before = await recorded(connection);

    const error = await assertRejects(() => openMysql(url), SchemaMismatch);

    assertEquals(error.message, REFUSED);
    assertEquals(await recorded(connection), before);
    // Begun and not finished, it is one still.
    await connection.query("DELETE FROM migration WHERE number > 5");
    await connection.query("UPDATE migration SET finished = 0 WHERE number = 5");
    await assertRejects(() => openMysql(url), SchemaMismatch, "before the first release");
  });
});

Deno.test("a MySQL migration that a crash cut short is finished at the next start", async () => {
  await withDatabase(async (_url, connection) => {
    const [one, two] = [made("CREATE TABLE one (n INT)"), made("CREATE TABLE two (n INT)", 2)];
    await migrateMysql(connection, [one, two]);
    // As a crash leaves them: after the statement of the first, before that of the second.
    await connection.query("UPDATE migration SET finished = 0");
    await connection.query("DROP TABLE two");

    await migrateMysql(connection, [one, two]);

    assertEquals(await recorded(connection), [[1, "0001_made", 1], [2, "0002_made", 1]]);
    await connection.query("SELECT n FROM two");
  });
});

Deno.test("a table that is not ours stops the migration of a MySQL database, every time", async () => {
  await withDatabase(async (url, connection) => {
    await connection.query("CREATE TABLE friend (their INT)");

    for (let round = 0; round < 2; round++) {
      await assertRejects(() => openMysql(url), SchemaMismatch, "0002_friend failed");
    }

    assertEquals(await recorded(connection), [[1, "0001_user", 1]]);
  });
});
