/** The MySQL store against a real server that dies, stops, locks and is shared by several nodes. */

import { assert, assertEquals, assertGreater, assertLess, assertRejects } from "@std/assert";
import { delay } from "@std/async/delay";
import { type Connection, createConnection, type RowDataPacket } from "mysql2/promise";
import { MysqlConversations } from "../../actors/adapters/mysql/conversations.ts";
import { openMysql } from "../../actors/adapters/mysql/store.ts";
import {
  type Append,
  type AppendOutcome,
  type Message,
  type Mid,
  type StorePort,
  StoreUnavailable,
  type UserId,
} from "../../actors/ports.ts";
import { ensureServices, startMariaDb, type UrlService } from "../../server/cluster/services.ts";
import { freshName, newGroup, newUser, send, text } from "../support/store_contract.ts";

let dir = "";
/** For everything but its own death: what a test starts, it has to end. */
let server: UrlService;

Deno.test.beforeAll(async () => {
  await ensureServices({ install: true });
  dir = await Deno.makeTempDir({ prefix: "chat-mysql-" });
  server = await startMariaDb({ dir });
});

Deno.test.afterAll(async () => {
  await server.stop();
  await Deno.remove(dir, { recursive: true });
});

async function withStores(
  count: number,
  body: (...stores: StorePort[]) => Promise<void>,
): Promise<void> {
  const stores: StorePort[] = [];
  try {
    for (let i = 0; i < count; i++) stores.push(await openMysql(server.url));
    await body(...stores);
  } finally {
    for (const store of stores) await store.close();
  }
}

/** A server to kill, and a store on it whose calls take at most `totalMs`. */
async function withMortal(
  totalMs: number,
  body: (mortal: UrlService, store: StorePort) => Promise<void>,
): Promise<void> {
  const own = await Deno.makeTempDir({ prefix: "chat-mysql-" });
  const mortal = await startMariaDb({ dir: own });
  try {
    const store = await openMysql(mortal.url, { totalMs });
    await body(mortal, store);
    await store.close();
  } finally {
    await mortal.stop();
    await Deno.remove(own, { recursive: true });
  }
}

/** A connection of our own, as an operator has. */
async function withAdmin(body: (admin: Connection) => Promise<void>): Promise<void> {
  const admin = await createConnection(server.url);
  try {
    await body(admin);
  } finally {
    await admin.end();
  }
}

async function value(admin: Connection, sql: string): Promise<number> {
  const [[row]] = await admin.query<RowDataPacket[]>(sql);
  return Number(Object.values(row ?? {})[0]);
}

async function until(
  what: string,
  condition: () => Promise<boolean>,
  everyMs = 5,
): Promise<void> {
  const end = performance.now() + 10_000;
  while (!await condition()) {
    assert(performance.now() < end, `not in 10 s: ${what}`);
    await delay(everyMs);
  }
}

const midsOf = (messages: readonly Message[]): Mid[] => messages.map((message) => message.mid);

async function allPending(store: StorePort, user: UserId): Promise<Mid[]> {
  const found: Mid[] = [];
  for (;;) {
    const page = midsOf(await store.pending(user, found.at(-1) ?? "", 500));
    if (page.length === 0) return found;
    found.push(...page);
  }
}

Deno.test("commits that resolved survive kill -9 of the server, and those that did not may be repeated", async () => {
  await withMortal(300, async (mortal, store) => {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const resolved: Mid[] = [];
    let rejected = 0;
    let enough = false;
    const traffic = async () => {
      while (!enough) {
        const batch = Array.from({ length: 20 }, () => text({ from: ann, toid: bob }));
        for (let outcomes: AppendOutcome[] | undefined; outcomes === undefined;) {
          try {
            outcomes = await send(store, ...batch);
          } catch (error) {
            assert(error instanceof StoreUnavailable, String(error));
            rejected++;
            continue;
          }
          for (const outcome of outcomes) {
            assertEquals(outcome, { status: "stored", pending: [bob] });
          }
        }
        resolved.push(...midsOf(batch));
      }
    };
    const running = traffic();

    for (let round = 0; round < 2; round++) {
      const [before, rejectedBefore] = [resolved.length, rejected];
      await until("commits", () => Promise.resolve(resolved.length > before + 200));
      await mortal.kill9();
      await until("a rejection", () => Promise.resolve(rejected > rejectedBefore));
      await mortal.restart();
    }
    const before = resolved.length;
    await until("commits after the restart", () => Promise.resolve(resolved.length > before + 200));
    enough = true;
    await running;

    assertEquals(await allPending(store, bob), resolved);
  });
});

