/** Random sequences of operations give the same answers on a plain model and on each database. */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { createConnection } from "mysql2/promise";
import { DatabaseSync } from "node:sqlite";
import { openMysql } from "../../actors/adapters/mysql/store.ts";
import { loadMigrations, migrateSqlite, migrationsDir } from "../../actors/adapters/migrate.ts";
import { storeOn } from "../../actors/adapters/sqlite/store.ts";
import type { AppendOutcome, StorePort } from "../../actors/ports.ts";
import { ensureServices, startMariaDb } from "../../server/cluster/services.ts";
import { text } from "../support/store_contract.ts";
import { modelStore } from "../support/store_model.ts";

/** What one step does to a store; its answer is compared. */
interface Step {
  readonly label: string;
  run(store: StorePort): Promise<unknown>;
}

// Few values, so that steps meet. User 5 and group 4 exist rarely or never.
const user = fc.integer({ min: 1, max: 5 });
const group = fc.integer({ min: 1, max: 4 });
const name = fc.constantFrom("ann", "Ann", "böb", "BÖB", "eve", "zoe\u0308", "Zoë", "team", "Team");
const friend = fc.oneof(user, name);
const token = fc.constantFrom("t1", "T1", "t2");
const time = fc.integer({ min: 1, max: 5 }).map((n) => 4_000_000_000_000 + n);
const device = fc.constantFrom(undefined, "", "phone");
const origin = fc.integer({ min: 1, max: 25 }).map((n) => `address 10.0.0.${n}`);
const limit = fc.integer({ min: 1, max: 6 });

const CIDS = ["a", "A", "b", "c\0", "c", "d ", "d", "\u{1f600}"];
const SENDERS = 5;
const KINDS = SENDERS * CIDS.length;
const midOf = (n: number) => `01${String(n).padStart(24, "0")}`;
/** A number names a mid; two numbers that differ by KINDS are one (sender, cid) under two mids. */
const number = fc.integer({ min: 0, max: 2 * KINDS - 1 });
const mid = number.map(midOf);
const before = fc.oneof(fc.constant(""), mid);

const append = fc.record({
  n: number,
  toid: user,
  groupid: fc.oneof(fc.constant(0), group),
  ts: fc.integer({ min: 0, max: 9 }),
  msg: fc.string({ unit: "binary", maxLength: 8 }),
  confirmed: fc.array(user, { maxLength: 2 }),
}).map(({ n, toid, groupid, ts, msg, confirmed }) => ({
  confirmed,
  message: text({
    mid: midOf(n),
    from: 1 + n % SENDERS,
    cid: CIDS[Math.floor(n / SENDERS) % CIDS.length] ?? "",
    toid: groupid === 0 ? toid : 0,
    groupid,
    ts,
    msg,
  }),
}));

function sorted(outcome: AppendOutcome): AppendOutcome {
  if (outcome.status !== "stored") return outcome;
  return { status: "stored", pending: outcome.pending.toSorted((a, b) => a - b) };
}

