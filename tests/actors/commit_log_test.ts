/**
 * The commit log of SQLite on a real file: what is acknowledged survives kill -9 and a full disk,
 * wherever between log, filing and removal of the log's rows that falls.
 */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { openSqlite, storeOn } from "../../actors/adapters/sqlite/store.ts";
import { loadMigrations, migrateSqlite, migrationsDir } from "../../actors/adapters/migrate.ts";
import { Meter } from "../../actors/observe/meter.ts";
import {
  type Message,
  type StorePort,
  StoreUnavailable,
  systemClock,
  type UpkeepPort,
} from "../../actors/ports.ts";
import { ActorSystem } from "../../actors/runtime/runtime.ts";
import { startStore } from "../../actors/store/store_service.ts";
import type { UpkeepMessage } from "../../actors/store/upkeep.ts";
import { newGroup, newUser, send, text } from "../support/store_contract.ts";
import { until } from "../support/until.ts";

type Store = StorePort & UpkeepPort;

const mids = (messages: readonly Message[]) => messages.map(({ mid }) => mid);

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "chat-log-" });
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** The file as it is on disk at this moment, under another name: what a kill -9 would leave. */
async function imageOf(dir: string, name: string): Promise<string> {
  const image = `${dir}/${name}.db`;
  await Deno.copyFile(`${dir}/chat.db`, image);
  await Deno.copyFile(`${dir}/chat.db-wal`, `${image}-wal`);
  return image;
}

async function fileAll(store: Store): Promise<void> {
  while ((store.backlog?.().messages ?? 0) > 0) await store.file?.(9);
}

Deno.test("killed between any two steps of log, filing and removal: everything once, receipts kept", async () => {
  await withDir(async (dir) => {
    const store = await openSqlite(`${dir}/chat.db`);
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob, eve);
    const sent = Array.from(
      { length: 7 },
      (_, i) => text(i % 2 === 0 ? { from: ann, toid: bob } : { from: ann, groupid }),
    );
    const images: { readonly path: string; readonly received: boolean }[] = [];
    const image = async (received: boolean) =>
      images.push({ path: await imageOf(dir, `image${images.length}`), received });

    await send(store, ...sent.slice(0, 4));
    await send(store, ...sent.slice(4));
    await image(false); // logged, nothing filed
    await store.file?.(0);
    await image(false); // a part of a log row is filed
    await store.commit([], sent.map(({ mid }) => ({ user: bob, mid })));
    await image(true); // a receipt of what is filed, and receipts of what is not
    for (let i = 0; i < 3; i++) await store.file?.(0);
    await image(true); // a whole row is filed, and its log row gone
    await fileAll(store);
    await image(true);
    await store.close();

    for (const { path, received } of images) {
      const again = await openSqlite(path);
      assertEquals(again.backlog?.().messages, 0, "filed before it serves");
      assertEquals(mids(await again.pending(bob, "", 99)), received ? [] : mids(sent), path);
      const inGroup = sent.filter((message) => message.groupid !== 0);
      assertEquals(mids(await again.pending(eve, "", 99)), mids(inGroup));
      const direct = sent.filter((message) => message.groupid === 0);
      assertEquals(mids((await again.historyWith(ann, bob, "", 99)).messages), mids(direct));
      // Sent again under other mids, they are known.
      const repeats = sent.map((message) => text({ ...message, mid: text({ from: ann }).mid }));
      assertEquals(
        await send(again, ...repeats),
        sent.map(({ mid, ts }) => ({ status: "duplicate", mid, ts })),
      );
      await again.close();
      const db = new DatabaseSync(path);
      assertEquals(db.prepare("SELECT COUNT(*) AS n FROM commitlog").get()?.n, 0);
      assertEquals(db.prepare("SELECT COUNT(*) AS n FROM message").get()?.n, sent.length);
      db.close();
    }
  });
});