Deno.test("while the server is gone every method rejects within the bound, and it comes back by itself", async () => {
  const totalMs = 400;
  await withMortal(totalMs, async (mortal, store) => {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const hello = text({ from: ann, toid: bob });
    const calls: (() => Promise<unknown>)[] = [
      () => store.commit([{ message: hello, confirmed: [] }], []),
      () => store.pending(bob, "", 9),
      () => store.lastMid(ann, bob, 0),
      () => store.historyWith(ann, bob, "", 9),
      () => store.historyOf(ann, 1, "", 9),
      () => store.register(freshName("new"), "h"),
      () => store.userById(ann),
      () => store.userByName("ann"),
      () => store.setHash(ann, "h"),
      () => store.contacts(ann),
      () => store.addFriend(ann, bob),
      () => store.createGroup(ann, freshName("g"), ""),
      () => store.joinGroup(ann, 1),
      () => store.group(1),
      () => store.saveToken("t", ann, 1),
      () => store.tokenOwner("t", 1),
      () => store.revokeToken(ann, "t"),
      () => store.secret("s", "x"),
    ];
    const refuse = async (call: () => Promise<unknown>) => {
      const start = performance.now();
      await assertRejects(call, StoreUnavailable, "the database is away");
      assertLess(performance.now() - start, totalMs + 600, String(call));
    };

    mortal.pause(); // connections stay open, nobody answers
    await Promise.all(calls.map(refuse));
    mortal.resume();
    await until("an answer after the pause", async () => {
      return await store.userById(ann).then((row) => row?.id === ann, () => false);
    });
    await mortal.kill9(); // nobody listens
    await Promise.all(calls.map(refuse));
    await mortal.restart();

    assertEquals((await store.userById(ann))?.id, ann);
    assertEquals((await send(store, hello))[0]?.status, "stored");
    assertEquals(await allPending(store, bob), [hello.mid]);
  });
});

Deno.test("killed connections are replaced without an error", async () => {
  await withStores(1, async (store) => {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    await withAdmin(async (admin) => {
      for (let round = 0; round < 3; round++) {
        await Promise.all([1, 2, 3].map(() => store.userById(ann)));
        await send(store, text({ from: ann, toid: bob }));
        const [others] = await admin.query<RowDataPacket[]>(
          "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
        );
        assertGreater(others.length, 1);
        for (const { id } of others) await admin.query("KILL CONNECTION ?", [id]);

        const [rows, outcomes] = await Promise.all([
          Promise.all([1, 2, 3, 4].map(() => store.userById(ann))),
          send(store, text({ from: ann, toid: bob })),
        ]);

        assertEquals(rows.map((row) => row?.id), [ann, ann, ann, ann]);
        assertEquals(outcomes, [{ status: "stored", pending: [bob] }]);
      }
    });
    assertEquals((await allPending(store, bob)).length, 6);
  });
});

