/** `deno task migrate-store`: all that a SQLite store knows, MySQL knows afterwards. */

import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { createConnection } from "mysql2/promise";
import { openMysql } from "../../actors/adapters/mysql/store.ts";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import { HybridClock } from "../../actors/hlc.ts";
import type { Append, StorePort, UserId } from "../../actors/ports.ts";
import { ensureServices, startMariaDb, type UrlService } from "../../server/cluster/services.ts";
import { newGroup, newUser, send, text } from "../support/store_contract.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));
const MESSAGES = 1_200; // several batches

let dir = "";
let server: UrlService;

Deno.test.beforeAll(async () => {
  await ensureServices({ install: true });
  dir = await Deno.makeTempDir({ prefix: "chat-migrate-store-" });
  server = await startMariaDb({ dir, durable: false });
});

Deno.test.afterAll(async () => {
  await server.stop();
  await Deno.remove(dir, { recursive: true });
});

async function database(name: string): Promise<string> {
  const admin = await createConnection(server.url);
  await admin.query("CREATE DATABASE ??", [name]);
  await admin.end();
  return server.url.replace(/chat$/, name);
}

async function migrateStore(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "migrate-store", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** A store with something in every table; gives its users. */
async function fill(store: StorePort): Promise<UserId[]> {
  const users = [await newUser(store, "Zoë\u0308"), await newUser(store), await newUser(store)];
  const [ann = 0, bob = 0, eve = 0] = users;
  const groupid = await newGroup(store, bob, ann, eve);
  await store.createGroup(eve, "desc", "with\0NUL 😀");
  await store.addFriend(ann, bob);
  await store.saveToken("token", eve, Date.now() + 1_000_000);
  await store.secret("key", "first");
  const unusual = ["\0", "a\0b", "😀 漢字", "\ufeffbom", "' \" \\ ;", "x".repeat(16_384)];
  const appends = Array.from({ length: MESSAGES }, (_, i): Append => ({
    message: text({
      from: ann,
      ...(i % 3 === 0 ? { groupid } : { toid: bob }),
      cid: `c${i}\0`,
      msg: unusual[i % unusual.length] ?? "",
      extra: i % 5 === 0 ? '{"time":"x"}' : "",
    }),
    confirmed: i % 2 === 0 ? [bob] : [],
  }));
  await store.commit(appends, []);
  return users;
}

/** Everything that can be read of these users. */
async function view(store: StorePort, users: readonly UserId[]): Promise<unknown[]> {
  const seen: unknown[] = [await store.secret("key", "other")];
  seen.push(await store.tokenOwner("token", Date.now()));
  for (const user of users) {
    seen.push(await store.userById(user), await store.contacts(user));
    seen.push(await store.pending(user, "", 2 * MESSAGES));
    for (const peer of users) seen.push(await store.historyWith(user, peer, "", 2 * MESSAGES));
    for (const group of [1, 2]) seen.push(await store.historyOf(user, group, "", 2 * MESSAGES));
  }
  return seen;
}

Deno.test("a copied store answers as the original, and goes on from there", async () => {
  const data = join(dir, "full");
  await Deno.mkdir(data);
  const source = await openSqlite(join(data, "chat.db"));
  const users = await fill(source);
  const expected = await view(source, users);
  await source.close();
  const url = await database("full");

  const { code, out, err } = await migrateStore("--data", data, "--mysql", url);

  assertEquals([code, err], [0, ""]);
  assertStringIncludes(out, `${MESSAGES} rows`);
  const target = await openMysql(url);
  assertEquals(await view(target, users), expected);
  const next = await newUser(target);
  assertEquals(next, users.length + 1);
  assertEquals(
    await send(target, text({ from: next, toid: 1 })),
    [{ status: "stored", pending: [1] }],
  );
  await target.close();
  const again = await migrateStore("--data", data, "--mysql", url);
  assertEquals(again.code, 1);
  assertStringIncludes(again.err, "not empty: table user");
  const reopened = await openSqlite(join(data, "chat.db"));
  assertEquals(await view(reopened, users), expected);
  await reopened.close();
});

Deno.test("what a killed node has left in its log is copied, as what it had filed", async () => {
  const [live, killed] = [join(dir, "live"), join(dir, "killed")];
  for (const data of [live, killed]) await Deno.mkdir(data);
  const source = await openSqlite(join(live, "chat.db"));
  const [ann = 0, bob = 0, ...others] = await fill(source);
  for (let i = others.length; i < 70; i++) others.push(await newUser(source));
  const group = await newGroup(source, ann, bob, ...others);
  await source.noteOrigins(bob, ["address 10.0.0.1"], Date.now());
  const clock = new HybridClock(Date.now);
  const some = () =>
    Array.from(
      { length: 100 },
      (_, i) =>
        text({ mid: clock.next(), from: ann, ...(i % 9 ? { toid: bob } : { groupid: group }) }),
    );
  const [filed, logged] = [some(), some()];
  await send(source, ...filed);
  await source.file?.(Infinity);
  await send(source, ...logged);
  for (const { mid } of [filed[0], filed[1], logged[0], logged[1]].filter((m) => m !== undefined)) {
    await source.commit([], [{ user: bob, mid }]);
  }
  for (const file of ["chat.db", "chat.db-wal"]) {
    await Deno.copyFile(join(live, file), join(killed, file));
  }
  assertGreater(rowsIn(live, "commitlog"), 0);
  const users = [ann, bob, ...others.slice(-2)];
  const expected = await view(source, users);
  await source.close();
  const url = await database("killed");

  const { code, out, err } = await migrateStore("--data", killed, "--mysql", url);

  assertEquals([code, err], [0, ""]);
  assertMatch(out, new RegExp(`^message +${MESSAGES + filed.length + logged.length} rows`, "m"));
  assertMatch(out, /^crowdmessage +24 rows/m);
  assertEquals(rowsIn(killed, "commitlog"), 0);
  const target = await openMysql(url);
  assertEquals(await view(target, users), expected);
  for (const message of [...filed, ...logged]) {
    const { mid, cid, ts } = message;
    assertEquals(
      await send(target, { ...message, mid: clock.next() }),
      [{ status: "duplicate", mid, ts }],
      cid,
    );
  }
  await target.commit([], [...filed, ...logged].map(({ mid }) => ({ user: bob, mid })));
  const left = new Set((await target.pending(bob, "", 9_999)).map(({ mid }) => mid));
  assert([...filed, ...logged].every(({ mid }) => !left.has(mid)));
  await target.close();
});

/** Rows of a table in a data directory. */
function rowsIn(data: string, table: string): number {
  const db = new DatabaseSync(join(data, "chat.db"));
  const count = Number(db.prepare(`SELECT COUNT(*) AS n FROM ${table}`).get()?.n);
  db.close();
  return count;
}

Deno.test("the data of a running node is not copied", async () => {
  const data = join(dir, "running");
  await Deno.mkdir(data);
  const source = await openSqlite(join(data, "chat.db"));
  const ann = await newUser(source);
  const url = await database("running");

  const { code, err } = await migrateStore("--data", data, "--mysql", url);

  assertEquals(code, 1);
  assertStringIncludes(err, "in use: stop the node");
  assert((await source.userById(ann)) !== undefined);
  await source.close();
});

Deno.test("what cannot be copied is refused with a sentence", async () => {
  const missing = await migrateStore("--data", join(dir, "none"), "--mysql", server.url);
  assertEquals(missing.code, 1);
  assertStringIncludes(missing.err, "there is no SQLite database");
  const damaged = join(dir, "damaged");
  await Deno.mkdir(damaged);
  await (await openSqlite(join(damaged, "chat.db"))).close();
  const bytes = await Deno.readFile(join(damaged, "chat.db"));
  await Deno.writeFile(join(damaged, "chat.db"), bytes.fill(0x5a, 8_192));
  const broken = await migrateStore("--data", damaged, "--mysql", server.url);
  assertEquals(broken.code, 1);
  assertMatch(broken.err, /chat\.db is damaged: restore a backup/);
  const special = await migrateStore("--data", dir, "--mysql", "mysql://chat:100%@h/chat");
  assertEquals(special.code, 1);
  assertStringIncludes(special.err, "percent-encoded");
  const usage = await migrateStore("--data", dir);
  assertEquals(usage.code, 2);
  assertStringIncludes(usage.err, "--mysql URL");
  const typo = await migrateStore("--data", dir, "--mysql", server.url, "--force");
  assertEquals(typo.code, 2);
  assertStringIncludes(typo.err, "unknown: --force");
});
