/** What actors do after something near them has died: each case was found by the simulation. */

import { assert, assertEquals } from "@std/assert";
import { HybridClock, midAt } from "../../actors/hlc.ts";
import type { InLane, OutLane, SessionMemo } from "../../actors/runtime/lane.ts";
import { inlinePorts, Link } from "../../actors/runtime/link.ts";
import type { BusPort, Claim, Clock, Message } from "../../actors/ports.ts";
import { PresenceWatch } from "../../actors/sessions/presence.ts";
import { pull } from "../../actors/worker/pull.ts";
import { Registry } from "../../actors/routing/registry.ts";
import { ActorSystem } from "../../actors/runtime/runtime.ts";
import { Delivery } from "../../actors/sessions/delivery.ts";
import { type Outlet, Session } from "../../actors/sessions/session.ts";
import { type HostOptions, SessionHost } from "../../actors/worker/session_host.ts";
import { StoreActor } from "../../actors/store/store.ts";
import { StoreClient } from "../../actors/store/store_client.ts";
import { packMessages } from "../../actors/record.ts";
import type { StoreMessage } from "../../actors/store/store_protocol.ts";
import { newTokenKey } from "../../actors/accounts/tokens.ts";
import { MSGID } from "@chat/wire/messages.ts";
import { Connection } from "../../server/sockets/connection.ts";
import { SessionPool } from "../../server/threads/session_pool.ts";
import { modelStore } from "../support/store_model.ts";

const NOW = 1_700_000_000_000;
const NO_EVENTS = { onDeadLetter() {}, onCrash() {}, onGiveUp() {} };

/** Time that stands still, and timers that run when they are told to. */
function stoppedClock(): { clock: Clock; runTimers: () => void } {
  let timers: (() => void)[] = [];
  return {
    clock: {
      now: () => NOW,
      after(_, fn) {
        timers.push(fn);
        return () => timers = timers.filter((timer) => timer !== fn);
      },
    },
    runTimers() {
      const due = timers;
      timers = [];
      for (const timer of due) timer();
    },
  };
}

/** Resolves when everything that promises had set off is done. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await null;
}

function hostOptions(): HostOptions {
  return {
    index: 0,
    workers: 1,
    storeThread: 100,
    passwordThreads: [101],
    tokenKey: newTokenKey(),
    later: queueMicrotask,
    log() {},
    settings: {
      node: "n",
      nodeId: "n",
      heartbeatSeconds: 30,
      tokenMs: 1_000,
      maxGroup: 0,
      maxStoreQueue: 100,
      maxFriends: 0,
      loginsPerMinute: 0,
      messagesPerMinute: 0,
      unitsPerMinute: 0,
      deliveriesPerMinute: 0,
      classicBytes: 0,
      maxTokens: 0,
      maxGroups: 0,
    },
  };
}

function system(thread: number, clock: Clock): ActorSystem {
  return new ActorSystem(thread, clock, NO_EVENTS, queueMicrotask, () => 0);
}

Deno.test("an answer to a worker that has died is not taken by the one after it", async () => {
  const { clock } = stoppedClock();
  const main = system(0, clock);
  const answers: ((right: boolean) => void)[] = [];
  main.spawn<string>("passwords", () => ({
    receive: () => new Promise<boolean>((resolve) => answers.push(resolve)),
  }), { concurrency: 2 });
  const connect = (worker: ActorSystem) => {
    const [left, right] = inlinePorts(queueMicrotask);
    main.link(1, left);
    worker.link(0, right);
  };
  const first = system(1, clock);
  connect(first);
  const lost = first.ref<string>(0, "passwords").ask<boolean>("of ann", 1_000);
  lost.catch(() => {}); // nobody is there to hear of it
  await settled();

  const second = system(1, clock); // the first has died; this numbers its questions anew
  connect(second);
  const right = second.ref<string>(0, "passwords").ask<boolean>("of bob", 1_000);
  await settled();
  answers[0]?.(true);
  await settled();
  answers[1]?.(false);

  assertEquals(await right, false);
  for (const each of [main, first, second]) each.close();
});

// ── sessions ────────────────────────────────────────────────────────────────────────────────────

const ANN = 1;
const BOB = 9;

/** Gives a host ANN's restored session and a frame of hers, in one turn. */
function annSends(host: SessionHost, seq: number, text: string, refused?: SessionMemo["refused"]) {
  const memo = {
    ...{ conn: 64, user: ANN, name: "ann", tokenId: "", device: "" },
    ...{ v: 2 as const, wantsDelivered: false, wantsTyping: false, refused, leftBy: undefined },
  };
  host.receiveLane({
    opened: [{ conn: memo.conn, remote: "", memo, lastPush: 0 }],
    bytes: new TextEncoder().encode(text),
    frames: Float64Array.of(memo.conn, seq, 0, text.length),
    readAt: NOW,
    written: new Float64Array(),
    closed: [],
    time: 0,
  });
}