/** Passes bytes on; cuts a connection instead of passing the answer to its next COMMIT. */
function startCuttingProxy(target: number): { port: number; arm(): void; close(): Promise<void> } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const jobs: Promise<void>[] = [];
  const open = new Set<Deno.Conn>();
  let armed = false;
  const serve = async (client: Deno.TcpConn) => {
    const upstream = await Deno.connect({ hostname: "127.0.0.1", port: target });
    let cut = false;
    for (const conn of [client, upstream]) open.add(conn);
    const pump = async (from: Deno.TcpConn, to: Deno.TcpConn, isRequest: boolean) => {
      const bytes = new Uint8Array(64 * 1024);
      try {
        for (;;) {
          const count = await from.read(bytes);
          if (count === null || (cut && !isRequest)) break;
          const chunk = bytes.subarray(0, count);
          if (isRequest && armed && new TextDecoder().decode(chunk).includes("COMMIT")) {
            armed = false;
            cut = true;
          }
          for (let at = 0; at < count;) at += await to.write(chunk.subarray(at));
        }
      } catch (error) {
        const isCut = error instanceof Deno.errors.BadResource ||
          error instanceof Deno.errors.ConnectionReset ||
          error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.Interrupted;
        if (!isCut) throw error;
      }
      for (const conn of [client, upstream]) if (open.delete(conn)) conn.close();
    };
    await Promise.all([pump(client, upstream, true), pump(upstream, client, false)]);
  };
  jobs.push((async () => {
    for await (const conn of listener) jobs.push(serve(conn));
  })());
  return {
    port: listener.addr.port,
    arm: () => armed = true,
    async close() {
      listener.close();
      for (const conn of open) conn.close();
      open.clear();
      await Promise.all(jobs);
    },
  };
}

Deno.test("when the answer to a COMMIT is lost, the retry finds its own work", async () => {
  const proxy = startCuttingProxy(server.port);
  const store = await openMysql(server.url.replace(`:${server.port}`, `:${proxy.port}`));
  const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
  const groupid = await newGroup(store, ann, bob, eve);
  const first = text({ from: ann, toid: bob, cid: "first" });
  await send(store, first);
  const batch: Append[] = [
    { message: text({ from: ann, toid: bob }), confirmed: [] },
    { message: text({ from: ann, groupid }), confirmed: [bob] },
    { message: text({ from: ann, toid: bob, cid: "first" }), confirmed: [] },
    { message: text({ from: ann, toid: 1_000_000 }), confirmed: [] },
  ];

  proxy.arm();
  const outcomes = await store.commit(batch, [{ user: bob, mid: first.mid }]);

  assertEquals(outcomes, [
    { status: "stored", pending: [bob] },
    { status: "stored", pending: [eve] },
    { status: "duplicate", mid: first.mid, ts: first.ts },
    { status: "no_such_target" },
  ]);
  assertEquals(await allPending(store, bob), [batch[0]?.message.mid ?? ""]);
  assertEquals(await allPending(store, eve), [batch[1]?.message.mid ?? ""]);
  const groupName = freshName("lost-group");
  proxy.arm();
  const made = await store.createGroup(ann, groupName, "");
  assert(typeof made === "number", "the group is his own");
  assertEquals((await store.group(made))?.users.map((user) => user.id), [ann]);
  assertEquals(await store.createGroup(ann, groupName, ""), undefined);
  await store.close();
  await proxy.close();
});

Deno.test("a deadlock is survived by trying again", async () => {
  await withStores(1, async (store) => {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob);
    await withAdmin(async (admin) => {
      const deadlocks = "SELECT count FROM information_schema.innodb_metrics " +
        "WHERE name = 'lock_deadlocks'";
      const before = await value(admin, deadlocks);
      await admin.query("CREATE TABLE IF NOT EXISTS ballast (n INT PRIMARY KEY) ENGINE = InnoDB");
      await admin.query("START TRANSACTION");
      // The server ends the transaction that has changed less: not this one.
      await admin.query(
        "INSERT INTO ballast (n) VALUES ?",
        [Array.from({ length: 500 }, (_, i) => [i])],
      );
      const message = text({ from: ann, groupid });
      const row = "INSERT INTO offlinemessage (userid, mid, sender) VALUES (?, ?, 0)";
      await admin.query(row, [bob, message.mid]);

      const sending = send(store, message);
      await until("the commit waits for its pending row", async () => {
        const waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx " +
          "WHERE trx_state = 'LOCK WAIT'";
        return await value(admin, waiting) === 1;
      }, 150); // the server refreshes that table only after 100 ms without a look at it
      await admin.query("UPDATE allgroup SET version = version + 1 WHERE id = ?", [groupid]);
      await admin.query("ROLLBACK");

      assertEquals(await sending, [{ status: "stored", pending: [bob] }]);
      assertGreater(await value(admin, deadlocks), before);
    });
    assertEquals((await allPending(store, bob)).length, 1);
  });
});

