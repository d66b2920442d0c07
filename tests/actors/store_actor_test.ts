/** The store actor over a real database whose commits a test can hold up, fail and count. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { ChatError } from "@chat/wire/errors.ts";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import { CommitPace } from "../../actors/store/commit_pace.ts";
import { HybridClock } from "../../actors/hlc.ts";
import { inlinePorts } from "../../actors/runtime/link.ts";
import {
  type Message,
  type Mid,
  type StorePort,
  StoreTooSlow,
  StoreUnavailable,
} from "../../actors/ports.ts";
import { ActorSystem } from "../../actors/runtime/runtime.ts";
import { StoreActor } from "../../actors/store/store.ts";
import { packMessages } from "../../actors/record.ts";
import type { Outcomes, StoreMessage } from "../../actors/store/store_protocol.ts";
import { STORE_CONCURRENCY } from "../../actors/store/store_options.ts";
import { FakeClock, microtasks } from "../support/fake_clock.ts";

const WORKER = 1;
const STORE = 100;

interface Failing {
  /** What the next commits do; "ok" when it is empty. */
  readonly plan: ("fail" | "hold" | "ok")[];
  /** Messages beyond which a commit takes too long. */
  most: number;
  /** Whether a read is answered. */
  isThere: boolean;
  /** How long reading what is pending keeps the thread, ms. */
  readMs: number;
  /** Lets a held commit go. */
  release: () => void;
  /** Sizes of the commits: appends, receipts. */
  readonly commits: [appends: number, receipts: number][];
}

/** The database with a switch. */
function failing(store: StorePort, clock: FakeClock): { port: StorePort; control: Failing } {
  const control: Failing = {
    ...{ plan: [], most: Infinity, isThere: true, readMs: 0, commits: [] },
    release: () => {},
  };
  const port: StorePort = Object.create(store, {
    close: { value: () => store.close() },
    pending: {
      value: (...args: Parameters<StorePort["pending"]>) => {
        clock.pass(control.readMs);
        return store.pending(...args);
      },
    },
    lastMid: {
      value: (...args: Parameters<StorePort["lastMid"]>) =>
        control.isThere ? store.lastMid(...args) : new Promise(() => {}),
    },
    commit: {
      value: async (...args: Parameters<StorePort["commit"]>) => {
        control.commits.push([args[0].length, args[1].length]);
        const what = control.plan.shift() ?? "ok";
        if (what === "fail") throw new StoreUnavailable("on purpose");
        const isPoisoned = args[0].some(({ message }) => message.msg === "poison");
        if (args[0].length > control.most || isPoisoned) throw new StoreTooSlow("on purpose");
        if (what === "hold") await new Promise<void>((resolve) => control.release = resolve);
        return await store.commit(...args);
      },
    },
  });
  return { port, control };
}

