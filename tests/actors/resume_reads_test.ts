/**
 * What RESUME costs: whole nodes' users resume at once, so its way holds no password hash, and what
 * says whether a token still counts is one indexed read.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import { type Plan, planOf } from "../simulation/plan.ts";
import { World } from "../simulation/world.ts";

/** One node, one client, whose connection is cut once. */
function plan(): Plan {
  const base = planOf(1);
  return {
    ...base,
    nodes: 1,
    workers: 1,
    hub: false,
    spikeRate: 0,
    clients: [{
      version: 2,
      startsAt: 0,
      window: 64,
      handlingMs: 0,
      replyRate: 0,
      leaves: false,
    }],
    groups: [],
    friends: [],
    says: [],
    joins: [],
    faults: [{ at: 2_000, fault: { kind: "cut", client: 0, halfOpen: false } }],
    stepCrashes: [],
    freezes: [],
    healAt: 10_000,
    lastSayAt: 0,
  };
}

Deno.test("RESUME asks the store for the token's owner, before the claim and after it, for contacts and for what waits; no password is hashed", async () => {
  const world = new World(plan(), { trace: false, mutation: undefined });
  const { scheduler, database } = world;
  const asked: string[] = [];
  const connect = database.connect.bind(database);
  database.connect = (thread) =>
    new Proxy(connect(thread), {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => {
          asked.push(String(name));
          return Reflect.apply(member, target, args);
        };
      },
    });
  const { onStep } = scheduler;
  scheduler.onStep = (label, place) => {
    if (label === "password") asked.push("password");
    onStep?.(label, place);
  };

  await scheduler.run(2_000);
  const login = asked.splice(0);
  assertEquals(world.clients[0]?.online, true);
  await scheduler.run(10_000);

  assertEquals(world.clients[0]?.online, true);
  assert(login.includes("password"), `LOGIN took ${login}`);
  assertEquals(asked.slice(0, 4), ["tokenOwner", "contacts", "tokenOwner", "pending"]);
  assertEquals(
    asked.filter((what) => what !== "pending"),
    ["tokenOwner", "contacts", "tokenOwner"],
  );
});

Deno.test("a token's owner is found by primary keys, in one statement", async () => {
  const path = await Deno.makeTempFile({ suffix: ".db" });
  const { prepare } = DatabaseSync.prototype;
  const texts: string[] = [];
  DatabaseSync.prototype.prepare = function (text, ...rest) {
    texts.push(text);
    return prepare.call(this, text, ...rest);
  };
  try {
    const store = await openSqlite(path);
    await store.close();
  } finally {
    DatabaseSync.prototype.prepare = prepare;
  }
  const reads = texts.filter((text) => /^SELECT .* FROM token /s.test(text));

  const db = new DatabaseSync(path);
  const steps = reads.flatMap((text) => db.prepare(`EXPLAIN QUERY PLAN ${text}`).all());
  db.close();
  await Deno.remove(path);

  assertEquals([reads.length, steps.length], [1, 2]);
  for (const { detail } of steps) assertMatch(String(detail), /^SEARCH .* PRIMARY KEY \(/);
});