/** ANN's `n`th message to BOB, stamped at `at`; `prev` is when her previous one was. */
function message(n: number, at: number, prev = ""): Delivery {
  const of: Message = {
    mid: midAt(NOW + at),
    cid: `c${n}`,
    from: ANN,
    name: "ann",
    ts: NOW + at,
    toid: BOB,
    groupid: 0,
    msg: `${n}`,
    extra: "",
    prev,
  };
  return new Delivery(of, 1, false); // another node's
}

function session(): {
  bob: Session;
  sent: string[];
  receipts: [mid: string, toOrigin: boolean][];
  pulls: () => number;
} {
  const sent: string[] = [];
  const receipts: [string, boolean][] = [];
  let pulls = 0;
  const outlet: Outlet = {
    sendPush: (_, delivery) => void sent.push(delivery.message.msg),
    received: (_, mid, delivery) => void receipts.push([mid, delivery !== undefined]),
    wantsPull: () => void pulls++,
  };
  const bob = new Session(1, "", outlet, () => {}, (error) => {
    throw error;
  });
  bob.v = 2;
  bob.begin(9, "bob", NOW);
  return { bob, sent, receipts, pulls: () => pulls };
}

Deno.test("a row whose receipt was lost is not pushed again, and its receipt is repeated", () => {
  const { bob, sent, receipts } = session();
  bob.endPass();
  bob.push(message(1, 0));
  const { mid } = message(1, 0).message;
  bob.receipt(mid); // on its way to the other node, whose store dies

  bob.pull();
  bob.pushRow(message(1, 0));

  assertEquals(sent, ["1"]);
  assertEquals(receipts, [[mid, true], [mid, false]]);
});

Deno.test("a message sent again under an earlier id waits for its row, and so does what follows", () => {
  const { bob, sent, pulls } = session();
  bob.endPass();
  bob.push(message(1, 5)); // its node dies before it is stored
  const again = message(1, 3);
  const next = message(2, 4, again.message.mid);

  bob.push(again);
  bob.push(next);
  const complete = bob.endPass(); // not committed yet
  const before = [...sent];
  for (const row of [again, next]) bob.pushRow(row);
  bob.endPass();

  assertEquals(pulls(), 1);
  assertEquals(complete, false);
  assertEquals(before, ["1"]);
  assertEquals(sent, ["1", "1", "2"]); // the client recognises its cid
});

Deno.test("of chats that were put off the earliest has to come again first, also after a crash", () => {
  const { bob } = session();

  bob.sent.putOff("c2", 12, NOW);
  bob.sent.putOff("c1", 11, NOW);
  bob.sent.putOff("c3", 13, NOW);
  const { bob: rebuilt } = session();
  rebuilt.restore(bob.memo(), 0, NOW);

  assertEquals(rebuilt.sent.refused?.cid, "c1");
});

Deno.test("what was stamped after a chat that was put off is not taken for stored", () => {
  const { bob } = session();
  bob.sent.stamped(7, "of the one put off");
  bob.sent.stamped(7, "of its next one, which shares its fate");

  bob.sent.putOff("c1", 11, NOW);

  assertEquals(bob.sent.last(7), undefined); // else c1 would sort after that one when it comes again
});