/** A store with two users, and the worker that asks it. */
async function start(maxQueued = 1_000) {
  const clock = new FakeClock(1_700_000_000_000);
  const events = { onDeadLetter() {}, onCrash() {}, onGiveUp() {} };
  const system = new ActorSystem(STORE, clock, events, queueMicrotask);
  const worker = new ActorSystem(WORKER, clock, events, queueMicrotask);
  const main = new ActorSystem(0, clock, events, queueMicrotask);
  const connect = (a: ActorSystem, b: ActorSystem) => {
    const [left, right] = inlinePorts(queueMicrotask);
    a.link(b.thread, left);
    b.link(a.thread, right);
  };
  connect(system, worker);
  connect(system, main);
  const store = await openSqlite(":memory:");
  const alice = await store.register("alice", "x") ?? 0;
  const bob = await store.register("bob", "x") ?? 0;
  const { port, control } = failing(store, clock);
  const failures: unknown[] = [];
  const actor = new StoreActor(system, port, { maxQueued, onFailure: (e) => failures.push(e) });
  const ref = system.spawn<StoreMessage>("store", () => actor, { concurrency: STORE_CONCURRENCY });
  const outcomes: Outcomes[] = [];
  worker.spawn<Outcomes>("sessions", () => ({ receive: (m) => void outcomes.push(m) }));
  const hints: number[][] = [];
  main.spawn<{ users: number[] }>("registry", () => ({ receive: (m) => void hints.push(m.users) }));
  ref.tell({ type: "attach", worker: WORKER });

  const hlc = new HybridClock(() => clock.now());
  let next = 1;
  const draft = (n: number): Message => ({
    mid: hlc.next(),
    cid: `c${n}`,
    from: alice,
    name: "",
    ts: clock.now(),
    toid: bob,
    groupid: 0,
    msg: `m${n}`,
    extra: "",
    prev: "",
  });
  const send = (messages: readonly Message[], generation = 0, urgent = true, cost = 1) => {
    const costs = messages.map(() => cost);
    const first = next;
    next += messages.length;
    ref.tell({
      type: "append",
      worker: WORKER,
      run: "run",
      generation,
      first,
      ...packMessages(messages),
      costs,
      urgent,
    });
  };
  const append = (count = 1, generation = 0, urgent = true, cost = 1): Message[] => {
    const messages = Array.from({ length: count }, (_, i) => draft(next + i));
    send(messages, generation, urgent, cost);
    return messages;
  };
  return {
    clock,
    ref,
    control,
    failures,
    outcomes,
    hints,
    alice,
    bob,
    draft,
    send,
    append,
    receipt: (mid: Mid | undefined) => ref.tell({ type: "receipts", pairs: [bob, mid ?? ""] }),
    pending: async () => (await store.pending(bob, "", 1_000)).map((m) => m.mid),
    ask: <R>(op: string, ...args: unknown[]) =>
      ref.ask<R>({ type: "call", op, args } as StoreMessage, 8_000),
    /** Numbers of what was answered so far, stored and put off. */
    answered: () => ({
      stored: outcomes.flatMap((o) => o.stored),
      others: outcomes.flatMap((o) => o.others.map(({ n }) => n)),
    }),
    async [Symbol.asyncDispose]() {
      await system.stop("store");
      for (const each of [system, worker, main]) each.close();
    },
  };
}

Deno.test("an outcome is told only after its commit", async () => {
  await using it = await start();
  it.control.plan.push("hold");
  const [message] = it.append();
  await it.clock.advance(1_000);
  assertEquals([it.control.commits.length, it.outcomes], [1, []]);

  it.control.release();
  await microtasks();

  assertEquals(it.answered(), { stored: [1], others: [] });
  assertEquals(it.outcomes[0]?.pending, [1, 1, it.bob]);
  assertEquals(await it.pending(), [message?.mid]);
});

Deno.test("what comes during a commit goes into one that follows", async () => {
  await using it = await start();
  it.control.plan.push("hold");
  it.append();
  await it.clock.advance(100);
  for (let n = 0; n < 10; n++) it.append(5);
  await it.clock.advance(100);
  assertEquals(it.control.commits, [[1, 0]]);
  it.control.release();
  await it.clock.advance(100);
  assertEquals(it.control.commits, [[1, 0], [50, 0]]);
  assertEquals(it.answered().stored, Array.from({ length: 51 }, (_, i) => i + 1));
});

Deno.test("one message is committed at once; what comes right after it shares the next commit", async () => {
  await using it = await start();

  for (let n = 0; n < 10; n++) {
    it.append();
    await microtasks(); // each in a turn of its own
  }
  const before = [...it.control.commits];
  await it.clock.advance(1);

  assertEquals(before, [[1, 0]]);
  assertEquals(it.control.commits, [[1, 0], [9, 0]]);
});

Deno.test("a commit that fails puts off all that waits, and what was sent before the worker knew", async () => {
  await using it = await start();
  it.control.plan.push("hold", "fail");
  it.append(1);
  await it.clock.advance(100);
  it.append(2);
  it.control.release();
  await it.clock.advance(100);
  assertEquals(it.answered(), { stored: [1], others: [2, 3] });
  assertEquals(it.failures.length, 1);
  const generation = it.outcomes.at(-1)?.generation ?? 0;
  assert(generation > 0);

  it.append(1, 0); // 4: sent before the refusal was known
  await it.clock.advance(100);
  assertEquals(it.answered(), { stored: [1], others: [2, 3, 4] });
  it.append(1, generation); // 5
  await it.clock.advance(100);
  assertEquals(it.answered(), { stored: [1, 5], others: [2, 3, 4] });
  assertEquals((await it.pending()).length, 2);
});

