import { assertEquals, assertRejects } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { openMysql } from "../../actors/adapters/mysql/store.ts";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import { type StorePort, StoreUnavailable } from "../../actors/ports.ts";
import { ensureServices, startMariaDb } from "../../server/cluster/services.ts";
import {
  CASES,
  MAILBOX_CASES,
  newUser,
  send,
  SHARE_CASES,
  text,
} from "../support/store_contract.ts";

async function runContract(
  t: Deno.TestContext,
  store: StorePort,
  cases = CASES,
): Promise<void> {
  try {
    for (const [name, run] of Object.entries(cases)) await t.step(name, () => run(store));
  } finally {
    await store.close();
  }
}

/** The same store; everything is filed after each `every`th commit. */
function filing(store: StorePort, every: number): StorePort {
  let commits = 0;
  return Object.assign(Object.create(store), {
    async commit(...args: Parameters<StorePort["commit"]>) {
      const outcomes = await store.commit(...args);
      if (++commits % every === 0) {
        while ((store.backlog?.().messages ?? 0) > 0) await store.file?.(Infinity);
      }
      return outcomes;
    },
    close: () => store.close(),
  });
}

Deno.test("the SQLite store keeps the contract in memory", async (t) => {
  await runContract(t, await openSqlite(":memory:"));
});

Deno.test("the SQLite store keeps the contract when every message is filed at once", async (t) => {
  await runContract(t, filing(await openSqlite(":memory:"), 1));
});

Deno.test("the SQLite store keeps the contract when some messages are filed and some are not", async (t) => {
  await runContract(t, filing(await openSqlite(":memory:"), 2));
});

Deno.test("mailboxes in SQLite are bounded", async (t) => {
  await runContract(t, await openSqlite(":memory:", { maxPending: 3 }), MAILBOX_CASES);
  await runContract(t, await openSqlite(":memory:", { maxPending: 100 }), SHARE_CASES);
});

Deno.test("mailboxes in SQLite are bounded when every message is filed at once", async (t) => {
  await runContract(t, filing(await openSqlite(":memory:", { maxPending: 3 }), 1), MAILBOX_CASES);
});

Deno.test("mailboxes in SQLite are bounded when some messages are filed and some are not", async (t) => {
  await runContract(t, filing(await openSqlite(":memory:", { maxPending: 3 }), 2), MAILBOX_CASES);
});

Deno.test("the SQLite store keeps the contract on disk", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "chat-store-" });
  await runContract(t, await openSqlite(`${dir}/chat.db`));
  await Deno.remove(dir, { recursive: true });
});

Deno.test("the MySQL store keeps the contract on MariaDB", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "chat-store-" });
  await ensureServices({ install: true });
  const server = await startMariaDb({ dir, durable: false });
  try {
    await runContract(t, await openMysql(server.url));
    await runContract(t, await openMysql(server.url, { maxPending: 3 }), MAILBOX_CASES);
    await runContract(t, await openMysql(server.url, { maxPending: 100 }), SHARE_CASES);
  } finally {
    await server.stop();
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a SQLite store opened again has everything, and a closed one rejects", async () => {
  const dir = await Deno.makeTempDir({ prefix: "chat-store-" });
  const first = await openSqlite(`${dir}/chat.db`);
  const [ann, bob] = [await newUser(first), await newUser(first)];
  const hello = text({ from: ann, toid: bob });
  await send(first, hello);
  await first.close();
  await first.close();
  await assertRejects(() => first.pending(bob, "", 9), StoreUnavailable, "closed");

  const second = await openSqlite(`${dir}/chat.db`);

  assertEquals((await second.pending(bob, "", 9)).map((message) => message.mid), [hello.mid]);
  await second.close();
  await Deno.remove(dir, { recursive: true });
});

Deno.test("what another process writes to the file is seen by the next commit", async () => {
  const dir = await Deno.makeTempDir({ prefix: "chat-store-" });
  const [store, other] = [await openSqlite(`${dir}/chat.db`), await openSqlite(`${dir}/chat.db`)];
  const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
  const groupid = Number(await store.createGroup(ann, "g", ""));
  await store.joinGroup(bob, groupid);
  await send(store, text({ from: ann, groupid }));

  await other.joinGroup(eve, groupid);
  const [outcome] = await send(store, text({ from: ann, groupid }));

  assertEquals(outcome, { status: "stored", pending: [bob, eve] });
  await store.close();
  await other.close();
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a SQLite file that another process keeps locked refuses in time, and nothing is stored", async () => {
  const dir = await Deno.makeTempDir({ prefix: "chat-store-" });
  const store = await openSqlite(`${dir}/chat.db`, { busyMs: 50 });
  const [ann, bob] = [await newUser(store), await newUser(store)];
  const hello = text({ from: ann, toid: bob });
  const other = new DatabaseSync(`${dir}/chat.db`);
  other.exec("BEGIN IMMEDIATE");

  await assertRejects(() => send(store, hello), StoreUnavailable, "another process holds it");
  await assertRejects(() => store.register("new", "h"), StoreUnavailable);
  assertEquals(await store.pending(bob, "", 9), []);
  other.exec("COMMIT");

  assertEquals(await send(store, hello), [{ status: "stored", pending: [bob] }]);
  other.close();
  await store.close();
  await Deno.remove(dir, { recursive: true });
});

Deno.test("when a commit fails half-way, the messages before the failure are not stored", async () => {
  const store = await openSqlite(":memory:");
  const [ann, bob] = [await newUser(store), await newUser(store)];
  const [one, two] = [text({ from: ann, toid: bob }), text({ from: ann, toid: bob })];

  await assertRejects(
    () => send(store, one, two, text({ from: ann, toid: bob, mid: one.mid, cid: "other" })),
    Error,
    "two messages",
  );

  assertEquals(await store.pending(bob, "", 9), []);
  assertEquals((await send(store, one, two)).map((outcome) => outcome.status), [
    "stored",
    "stored",
  ]);
  await store.close();
});
