/** Accounts and groups from before names were compared by look. */

import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { createConnection } from "mysql2/promise";
import { openMysql } from "../../actors/adapters/mysql/store.ts";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import type { StorePort } from "../../actors/ports.ts";
import { ensureServices, startMariaDb } from "../../server/cluster/services.ts";

/** Ids 1, 2: two names that look alike, as an older version took them. */
const OLD = [["alice", "alice"], ["аlice", "аlice"], ["Straße", "strasse"]] as const;

async function check(store: StorePort): Promise<void> {
  for (const [i, [name]] of OLD.entries()) {
    assertEquals((await store.userByName(name))?.id, i + 1, name);
    assertEquals((await store.userByName(name.toUpperCase()))?.id, i + 1, name);
    const joined = await store.joinGroup(1, name);
    assert(typeof joined === "object", name);
    assertEquals(joined.group.id, i + 1, name);
    assertEquals(await store.register(name, "hash"), undefined, name);
  }
  for (const name of ["ɑlice", "alicе", "strаsse"]) {
    assertEquals(await store.register(name, "hash"), undefined, name);
    assertEquals(await store.createGroup(1, name, ""), undefined, name);
  }
  await store.close();
}

Deno.test("SQLite: accounts with old names are found by them, and nobody gets one that looks like them", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/chat.db`;
    await (await openSqlite(path)).close();
    const db = new DatabaseSync(path);
    for (const [name, key] of OLD) {
      db.prepare("INSERT INTO user (name, namekey, password) VALUES (?, ?, 'h')").run(name, key);
      db.prepare("INSERT INTO allgroup (groupname, groupkey, groupdesc) VALUES (?, ?, '')")
        .run(name, key);
    }
    db.close();
    for (let start = 0; start < 2; start++) await check(await openSqlite(path));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("MySQL: accounts with old names are found by them, and nobody gets one that looks like them", async () => {
  const dir = await Deno.makeTempDir();
  await ensureServices({ install: true });
  const server = await startMariaDb({ dir, durable: false });
  try {
    await (await openMysql(server.url)).close();
    const connection = await createConnection(server.url);
    for (const [name, key] of OLD) {
      const user = "INSERT INTO user (name, namekey, password) VALUES (?, ?, 'h')";
      await connection.query(user, [name, key]);
      const group = "INSERT INTO allgroup (groupname, groupkey, groupdesc) VALUES (?, ?, '')";
      await connection.query(group, [name, key]);
    }
    await connection.end();
    for (let start = 0; start < 2; start++) await check(await openMysql(server.url));
  } finally {
    await server.stop();
    await Deno.remove(dir, { recursive: true });
  }
});