Deno.test("receipts do not wait for rows that another node has not committed yet", async () => {
  await withStores(1, async (store) => {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const sent = Array.from({ length: 20 }, () => text({ from: ann, toid: bob }));
    await send(store, ...sent);
    await withAdmin(async (admin) => {
      await admin.query("START TRANSACTION");
      await admin.query("INSERT INTO offlinemessage VALUES (?, 'x', 0)", [eve]);
      const hasty = await openMysql(server.url, { totalMs: 1_000 });

      await hasty.commit([], sent.map(({ mid }) => ({ user: bob, mid })));

      await admin.query("ROLLBACK");
      await hasty.close();
    });
    assertEquals(await allPending(store, bob), []);
  });
});

Deno.test("a lock-wait time-out is survived by trying again, for as long as the bound allows", async () => {
  await withStores(2, async (patient, other) => {
    const hasty = await openMysql(server.url, { totalMs: 300 });
    const [ann, bob] = [await newUser(other), await newUser(other)];
    const groupid = await newGroup(other, ann, bob);
    await withAdmin(async (admin) => {
      const timeouts = "SELECT count FROM information_schema.innodb_metrics " +
        "WHERE name = 'lock_timeouts'";
      const before = await value(admin, timeouts);
      await admin.query("START TRANSACTION");
      await admin.query("SELECT id FROM allgroup WHERE id = ? FOR UPDATE", [groupid]);

      const sending = send(patient, text({ from: ann, groupid }));
      await assertRejects(() => send(hasty, text({ from: ann, groupid })), StoreUnavailable);
      // Others are not held up.
      assertEquals((await send(other, text({ from: ann, toid: bob })))[0]?.status, "stored");
      await until("a lock-wait time-out", async () => await value(admin, timeouts) > before);
      await admin.query("ROLLBACK");

      assertEquals(await sending, [{ status: "stored", pending: [bob] }]);
    });
    await hasty.close();
  });
});

Deno.test("a refused message leaves no conversation", async () => {
  await withStores(1, async (store) => {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    await store.deleteUser(eve);
    await withAdmin(async (admin) => {
      const count = "SELECT COUNT(*) FROM conversation";
      const before = await value(admin, count);

      const targets = [{ toid: 2 ** 40 }, { toid: 0 }, { toid: bob + 999 }, { toid: eve }];
      const outcomes = await send(
        store,
        ...targets.map((target) => text({ from: ann, ...target })),
        text({ from: ann, groupid: 2 ** 31 }),
        text({ from: ann, toid: bob }),
      );

      assertEquals(outcomes.map(({ status }) => status), [
        ...Array(5).fill("no_such_target"),
        "stored",
      ]);
      assertEquals(await value(admin, count), before + 1);
    });
  });
});

Deno.test("a batch knows all of its conversations, however few are remembered", async () => {
  await withStores(1, async (store) => {
    const users: UserId[] = [];
    for (let i = 0; i < 4; i++) users.push(await newUser(store));
    const [ann = 0, ...others] = users;
    const appends = others.map((toid) => ({ message: text({ from: ann, toid }), confirmed: [] }));
    const conversations = new MysqlConversations(2);
    await withAdmin(async (admin) => {
      for (const batch of [appends.slice(0, 2), appends, appends.slice(1)]) {
        await conversations.learn(admin, batch, new Set(users));
        // A read meanwhile.
        for (const toid of others) await conversations.find(admin, ann, toid, 0);

        const numbers = batch.map(({ message }) => conversations.of(ann, message.toid, 0));
        assertEquals(new Set(numbers).size, batch.length);
        assert(!numbers.includes(0));
      }
    });
  });
});