Deno.test("a chat that comes before the one put off, however late, is not taken", async () => {
  for (const [until, answers] of [[NOW + 1, ["ERROR"]], [NOW, ["BYE"]]] as const) {
    const { clock } = stoppedClock();
    const [main, worker] = [system(0, clock), system(1, clock)];
    const [mainSide, workerSide] = inlinePorts(queueMicrotask);
    const sent: string[] = [];
    main.link(1, mainSide, (lane) => {
      const { bytes } = lane as OutLane; // our own host's
      sent.push(...new TextDecoder().decode(bytes).split("\n").filter((line) => line !== ""));
    });
    const host = new SessionHost(worker, hostOptions());
    host.start(worker.link(0, workerSide));
    const chat = JSON.stringify({ msgid: MSGID.ONE_CHAT, toid: 2, cid: "c2", msg: "later" });
    annSends(host, 2, chat, { cid: "c1", seq: 1, until });
    await settled();
    host.stop();

    const errnos = sent.map((line) => JSON.parse(line));
    assertEquals(
      errnos.map((m) => m.msgid === MSGID.BYE ? "BYE" : "ERROR").sort(),
      [...answers],
      sent.join(),
    );
    for (const { errno } of errnos) assertEquals(errno, 9);
  }
});

Deno.test("a chat sent again that is stored has its recipient hinted at: who stored it may be dead", async () => {
  const { clock } = stoppedClock();
  const [main, worker, store] = [system(0, clock), system(1, clock), system(100, clock)];
  const [mainSide, workerSide] = inlinePorts(queueMicrotask);
  const [storeSide, clientSide] = inlinePorts(queueMicrotask);
  main.link(1, mainSide);
  store.link(1, storeSide);
  worker.link(100, clientSide);
  const first = { status: "duplicate", mid: midAt(NOW - 5_000), ts: NOW - 5_000 } as const;
  store.spawn<StoreMessage>("store", () => ({
    receive(m) {
      if (m.type !== "append") return m.type === "call" && m.op === "lastMid" ? "" : [];
      const others = [{ n: m.first, outcome: first }];
      const answer = {
        type: "outcomes",
        run: m.run,
        stored: [],
        pending: [],
        others,
        generation: 0,
      };
      store.ref(1, "sessions").tell(answer);
    },
  }));
  const hinted: unknown[] = [];
  main.spawn<{ type: string; users?: unknown }>("registry", () => ({
    receive: (m) => void (m.type === "hints" && hinted.push(m.users)),
  }));
  const host = new SessionHost(worker, hostOptions());
  host.start(worker.link(0, workerSide));
  const again = { msgid: MSGID.ONE_CHAT, toid: BOB, cid: "c1", msg: "again", at: NOW - 5_000 };

  annSends(host, 1, JSON.stringify(again));
  for (let n = 0; n < 10; n++) await settled();
  host.stop();

  assertEquals(hinted, [[BOB]]);
});

Deno.test("while what waits cannot be read nothing newer goes out", async () => {
  const { clock, runTimers } = stoppedClock();
  const { bob, sent } = session();
  const old = message(1, -3_600_000);
  const failures: unknown[] = [];
  let reads = 0;
  const done = pull(bob, {
    clock,
    pending: () => reads++ < 2 ? Promise.reject(new Error("away")) : Promise.resolve([old.message]),
    observe: () => {},
    onFailure: (error) => failures.push(error),
    random: () => 0,
  });
  await settled();

  bob.push(message(2, 0, old.message.mid));
  const before = [...sent];
  for (let i = 0; i < 2; i++) {
    runTimers();
    await settled();
  }
  await done;

  assertEquals(before, []);
  assertEquals(sent, ["1", "2"]);
  assertEquals(failures.length, 1);
});

Deno.test("what was read for a login goes to no later one on the same connection", async () => {
  const { clock } = stoppedClock();
  const { bob, sent } = session();
  const read = Promise.withResolvers<Message[]>();
  const done = pull(bob, {
    clock,
    pending: () => read.promise,
    observe: () => {},
    onFailure: () => {},
    random: () => 0,
  });

  const { user, name } = bob;
  bob.end();
  bob.begin(user, name, NOW);
  read.resolve([message(1, 0).message]);
  await done;

  assertEquals(sent, []);
});