/** A step that makes one call with random arguments. */
function call<A extends unknown[]>(
  method: (store: StorePort, ...args: A) => Promise<unknown>,
  ...args: { [I in keyof A]: fc.Arbitrary<A[I]> }
): fc.Arbitrary<Step> {
  return fc.tuple<A>(...args).map((values) => ({
    label: `${/store\.(\w+)/.exec(`${method}`)?.[1]} ${JSON.stringify(values)}`,
    run: (store) => method(store, ...values),
  }));
}

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: call(
      (store, name, hash) => store.register(name, hash),
      name,
      fc.constantFrom("h1", "h2"),
    ),
  },
  {
    weight: 2,
    arbitrary: call(
      (store, id, title, desc, most) => store.createGroup(id, title, desc, most),
      user,
      name,
      fc.constantFrom("", "why"),
      fc.constantFrom(undefined, 0, 2),
    ),
  },
  {
    weight: 3,
    arbitrary: call(
      (store, id, which, most, mostGroups) => store.joinGroup(id, which, most, mostGroups),
      user,
      fc.oneof(group, name),
      fc.constantFrom(undefined, 0, 2),
      fc.constantFrom(undefined, 0, 2),
    ),
  },
  {
    weight: 1,
    arbitrary: call((store, id, whom) => store.removeFriend(id, whom), user, friend),
  },
  {
    weight: 2,
    arbitrary: call(
      (store, id, whom, most) => store.addFriend(id, whom, most),
      user,
      friend,
      fc.constantFrom(undefined, 0, 2),
    ),
  },
  {
    weight: 10,
    arbitrary: fc.tuple(
      // A batch has a mid once.
      fc.uniqueArray(append, { maxLength: 6, selector: ({ message }) => message.mid }),
      fc.array(fc.record({ user, mid }), { maxLength: 4 }),
    ).map(([appends, receipts]): Step => ({
      label: `commit ${JSON.stringify([appends, receipts])}`,
      run: async (store) => (await store.commit(appends, receipts)).map(sorted),
    })),
  },
  {
    weight: 3,
    arbitrary: call(
      (store, id, after, most) => store.pending(id, after, most),
      user,
      before,
      limit,
    ),
  },
  {
    weight: 1,
    arbitrary: call(
      (store, id, to, where) => store.lastMid(id, to, where),
      user,
      user,
      fc.constant(0),
    ),
  },
  {
    weight: 1,
    arbitrary: call(
      (store, id, to, where) => store.lastMid(id, to, where),
      user,
      fc.constant(0),
      group,
    ),
  },
  {
    weight: 2,
    arbitrary: call(
      (store, id, peer, end, most) => store.historyWith(id, peer, end, most),
      user,
      user,
      before,
      limit,
    ),
  },
  {
    weight: 2,
    arbitrary: call(
      (store, id, where, end, most) => store.historyOf(id, where, end, most),
      user,
      group,
      before,
      limit,
    ),
  },
  call((store, id) => store.contacts(id), user),
  call((store, id) => store.group(id), group),
  call((store, id) => store.userById(id), user),
  call((store, who) => store.userByName(who), name),
  call((store, id, hash) => store.setHash(id, hash), user, fc.constantFrom("h3", "h4")),
  call(
    (store, id, hash, was) => store.setHash(id, hash, was),
    user,
    fc.constantFrom("h3", "h4"),
    fc.constantFrom("h", "h3"),
  ),
  call(
    (store, id, hash, renewed) => store.changePassword(id, hash, renewed),
    user,
    fc.constantFrom("h5", "h6"),
    // To a token that there never is besides: ids are unique.
    fc.option(fc.record({ from: token, to: fc.uuid(), expires: time }), { nil: undefined }),
  ),
  call(
    (store, id, from, now) => store.noteOrigins(id, from, now),
    user,
    fc.uniqueArray(origin, { minLength: 1, maxLength: 2 }),
    fc.integer({ min: 1, max: 60 }).map((at) => at * 7 * 3_600_000),
  ),
  call((store, id, from) => store.knownOrigins(id, from), user, fc.uniqueArray(origin)),
  call((store, id) => store.deleteUser(id), user),
  call(
    (store, key, id, expires, on, most) => store.saveToken(key, id, expires, on, most),
    token,
    user,
    time,
    device,
    fc.constantFrom(undefined, 0, 1, 2),
  ),
  call((store, key, now, on) => store.tokenOwner(key, now, on), token, time, device),
  call(
    (store, id, key) => store.revokeToken(id, key),
    user,
    fc.oneof(token, fc.constant(undefined)),
  ),
  call(
    (store, key, fresh) => store.secret(key, fresh),
    fc.constantFrom("s", "S"),
    fc.constantFrom("x", "y"),
  ),
);
const steps = fc.array(step, { minLength: 20, maxLength: 60, size: "max" });

/** People and groups to begin with, so that few steps are about nothing. */
async function populate(store: StorePort): Promise<void> {
  for (const first of ["first", "second", "third"]) await store.register(first, "h");
  await store.createGroup(1, "one", "");
  await store.createGroup(2, "two", "");
  await store.joinGroup(3, 1);
}

async function sameAsModel(store: StorePort, sequence: readonly Step[]): Promise<void> {
  const model = modelStore();
  for (const one of [model, store]) await populate(one);
  for (const { label, run } of sequence) {
    const [expected, actual] = [await settled(run(model)), await settled(run(store))];
    assertEquals(actual, expected, label);
  }
}

async function settled(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch {
    return "rejected";
  }
}

/** What happens to a SQLite store after a step: nothing, some is filed, or its process dies. */
const between = fc.constantFrom("", "", "file one", "file all", "crash");

Deno.test("SQLite answers as the model does, whatever is filed, and whenever its process dies", async () => {
  const migrations = await loadMigrations(migrationsDir("sqlite"));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(step, between), { minLength: 20, maxLength: 60, size: "max" }),
      async (sequence) => {
        const db = new DatabaseSync(":memory:");
        migrateSqlite(db, migrations);
        const model = modelStore();
        let store = storeOn(db);
        try {
          for (const one of [model, store]) await populate(one);
          for (const [{ label, run }, then] of sequence) {
            const [expected, actual] = [await settled(run(model)), await settled(run(store))];
            assertEquals(actual, expected, `${label}, then ${then}`);
            if (then === "file one") await store.file?.(0);
            if (then === "file all") {
              while ((store.backlog?.().messages ?? 0) > 0) await store.file?.(9);
            }
            if (then === "crash") store = storeOn(db);
          }
        } finally {
          await store.close();
        }
      },
    ),
    { numRuns: 600 },
  );
});

Deno.test("MySQL answers as the model does", async () => {
  await ensureServices({ install: true });
  const dir = await Deno.makeTempDir({ prefix: "chat-property-" });
  const server = await startMariaDb({ dir, durable: false });
  const admin = await createConnection(server.url);
  try {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        const database = `run${runs++}`;
        await admin.query("CREATE DATABASE ??", [database]);
        const store = await openMysql(server.url.replace(/chat$/, database));
        try {
          await sameAsModel(store, sequence);
        } finally {
          await store.close();
          await admin.query("DROP DATABASE ??", [database]);
        }
      }),
      { numRuns: 25 },
    );
  } finally {
    await admin.end();
    await server.stop();
    await Deno.remove(dir, { recursive: true });
  }
});