Deno.test("of one cid sent through several nodes at once, one message is stored", async () => {
  await withStores(3, async (...stores) => {
    const [first] = stores;
    assert(first !== undefined);
    const [ann, bob] = [await newUser(first), await newUser(first)];
    for (let round = 0; round < 40; round++) {
      const cids = [`r${round}-1`, `r${round}-2`, `r${round}-3`];
      const tries = await Promise.all(stores.map(async (store, node) => {
        // Each node in another order: their locks meet.
        const order = [...cids.slice(node), ...cids.slice(0, node)];
        const batch = order.map((cid) => text({ from: ann, toid: bob, cid }));
        const outcomes = await send(store, ...batch);
        return outcomes.map((outcome, at) => {
          assert(outcome.status === "stored" || outcome.status === "duplicate");
          const { cid = "", mid = "" } = batch[at] ?? {};
          const isStored = outcome.status === "stored";
          return { cid, isStored, mid: isStored ? mid : outcome.mid };
        });
      }));
      for (const cid of cids) {
        const told = tries.flat().filter((one) => one.cid === cid);
        assertEquals(told.filter((one) => one.isStored).length, 1, cid);
        assertEquals(new Set(told.map((one) => one.mid)).size, 1, cid);
      }
    }
    assertEquals((await allPending(first, bob)).length, 120);
  });
});

Deno.test("whoever joins on one node misses no message that another node stores", async () => {
  await withStores(2, async (a, b) => {
    const [ann, bob] = [await newUser(a), await newUser(a)];
    const groupid = await newGroup(a, ann, bob);
    for (let round = 0; round < 15; round++) {
      const eve = await newUser(b);
      const stored: Mid[] = [];
      let joined = false;
      const traffic = async () => {
        for (let after = 0; after < 3; after += joined ? 1 : 0) {
          const message = text({ from: ann, groupid });
          const [outcome] = await send(a, message);
          assertEquals(outcome?.status, "stored");
          stored.push(message.mid);
        }
      };
      const running = traffic();
      await until("traffic", () => Promise.resolve(stored.length > round % 3));

      await b.joinGroup(eve, groupid);
      const history = await b.historyOf(eve, groupid, "", 10_000);
      joined = true;
      await running;

      const seen = new Set(midsOf(history?.messages ?? []));
      for (const mid of await allPending(a, eve)) seen.add(mid);
      assertEquals(stored.filter((mid) => !seen.has(mid)), []);
    }
  });
});

Deno.test("a reader who sees a later commit's messages sees the earlier ones", async () => {
  await withStores(2, async (writer, reader) => {
    const [ann, bob] = [await newUser(writer), await newUser(writer)];
    const sent: Mid[] = [];
    let done = false;
    const writing = (async () => {
      for (let i = 0; i < 150; i++) {
        const message = text({ from: ann, toid: bob });
        sent.push(message.mid);
        await send(writer, message);
      }
      done = true;
    })();
    let reads = 0;
    while (!done) {
      const found = midsOf(await reader.pending(bob, "", 1_000));
      assertEquals(found, sent.slice(0, found.length));
      reads++;
    }
    await writing;
    assertGreater(reads, 5);
  });
});

Deno.test("a store that is closed lets running calls finish and rejects later ones", async () => {
  const store = await openMysql(server.url);
  const [ann, bob] = [await newUser(store), await newUser(store)];
  const sending = send(store, text({ from: ann, toid: bob }));
  const reading = Promise.all(Array.from({ length: 20 }, () => store.userById(ann)));

  await store.close();
  await store.close();

  assertEquals((await sending)[0]?.status, "stored");
  assertEquals((await reading).length, 20);
  await assertRejects(() => store.userById(ann), StoreUnavailable, "closed");
  await assertRejects(() => send(store, text({ from: ann, toid: bob })), StoreUnavailable);
});

Deno.test("a URL or server that cannot serve gives one sentence without the password", async () => {
  for (const url of ["nonsense", "http://127.0.0.1/chat", "mysql://127.0.0.1"]) {
    await assertRejects(() => openMysql(url), Error, "a MySQL URL looks like");
  }
  const wrong = server.url.replace("root@", "nobody:pa55word@");
  const refused = await assertRejects(() => openMysql(wrong), StoreUnavailable, "cannot use");
  assert(!refused.message.includes("pa55word"));
  const missing = server.url.replace(/chat$/, "nothere");
  await assertRejects(() => openMysql(missing), StoreUnavailable, "Unknown database");
  const closed = server.url.replace(`:${server.port}`, ":1");
  await assertRejects(() => openMysql(closed), StoreUnavailable, "127.0.0.1:1");
});