Deno.test("more than may wait is put off, and so is what follows in the same generation", async () => {
  await using it = await start(10);
  it.control.plan.push("hold");
  it.append(1);
  await it.clock.advance(100);
  it.append(10);
  it.append(1); // 12: no room
  await microtasks();
  assertEquals(it.answered(), { stored: [], others: [12] });
  it.control.release();
  await it.clock.advance(100);
  it.append(1); // 13: room, but it must not overtake 12
  await it.clock.advance(100);
  assertEquals(it.answered().others, [12, 13]);
  it.append(1, it.outcomes.at(-1)?.generation);
  await it.clock.advance(100);
  assertEquals(it.answered().stored.at(-1), 14);
});

Deno.test("a worker that starts anew begins with generation 0, and gets no answers of its predecessor", async () => {
  await using it = await start();
  it.control.plan.push("fail");
  it.append();
  await it.clock.advance(100);
  assertEquals(it.outcomes.at(-1)?.generation, 1);
  it.ref.tell({ type: "attach", worker: WORKER });
  it.append(1, 0);
  await it.clock.advance(100);
  assertEquals(it.answered().stored, [2]);
  assert(it.outcomes.every((o) => o.run === "run"));
});

for (const when of ["before its message", "before the commit", "during the commit"]) {
  Deno.test(`a receipt that comes ${when} leaves no pending row`, async () => {
    await using it = await start();
    const message = it.draft(1);
    const { mid } = message;

    if (when === "before its message") it.receipt(mid);
    if (when === "during the commit") it.control.plan.push("hold");
    it.send([message]);
    if (when === "before the commit") it.receipt(mid);
    await it.clock.advance(100);
    if (when === "during the commit") it.receipt(mid);
    it.control.release();
    await it.clock.advance(1_000);

    assertEquals(it.answered().stored, [1]);
    assertEquals(await it.pending(), []);
    await it.clock.advance(60_000);
    assertEquals(it.hints, [], "nobody is hinted at what he has");
  });
}

Deno.test("a read sees what was appended before it, also when nobody hurries", async () => {
  await using it = await start();
  const messages = it.append(3, 0, false);
  const rows = await it.ask<Message[]>("pending", it.bob, "", 10);
  assertEquals(rows.map((m) => m.mid), messages.map((m) => m.mid));
});

Deno.test("what nobody waits for is committed within a moment, and in few commits", async () => {
  await using it = await start();
  for (let n = 0; n < 20; n++) {
    it.append(1, 0, false);
    await it.clock.advance(2);
  }
  await it.clock.advance(200);
  assertEquals(it.answered().stored.length, 20);
  assert(it.control.commits.length <= 3, `${it.control.commits.length} commits`);
});

Deno.test("a clock that is put back delays no commit by as much", () => {
  const pace = new CommitPace();
  for (const rows of [1, 500]) {
    pace.began(60_000, rows);
    pace.ended(60_005);

    const due = pace.due(0, true);

    assert(due >= 0 && due <= 100, `${due} ms`);
  }
});

Deno.test("receipts that could not be committed are not lost", async () => {
  await using it = await start();
  const [message] = it.append();
  await it.clock.advance(100);
  it.control.plan.push("fail", "fail");
  it.receipt(message?.mid);
  await it.clock.advance(10_000);
  assertEquals(await it.pending(), []);
});

Deno.test("recipients without a receipt are hinted at, some times and further apart", async () => {
  await using it = await start();
  const [first] = it.append(2);
  await it.clock.advance(1_000);
  it.receipt(first?.mid);
  await it.clock.advance(100_000);
  assertEquals(it.hints, [[it.bob], [it.bob], [it.bob]]);
});

Deno.test("a database that is away is TRY_LATER to whoever asks; a fault is too, and is reported", async () => {
  await using it = await start();
  it.control.plan.push("fail");
  it.append();
  // The read waits for the append, which is refused; then it is answered.
  assertEquals(await it.ask("pending", it.bob, "", 10), []);
  const error = await assertRejects(() => it.ask("register", "alice\ud800".repeat(100)), ChatError);
  assertEquals(error.code, "TRY_LATER");
});

Deno.test("stopping commits what waits", async () => {
  const it = await start();
  it.append(3, 0, false);
  const commits = it.control.commits;
  await it[Symbol.asyncDispose]();
  assertEquals(commits.reduce((sum, [appends]) => sum + appends, 0), 3);
});

