/** Upkeep of both databases: the probe, a message's path, what waits, and removing old messages. */

import { assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { openMysql } from "../../actors/adapters/mysql/store.ts";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import { Counter } from "../../actors/observe/meter.ts";
import {
  type Clock,
  type StorePort,
  StoreUnavailable,
  type UpkeepPort,
} from "../../actors/ports.ts";
import { ActorSystem } from "../../actors/runtime/runtime.ts";
import { UpkeepActor } from "../../actors/store/upkeep.ts";
import { ensureServices, startMariaDb } from "../../server/cluster/services.ts";
import { newGroup, newUser, nextMid, send, text } from "../support/store_contract.ts";
import { until } from "../support/until.ts";

type Store = StorePort & UpkeepPort;

/** Later than every message of these tests. */
const END = "Z".repeat(26);

/** Removes in steps of `limit`, as the actor does; how many went in each. */
async function pruneAll(store: Store, before: string, limit: number): Promise<number[]> {
  const removed: number[] = [];
  for (let after = "";;) {
    const step = await store.prune(after, before, limit);
    removed.push(step.removed);
    if (step.last === "") return removed;
    after = step.last;
  }
}

const CASES: Record<string, (store: Store) => Promise<void>> = {
  async "messages that everybody has go, in small steps; what one has yet to receive stays"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob, eve);
    await pruneAll(store, END, 1_000); // what other cases left
    const [read, unread] = [text({ from: ann, toid: bob }), text({ from: ann, toid: bob })];
    const [half, all] = [text({ from: ann, groupid }), text({ from: bob, groupid })];
    await send(store, read, unread, half, all);
    await store.commit([], [
      { user: bob, mid: read.mid },
      { user: bob, mid: half.mid },
      ...[ann, eve].map((user) => ({ user, mid: all.mid })),
    ]);

    assertEquals(await pruneAll(store, END, 1), [1, 0, 0, 1, 0]);

    assertEquals((await store.pending(bob, "", 9)).map((m) => m.mid), [unread.mid]);
    assertEquals((await store.pending(eve, "", 9)).map((m) => m.mid), [half.mid]);
    const left = await store.historyWith(ann, bob, "", 9);
    assertEquals(left.messages.map((m) => m.mid), [unread.mid]);
    assertEquals(await store.trace(read.mid), undefined);
    await store.commit([], [{ user: bob, mid: unread.mid }, { user: eve, mid: half.mid }]);
    assertEquals(await pruneAll(store, END, 10), [2]);
  },

  async "nothing at or after the limit goes, and what is sent afterwards is stored"(store) {
    const [ann, bob] = [await newUser(store), await newUser(store)];
    await pruneAll(store, END, 1_000);
    const sent = Array.from({ length: 5 }, () => text({ from: ann, toid: bob }));
    await send(store, ...sent);
    const mids = sent.map((m) => m.mid);
    await store.commit([], mids.map((mid) => ({ user: bob, mid })));

    assertEquals(await pruneAll(store, mids[2] ?? "", 10), [2]);

    const left = await store.historyWith(ann, bob, "", 9);
    assertEquals(left.messages.map((m) => m.mid), mids.slice(2));
    assertEquals(await store.lastMid(ann, bob, 0), mids[4]);
    const next = text({ from: ann, toid: bob });
    assertEquals(await send(store, next), [{ status: "stored", pending: [bob] }]);
  },

  async "a message's path: what it is, and who has yet to receive it"(store) {
    const [ann, bob, eve] = [await newUser(store), await newUser(store), await newUser(store)];
    const groupid = await newGroup(store, ann, bob, eve);
    const [one, many] = [text({ from: ann, toid: bob, msg: "x" }), text({ from: ann, groupid })];
    await send(store, one, many);

    assertEquals((await store.trace(one.mid))?.pending, [bob]);
    assertEquals((await store.trace(one.mid))?.message.msg, "x");
    assertEquals(new Set((await store.trace(many.mid))?.pending), new Set([bob, eve]));
    assertEquals([await store.waiting(bob), await store.waiting(eve)], [2, 1]);
    await store.commit([], [{ user: bob, mid: many.mid }]);
    assertEquals((await store.trace(many.mid))?.pending, [eve]);
    assertEquals(await store.trace(nextMid()), undefined);
    assertEquals(await store.waiting(ann), 0);
  },

  async "a probe is kept, again and again, and no secret of another name is touched"(store) {
    const before = await store.secret("token-key", "key");
    await store.probe("one");
    await store.probe("two");
    assertEquals(await store.secret("token-key", "other"), before);
    assertNotEquals(before, "two");
  },
};

async function runCases(t: Deno.TestContext, store: Store): Promise<void> {
  try {
    for (const [name, run] of Object.entries(CASES)) await t.step(name, () => run(store));
  } finally {
    await store.close();
  }
  await t.step("a closed store rejects a probe", async () => {
    await assertRejects(() => store.probe("late"), StoreUnavailable);
  });
}

Deno.test("upkeep of SQLite", async (t) => {
  await runCases(t, await openSqlite(":memory:"));
});

Deno.test("upkeep of MariaDB", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "chat-upkeep-" });
  await ensureServices({ install: true });
  const server = await startMariaDb({ dir, durable: false });
  try {
    await runCases(t, await openMysql(server.url));
  } finally {
    await server.stop();
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("--history-days: old messages go a few at a time, commits in between, failures later", async () => {
  const store = await openSqlite(":memory:");
  const [ann, bob] = [await newUser(store), await newUser(store)];
  const sent = Array.from({ length: 450 }, () => text({ from: ann, toid: bob }));
  await send(store, ...sent);
  await store.commit([], sent.slice(1).map(({ mid }) => ({ user: bob, mid })));
  // Long after the messages; timers run when the test says so.
  const timers: { ms: number; fn: () => void }[] = [];
  const clock: Clock = {
    now: () => Date.now() + 1e12,
    after(ms, fn) {
      timers.push({ ms, fn });
      return () => {};
    },
  };
  const events = { onDeadLetter() {}, onCrash() {}, onGiveUp() {} };
  const system = new ActorSystem(0, clock, events, queueMicrotask);
  const pruned = new Counter();
  const steps: number[] = [];
  const failures: unknown[] = [];
  let isAway = false;
  const port: UpkeepPort = {
    ...{ probe: store.probe, trace: store.trace, waiting: store.waiting },
    async prune(after, before, limit) {
      if (isAway) throw new StoreUnavailable("away");
      const step = await store.prune(after, before, limit);
      steps.push(step.removed);
      return step;
    },
  };
  const onFailure = (error: unknown) => void failures.push(error);
  const actor = new UpkeepActor(system, port, { historyDays: 10, pruned, onFailure });
  const tick = async () => {
    const next = timers.shift();
    next?.fn();
    await until(() => timers.length > 0);
    return timers[0]?.ms;
  };

  assertEquals([await tick(), await tick(), await tick()], [100, 100, 60_000]);
  assertEquals(steps, [199, 200, 50]);
  assertEquals(pruned.value, 449);
  isAway = true;
  assertEquals(await tick(), 60_000);
  assertEquals(failures.length, 1);
  assertEquals((await store.pending(bob, "", 9)).map((m) => m.mid), [sent[0]?.mid]);
  actor.stop();
  await store.close();
});