Deno.test("a worker has so many questions on the way, and the others follow as answers come", async () => {
  const { clock } = stoppedClock();
  const [worker, other] = [system(1, clock), system(100, clock)];
  const [left, right] = inlinePorts(queueMicrotask);
  worker.link(100, left);
  other.link(1, right);
  const asked: (() => void)[] = [];
  other.spawn("store", () => ({
    receive: () => new Promise<void>((resolve) => asked.push(resolve)),
  }), { concurrency: 10_000 });
  const client = new StoreClient(worker, 100, queueMicrotask, () => {}, () => {});

  const answers = Array.from({ length: 5_000 }, () => client.call("contacts", 1));
  await settled();
  const most = asked.length;
  for (let done = 0; done < answers.length; done++) {
    asked[done]?.();
    if (done % 100 === 0) await settled();
  }
  await settled();
  for (const answer of asked) answer();
  await Promise.all(answers);

  assert(most > 0 && most < answers.length / 2, `${most} at once`);
  assertEquals(asked.length, answers.length);
  worker.close();
  other.close();
});

// ── presence ────────────────────────────────────────────────────────────────────────────────────

Deno.test("who was told a state while a change was gathered is told when it changes back", () => {
  const { clock, runTimers } = stoppedClock();
  let online = true;
  const told: [conn: number, online: boolean][] = [];
  const presence = new PresenceWatch(
    clock,
    () => online,
    (to, _, state) => told.push([to.conn, state]),
  );
  const { bob } = session();
  presence.watch(bob, [ANN]);

  presence.changed(ANN, online = false);
  presence.watch(bob, [ANN]); // an answer lists her as offline
  presence.changed(ANN, online = true);
  runTimers();

  assertEquals(told, [[bob.conn, true]]);
});

// ── the registry ────────────────────────────────────────────────────────────────────────────────

/** A registry of node "a" with one worker; `holder` is who has a user, as the bus knows it. */
function registry(holder: { conn: number | undefined }): {
  registry: Registry;
  evicted: number[];
} {
  const { clock } = stoppedClock();
  const main = system(0, clock);
  const evicted: number[] = [];
  const [left, right] = inlinePorts((fn) => fn());
  main.link(1, left);
  right.listen(({ items }) => {
    for (const item of items) {
      if (!("to" in item) || item.to !== "sessions") continue;
      const { body } = item;
      if (typeof body === "object" && body !== null && "conn" in body) {
        evicted.push(Number(body.conn));
      }
    }
  });
  const bus: BusPort = {
    counters: { dropped: 0, resets: 0 },
    node: "a",
    start: () => Promise.resolve(),
    send: () => {},
    broadcast: () => {},
    claim(_, conn, takeover): Promise<Claim> {
      if (holder.conn !== undefined && holder.conn !== conn && !takeover) {
        return Promise.resolve({ granted: false });
      }
      holder.conn = conn;
      return Promise.resolve({ granted: true, previous: undefined });
    },
    release: () => Promise.resolve(),
    announce: () => Promise.resolve(),
    problem: () => undefined,
    close: () => Promise.resolve(),
  };
  const registry = new Registry(main, {
    bus,
    isOpen: () => true,
    isLeft: () => false,
    toPeer: () => {},
    workers: () => [0],
    later: queueMicrotask,
  });
  return { registry, evicted };
}

Deno.test("a login that a new worker runs again finds its own entry and is let in", async () => {
  const { registry: a } = registry({ conn: undefined });
  const claim = { type: "claim", user: ANN, conn: 64, takeover: false } as const;

  const first = await a.receive(claim);
  const again = await a.receive(claim); // the answer died with the worker
  const other = await a.receive({ ...claim, conn: 128 });

  assertEquals([first, again, other], [true, true, false]);
});

for (const stale of [true, false]) {
  const who = stale ? "the stale one of two sessions goes" : "a stale node's word evicts nobody";
  Deno.test(`when two nodes have a user the bus says who: ${who}`, async () => {
    const holder: { conn: number | undefined } = { conn: undefined };
    const { registry: a, evicted } = registry(holder);
    await a.receive({ type: "claim", user: ANN, conn: 64, takeover: false });
    if (stale) holder.conn = 1_000_064; // taken over on "b" while this node was stopped

    for (const t of ["snapshot", "changes"] as const) {
      await a.receive({ type: "peer", from: "b", message: { t, seq: 1, list: [ANN, 0] } });
    }
    await settled();

    assertEquals(evicted, stale ? [64] : []);
    assertEquals(a.find(ANN)?.node, stale ? "b" : undefined);
  });
}

// ── the store ───────────────────────────────────────────────────────────────────────────────────