Deno.test("kill -9 of a process that commits and files: whatever it had acknowledged is there, once", async () => {
  await withDir(async (dir) => {
    const path = `${dir}/chat.db`;
    const first = await openSqlite(path);
    const [ann, bob] = [await newUser(first), await newUser(first)];
    await first.close();
    const store = new URL("../../actors/adapters/sqlite/store.ts", import.meta.url).href;
    const hlc = new URL("../../actors/hlc.ts", import.meta.url).href;
    const code = `const { openSqlite } = await import(${JSON.stringify(store)});
      const { HybridClock } = await import(${JSON.stringify(hlc)});
      const store = await openSqlite(${JSON.stringify(path)});
      const clock = new HybridClock(Date.now);
      for (let n = 0;; n++) {
        const messages = Array.from({ length: 1 + n % 7 }, (_, i) => ({
          mid: clock.next(), cid: Deno.pid + "-" + n + "-" + i, from: ${ann}, name: "", ts: Date.now(),
          toid: ${bob}, groupid: 0, msg: "x", extra: "", prev: "",
        }));
        await store.commit(messages.map((message) => ({ message, confirmed: [] })), []);
        // Half of them are received at once.
        const gone = messages.filter((_, i) => i % 2 === 0);
        await store.commit([], gone.map(({ mid }) => ({ user: ${bob}, mid })));
        const left = messages.filter((_, i) => i % 2 === 1);
        console.log(gone.map((m) => "-" + m.mid).concat(left.map((m) => "+" + m.mid)).join(" "));
        if (n % 3 === 0) await store.file(n % 2);
      }`;
    const told = new Map<string, boolean>();
    for (let round = 0; round < 8; round++) {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["eval", "--no-lock", code],
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      let output = "";
      const most = 500 + round * 2_700; // killed ever later
      for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
        output += part;
        if (output.length > most) break;
      }
      child.kill("SIGKILL");
      await child.status;
      // A line that was cut had been acknowledged too, but not all of it was told.
      for (const word of output.slice(0, output.lastIndexOf("\n")).split(/\s+/)) {
        if (word !== "") told.set(word.slice(1), word.startsWith("+"));
      }
    }

    const again = await openSqlite(path);
    const pending = new Set<string>();
    for (let after = "";;) {
      const page = mids(await again.pending(bob, after, 500));
      if (page.length === 0) break;
      for (const mid of page) {
        assert(!pending.has(mid), `${mid} twice`);
        pending.add(mid);
      }
      after = page.at(-1) ?? "";
    }
    const stored = new Set<string>();
    for (let before = "";;) {
      const { messages, more } = await again.historyWith(ann, bob, before, 500);
      for (const { mid } of messages) {
        assert(!stored.has(mid), `${mid} twice in the history`);
        stored.add(mid);
      }
      before = messages[0]?.mid ?? "";
      if (!more) break;
    }
    await again.close();
    assert(told.size > 1_000, `only ${told.size} were acknowledged`);
    for (const [mid, waits] of told) {
      assert(stored.has(mid), `${mid} was acknowledged and is lost`);
      assertEquals(pending.has(mid), waits, mid);
    }
  });
});

Deno.test("a full disk while filing loses nothing, says so in the probe, and is got over", async () => {
  const db = new DatabaseSync(":memory:");
  migrateSqlite(db, await loadMigrations(migrationsDir("sqlite")));
  const store = storeOn(db);
  const [ann, bob] = [await newUser(store), await newUser(store)];
  const sent = Array.from(
    { length: 40 },
    () => text({ from: ann, toid: bob, msg: "x".repeat(2_000) }),
  );
  await send(store, ...sent);
  const pages = Number(db.prepare("PRAGMA page_count").get()?.page_count);
  db.exec(`PRAGMA max_page_count = ${pages + 2}`);
  await assertRejects(() => store.file?.(9) ?? Promise.resolve(), StoreUnavailable, "full");
  assertEquals(store.backlog?.().messages, sent.length);
  assertEquals(mids(await store.pending(bob, "", 99)), mids(sent));

  // The store actor, which files by itself.
  const failures: unknown[] = [];
  const system = new ActorSystem(100, systemClock, {
    onDeadLetter() {},
    onCrash: (_, error) => failures.push(error),
    onGiveUp: (_, error) => failures.push(error),
  }, queueMicrotask);
  const options = { database: { sqlite: "" }, maxPending: 0, historyDays: 0, maxQueued: 99 };
  startStore(system, store, options, new Meter(), () => {});
  const probe = (value: string): Promise<string> =>
    system.ref<UpkeepMessage>(100, "upkeep").ask({ type: "probe", value }, 5_000)
      .then(() => "ready", (error) => `${error}`);
  await until(async () => (await probe("full")).includes("cannot be filed"));
  assertStringIncludes(await probe("full"), "the disk is full");

  db.exec("PRAGMA max_page_count = 1000000");
  await until(async () => await probe("room") === "ready");
  assertEquals(store.backlog?.().messages, 0);
  assertEquals(mids(await store.pending(bob, "", 99)), mids(sent));
  assertEquals(failures, []);
  await system.ref(100, "store").ask({ type: "stop" }, 5_000);
  system.close();
});

Deno.test("a joiner does not wait for what was sent before, filed or not", async () => {
  const store = await openSqlite(":memory:");
  const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
  const groupid = await newGroup(store, ann, bob);
  const before = text({ from: ann, groupid });
  await send(store, before);

  await store.joinGroup(eve, groupid);
  await fileAll(store);

  assertEquals(mids(await store.pending(bob, "", 9)), [before.mid]);
  assertEquals(await store.pending(eve, "", 9), []);
  await store.close();
});

Deno.test("a message that everybody has before it is filed never gets a pending row", async () => {
  const db = new DatabaseSync(":memory:");
  migrateSqlite(db, await loadMigrations(migrationsDir("sqlite")));
  const store = storeOn(db);
  const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
  const groupid = await newGroup(store, ann, bob, eve);
  const sent = [text({ from: ann, toid: bob }), text({ from: ann, groupid })];
  let rows = 0;
  db.function("seen", () => ++rows);
  db.exec("CREATE TRIGGER look AFTER INSERT ON offlinemessage BEGIN SELECT seen(); END");

  await send(store, ...sent);
  await store.commit([], [
    ...sent.map(({ mid }) => ({ user: bob, mid })),
    { user: eve, mid: sent[1]?.mid ?? "" },
  ]);
  await fileAll(store);

  assertEquals(rows, 0);
  assertEquals((await store.historyWith(ann, bob, "", 9)).messages.length, 1);
  await store.close();
});
