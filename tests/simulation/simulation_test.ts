/**
 * Whole clusters in one thread with virtual time: thousands of short schedules, each with faults of
 * its own, judged by what its clients did and saw. See tests/simulation/.
 *
 * CHAT_SIMULATION_SCHEDULES and CHAT_SIMULATION_FROM run other and more of them.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { StorePort } from "../../actors/ports.ts";
import { Database } from "./database.ts";
import { MUTATIONS } from "./mutations.ts";
import { NODE_STEPS, PATH_STEPS, VICTIMS } from "./plan.ts";
import { Random } from "./random.ts";
import { reportOf } from "./report.ts";
import { type Result, runSchedule } from "./run.ts";
import { NOBODY, Scheduler } from "./scheduler.ts";
import { SimThread } from "./thread.ts";
import { Trace } from "./trace.ts";
import { CASES } from "../support/store_contract.ts";

/** Schedules of an ordinary run. */
const SCHEDULES = 5_000;
/** Schedules within which each mutation has to be noticed. */
const MUTATED_SCHEDULES = 400;

function setting(name: string, otherwise: number): number {
  const text = Deno.env.get(name);
  return text === undefined ? otherwise : Number(text);
}

/** Runs seeds from `first` until one fails; returns that one. */
async function firstFailure(
  first: number,
  count: number,
  options: Parameters<typeof runSchedule>[1],
  each: (result: Result) => void = () => {},
): Promise<number | undefined> {
  for (let seed = first; seed < first + count; seed++) {
    const result = await runSchedule(seed, options);
    each(result);
    if (result.violations.length > 0) return seed;
  }
}

Deno.test("whatever dies whenever: nothing acknowledged is lost, doubled or reordered", async () => {
  const count = setting("CHAT_SIMULATION_SCHEDULES", SCHEDULES);
  const crashedAfter = new Set<string>();
  const thawedAfter = new Set<string>();
  let [messages, sights, faults, slowestMs] = [0, 0, 0, 0];

  const failed = await firstFailure(setting("CHAT_SIMULATION_FROM", 1), count, {}, (result) => {
    messages += result.messages;
    sights += result.sights;
    faults += result.faults;
    slowestMs = Math.max(slowestMs, result.finishedInMs);
    for (const place of result.crashedAfter) crashedAfter.add(place);
    for (const step of result.thawedAfter) thawedAfter.add(step);
  });

  if (failed !== undefined) throw new Error(reportOf(await runSchedule(failed, { trace: true })));
  assert(messages > 10 * count, `only ${messages} messages were stored`);
  assert(sights > messages, `only ${sights} of ${messages} messages were seen`);
  assert(faults > count, `only ${faults} faults`);
  const places = PATH_STEPS.flatMap((step) => VICTIMS.map((victim) => `${step}/${victim}`));
  assertEquals(
    places.filter((place) => !crashedAfter.has(place)),
    [],
    "a crash was never tried between two steps of the delivery path",
  );
  assertEquals(
    NODE_STEPS.filter((step) => !thawedAfter.has(step)),
    [],
    "a frozen node was never let go between two steps of another",
  );
});

for (const mutation of MUTATIONS) {
  Deno.test(`the simulation notices it when ${mutation.name}`, async () => {
    const { from = 1 } = mutation;
    const failed = await firstFailure(from, MUTATED_SCHEDULES, { mutation });

    assert(failed !== undefined, `${MUTATED_SCHEDULES} schedules passed`);
  });
}

Deno.test("a schedule depends on its seed alone", async () => {
  const [now, random] = [Date.now, Math.random];
  const forbidden = () => {
    throw new Error("a simulation looked at the real clock, or threw real dice");
  };

  for (let seed = 1; seed <= 60; seed++) {
    const first = await runSchedule(seed, { trace: true });
    Date.now = Math.random = forbidden;
    const second = await runSchedule(seed, { trace: true }).finally(() => {
      [Date.now, Math.random] = [now, random];
    });
    const unhurried = await runSchedule(seed, { trace: true, settleRounds: 60 });

    assertEquals(second.trace, first.trace, `seed ${seed}`);
    // Every step ends before the next begins, however long its chain of promises is.
    assertEquals(unhurried.trace, first.trace, `seed ${seed}`);
    assertEquals(second.steps, first.steps);
  }
});

Deno.test("a failure says what is wrong, what happened and how to see it again", async () => {
  const mutation = MUTATIONS.find(({ name }) => name === "receipts are lost");
  const seed = await firstFailure(1, MUTATED_SCHEDULES, { mutation });
  assert(seed !== undefined);

  const report = reportOf(await runSchedule(seed, { mutation, trace: true }), mutation?.name);

  assertMatch(report, /VIOLATION: .* is still pending for \d/);
  assertMatch(report, /client \d+ sees \d+:\d+/);
  assertStringIncludes(
    report,
    `replay: deno task simulate --seed ${seed} --mutation "receipts are lost"`,
  );
});

// ── the model of the database ───────────────────────────────────────────────────────────────────

/** A database of its own, whose steps run by themselves. */
function openDatabase(): { store: StorePort; database: Database } {
  const scheduler = new Scheduler();
  const random = new Random(1);
  const trace = new Trace(scheduler, false);
  const thread = new SimThread(100, "store", "store", {
    scheduler,
    machine: NOBODY,
    skew: { ms: 0 },
    jitter: () => 0,
    random: () => 0,
    latency: () => 0,
  }, { onDeadLetter() {}, onCrash() {}, onGiveUp() {} });
  const database = new Database({ scheduler, random, trace, latency: () => 1 });
  const connection = database.connect(thread);
  const store = new Proxy(connection, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== "function") return method;
      return async (...args: unknown[]) => {
        const result: Promise<unknown> = Reflect.apply(method, target, args);
        result.catch(() => {}); // awaited below, once the steps have run
        await scheduler.run(scheduler.now + 1_000);
        return await result;
      };
    },
  });
  return { store, database };
}

for (const [sentence, run] of Object.entries(CASES)) {
  Deno.test(`the simulated database: ${sentence}`, () => run(openDatabase().store));
}

Deno.test("a crash of the simulated database loses what was written last, never what was durable", async () => {
  const { store, database } = openDatabase();
  await store.register("ann", "hash");
  const { tables } = database;
  database.write(() => tables.register("bob", "hash"));
  const { lsn } = database.write(() => tables.register("eve", "hash"));
  database.harden(lsn - 1);

  database.crash();
  database.down = false;

  const names = await Promise.all(["ann", "bob", "eve"].map((name) => store.userByName(name)));
  assertEquals(names.map((row) => row?.name), ["ann", "bob", undefined]);
});