const event = fc.oneof(
  fc.record({ do: fc.constant("append"), count: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ do: fc.constant("advance"), count: fc.constantFrom(0, 1, 5, 100) }),
  fc.record({ do: fc.constant("fail"), count: fc.constantFrom(1, 2) }),
  fc.record({ do: fc.constant("hold"), count: fc.constant(1) }),
  fc.record({ do: fc.constant("release"), count: fc.constant(1) }),
);

Deno.test("every append is answered once; what is stored is in order and without gaps in a generation", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 40 }), async (events) => {
      await using it = await start(12);
      const generationOf = new Map<number, number>();
      let sent = 0;
      for (const { do: what, count } of events) {
        if (what === "append") {
          const generation = Math.max(0, ...it.outcomes.map((o) => o.generation));
          it.append(count, generation);
          for (let n = sent + 1; n <= sent + count; n++) generationOf.set(n, generation);
          sent += count;
        } else if (what === "advance") await it.clock.advance(count);
        else if (what === "release") it.control.release();
        else it.control.plan.push(what === "fail" ? "fail" : "hold");
      }
      it.control.plan.length = 0;
      for (let round = 0; round < 5; round++) {
        it.control.release();
        await it.clock.advance(1_000);
      }

      const { stored, others } = it.answered();
      assertEquals([...stored, ...others].sort((a, b) => a - b), [...generationOf.keys()]);
      assertEquals(stored, [...stored].sort((a, b) => a - b));
      for (const n of stored) {
        // Nothing that was refused in this generation came before it.
        const overtaken = others.filter((o) =>
          o < n && generationOf.get(o) === generationOf.get(n)
        );
        assertEquals(overtaken, [], `${n} overtook`);
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("a transaction is bounded by the rows that its messages may become; one message is always taken", async () => {
  await using it = await start();
  it.control.plan.push("hold");
  it.append();
  await microtasks();
  it.append(9, 0, true, 3_000);
  it.append(1, 0, true, 20_000);
  it.append(3);
  it.control.release();
  await it.ask("pending", it.bob, "", 1);

  const sizes = it.control.commits.map(([appends]) => appends);
  assertEquals(sizes, [1, 2, 2, 2, 2, 1, 1, 3]);
  assertEquals(it.answered().stored.length, 14);
});

Deno.test("what takes too long is tried again in smaller parts, in order, and fails nobody", async () => {
  await using it = await start();
  it.control.most = 3;
  const sent = it.append(10);
  await it.ask("pending", it.bob, "", 1);

  assertEquals(it.answered(), { stored: sent.map((_, i) => i + 1), others: [] });
  assertEquals(await it.pending(), sent.map(({ mid }) => mid));
  it.control.most = Infinity;
  it.append(60);
  await it.ask("pending", it.bob, "", 1);
  it.append(60);
  await it.ask("pending", it.bob, "", 1);
  assertEquals(it.control.commits.at(-1)?.[0], 60, "it grows again");
});

Deno.test("one message that takes too long by itself is put off alone", async () => {
  await using it = await start();
  const messages = [1, 2, 3, 4].map(it.draft);
  const poison = { ...messages[2], msg: "poison" } as Message;
  it.send(messages.map((message, i) => i === 2 ? poison : message));
  await it.ask("pending", it.bob, "", 1);

  assertEquals(it.answered(), { stored: [1, 2, 4], others: [3] });
});

Deno.test("a database that lets a transaction expire and answers nothing is away: all are put off at once", async () => {
  await using it = await start();
  Object.assign(it.control, { most: 3, isThere: false });
  it.append(10);
  await microtasks();
  await it.clock.advance(1_000);

  assertEquals(it.control.commits.length, 1);
  assertEquals(it.answered().others.length, 10);
  it.control.isThere = true;
});

Deno.test("long reads take turns: commits and short reads pass those that wait", async () => {
  await using it = await start();
  it.control.readMs = 60;
  let read = 0;
  const reads = Array.from(
    { length: 20 },
    () => it.ask("pending", it.bob, "", 200).then(() => read++),
  );
  await microtasks();
  assertEquals(read, 1);
  it.append();
  await it.ask("historyWith", it.bob, it.alice, "", 1);
  await it.clock.advance(20);

  assertEquals(it.answered().stored, [1], "committed while reads wait");
  assert(read <= 2, `${read} were read`);
  await it.clock.advance(20 * (60 + 20));
  await Promise.all(reads);
  it.control.readMs = 0;
});