Deno.test("a new store takes nothing from a worker that has not sent what was lost", async () => {
  const { clock } = stoppedClock();
  const main = system(100, clock);
  const told: string[] = [];
  const [left, right] = inlinePorts((fn) => fn());
  main.link(1, left);
  right.listen(({ items }) => {
    for (const item of items) {
      if (!("to" in item)) continue;
      const { body } = item;
      if (typeof body === "object" && body !== null && "type" in body) told.push(`${body.type}`);
    }
  });
  const port = modelStore();
  await port.register("ann", "hash");
  const store = new StoreActor(main, port, { maxQueued: 9, onFailure: () => {} });
  const append = {
    type: "append",
    worker: 1,
    run: "r",
    generation: 0,
    first: 2,
    ...packMessages([{ ...message(2, 2).message, toid: ANN }]),
    costs: [1],
    urgent: true,
  } as const;

  store.receive(append);
  await settled();
  const before = [await port.lastMid(ANN, ANN, 0), ...told];
  store.receive({ type: "attach", worker: 1 });
  store.receive(append);
  await settled();

  assertEquals(before, ["", "store_restarted"]);
  assertEquals(await port.lastMid(ANN, ANN, 0), midAt(NOW + 2));
  await store.stop();
  main.close();
});

Deno.test("what follows a chat of unknown outcome is sent so that it is refused if that one is", async () => {
  const { clock } = stoppedClock();
  const [worker, other] = [system(1, clock), system(100, clock)];
  const [left, right] = inlinePorts(queueMicrotask);
  worker.link(100, left);
  other.link(1, right);
  const appends: Extract<StoreMessage, { type: "append" }>[] = [];
  other.spawn<StoreMessage>("store", () => ({
    receive: (m) => void (m.type === "append" && appends.push(m)),
  }));
  const client = new StoreClient(worker, 100, queueMicrotask, () => {}, () => {});
  const [first, second, third] = [session().bob, session().bob, session().bob];
  const send = async (from: Session, n: number) => {
    const { message: it } = message(n, n);
    client.append({
      session: from,
      seq: n,
      req: undefined,
      message: it,
      urgent: true,
      pushed: 9,
      cost: 1,
    });
    await settled();
  };
  const refuse = (n: number) => {
    const others = [{ n, outcome: { status: "try_later" } as const }];
    const run = appends[0]?.run ?? "";
    client.receive({ type: "outcomes", run, generation: 1, stored: [], pending: [], others });
  };

  await send(first, 1);
  await send(second, 2);
  refuse(1); // the second's is under way
  await send(second, 3);
  await send(third, 4);
  refuse(2);
  refuse(3);
  await send(second, 5);

  assertEquals(appends.map(({ first, generation }) => [first, generation]), [
    [1, 0],
    [2, 0],
    [3, 0],
    [4, 1],
    [5, 1],
  ]);
  for (const each of [worker, other]) each.close();
});

// ── clocks ──────────────────────────────────────────────────────────────────────────────────────

Deno.test("what a new worker stamps sorts after all that the one before it had pushed", async () => {
  const ahead = new HybridClock(() => NOW + 5_000); // has seen a message of a node that is ahead
  const pushed = ahead.next();
  const pool = new SessionPool(1);
  const posted: InLane[] = [];
  const attach = () =>
    pool.attach(
      0,
      new Link({
        post: ({ lane }) => posted.push(lane as InLane), // posted by our own pool
        listen() {},
        close() {},
      }, queueMicrotask),
    );
  const none = new Float64Array();
  attach();
  pool.receiveLane(0, {
    memos: [],
    bytes: new Uint8Array(),
    frames: none,
    done: none,
    time: ahead.time,
  });

  pool.detach(0);
  attach();
  pool.open(silentConnection(pool.nextConn()));
  await settled();
  const behind = new HybridClock(() => NOW);
  for (const lane of posted) behind.pass(lane.time);

  assert(behind.next() > pushed);
});

function silentConnection(conn: number): Connection {
  const never = new Promise<never>(() => {});
  return new Connection(
    conn,
    { read: () => never, write: () => never, close() {} },
    "",
    { maxQueuedBytes: 1, maxFrameBytes: 65_536, maxUnfinished: 1, framesPerTick: 0 },
    { onFrame() {}, onWritten() {}, onClosed() {} },
    () => NOW,
  );
}
