/** The Redis bus against what befalls a Redis, its connections, and other nodes. */

import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import {
  openRedisBus,
  type RedisBus,
  type RedisBusOptions,
} from "../../actors/adapters/redis/bus.ts";
import { Pulse } from "../../actors/adapters/redis/heartbeat.ts";
import type { Claim } from "../../actors/ports.ts";
import {
  ensureServices,
  freePort,
  startRedis,
  type UrlService,
} from "../../server/cluster/services.ts";
import { BusProcess, type Member, Seen, until } from "../support/bus_process.ts";
import { FaultProxy } from "../support/fault_proxy.ts";
import { RedisView } from "../support/redis_view.ts";

/** Short leases: a beat every 100 ms, a dead connection noticed after 300–400 ms. */
const LEASE_MS = 500;
/** From the end of an outage until envelopes get through: the longest pause, and a beat. */
const RECOVERY_MS = 10_000;
const GRANTED: Claim = { granted: true, previous: undefined };
const A_GUESS: Claim = { ...GRANTED, isGuess: true };

interface Here extends Member {
  readonly bus: RedisBus;
}

/** A Redis of its own, a look at it, and nodes that are closed at the end. */
class Bench implements AsyncDisposable {
  readonly redis: UrlService;
  readonly view: RedisView;
  readonly #dir: string;
  readonly #members: Member[] = [];

  private constructor(redis: UrlService, view: RedisView, dir: string) {
    this.redis = redis;
    this.view = view;
    this.#dir = dir;
  }

  static async open(): Promise<Bench> {
    const dir = await Deno.makeTempDir({ prefix: "chat-redis-bus-" });
    const redis = await startRedis({ dir, binaries: await ensureServices({ install: true }) });
    return new Bench(redis, await RedisView.open(redis.url), dir);
  }

  async join(
    node: string,
    options: { port?: number } & Partial<RedisBusOptions> = {},
  ): Promise<Here> {
    const { port = this.redis.port, ...others } = options;
    const url = `redis://127.0.0.1:${port}`;
    const bus = openRedisBus({ url, node, leaseMs: LEASE_MS, ...others });
    const here: Here = { bus, seen: new Seen() };
    this.#members.push(here);
    await bus.start(here.seen);
    return here;
  }

  async spawn(node: string, leaseMs = LEASE_MS): Promise<BusProcess> {
    const { url } = this.redis;
    const process = await BusProcess.start({ url, node, leaseMs, prefix: "chat:" });
    this.#members.push(process);
    return process;
  }

  /** Kills a node process. */
  async kill(process: BusProcess): Promise<void> {
    this.#members.splice(this.#members.indexOf(process), 1);
    await process.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { bus } of this.#members) await bus.close();
    await this.view.close();
    await this.redis.stop();
    await Deno.remove(this.#dir, { recursive: true });
  }
}

/** Sends until one comes through, both ways. */
async function talk(a: Member, b: Member, limitMs = RECOVERY_MS): Promise<void> {
  const word = crypto.randomUUID();
  const heard = (by: Member, from: Member) => by.seen.texts(from.bus.node).includes(word);
  await until(
    () => {
      if (!heard(b, a)) a.bus.send(b.bus.node, word);
      if (!heard(a, b)) b.bus.broadcast(word);
      return heard(b, a) && heard(a, b);
    },
    limitMs,
    "envelopes get through",
  );
}

/** Id of a node's connection, as CLIENT LIST has it. */
async function clientId(bench: Bench, name: string, type: "normal" | "pubsub"): Promise<string> {
  const list = String(await bench.view.call("CLIENT", "LIST", "TYPE", type));
  const line = list.split("\n").find((client) => client.includes(` name=${name} `));
  const id = line?.match(/\bid=(\d+)/)?.[1];
  assert(id !== undefined, `no ${type} connection of ${name}`);
  return id;
}

const soundly = (...members: Here[]) => members.every(({ bus }) => bus.problem() === undefined);

Deno.test("the Redis bus survives a Redis that is killed and comes back empty", async () => {
  await using bench = await Bench.open();
  const a = await bench.join("a");
  const b = await bench.join("b");
  await talk(a, b);
  await a.bus.claim(1, 1, false);

  await bench.redis.kill9();
  await until(() => !soundly(a) && !soundly(b), 2_000, "the loss is seen");
  const askedAt = performance.now();
  assertEquals(await b.bus.claim(2, 1, false), A_GUESS);
  assert(performance.now() - askedAt <= 1_000, "a claim without Redis takes too long");
  a.bus.broadcast("to nobody");
  assert(a.bus.counters.dropped > 0);

  await bench.redis.restart();
  await until(() => a.seen.resets > 0 && b.seen.resets > 0, RECOVERY_MS, "both are told to reset");
  await a.bus.announce([{ user: 1, conn: 1 }]);
  await b.bus.announce([{ user: 2, conn: 1 }]);

  assert(soundly(a, b));
  await talk(a, b);
  assertEquals(await b.bus.claim(1, 2, false), { granted: false });
  assertEquals(await a.bus.claim(2, 2, false), { granted: false });
  assertEquals([a.seen.downs, b.seen.downs], [[], []], "an outage of Redis killed a node");
});

Deno.test("after a restart of Redis other nodes have a lease's time to come back", async () => {
  await using bench = await Bench.open();
  await using proxy = new FaultProxy(bench.redis.port);
  const leaseMs = 1_000;
  const a = await bench.join("a", { leaseMs, beatMs: 50 });
  const b = await bench.join("b", { leaseMs, beatMs: 50, port: proxy.port });
  await talk(a, b);

  proxy.refuse();
  await bench.redis.kill9();
  await bench.redis.restart();
  await until(() => a.seen.resets > 0, RECOVERY_MS, "it is told to reset");
  const upAt = performance.now();
  await until(() => a.seen.downs.length > 0, 2 * leaseMs, "the other is given up");

  const waitedMs = performance.now() - upAt;
  assert(waitedMs > 0.9 * leaseMs, `given up after ${waitedMs} ms`);
});

Deno.test("a FLUSHALL makes every node reset within a beat or two", async () => {
  await using bench = await Bench.open();
  const a = await bench.join("a");
  const b = await bench.join("b");
  await talk(a, b);
  await a.bus.claim(1, 1, false);

  await bench.view.call("FLUSHALL");
  await until(() => a.seen.resets > 0 && b.seen.resets > 0, LEASE_MS, "both are told to reset");
  await a.bus.announce([{ user: 1, conn: 1 }]);

  assertEquals(await b.bus.claim(1, 2, false), { granted: false });
  assertEquals(await bench.view.call("EXISTS", "chat:node:a", "chat:node:b"), 2);
  assertEquals([a.seen.downs, b.seen.downs], [[], []]);
});

Deno.test("a claim that finds the lease missing takes it again and makes the node reset", async () => {
  await using bench = await Bench.open();
  const a = await bench.join("a", { leaseMs: 8_000, beatMs: 2_000 }); // no beat comes before
  await a.bus.claim(1, 1, false);

  await bench.view.call("FLUSHALL");
  assertEquals(await a.bus.claim(2, 2, false), A_GUESS, "nobody knows who else has the user");

  await until(() => a.seen.resets > 0, 1_000, "it is told to reset");
  assertEquals(await bench.view.call("EXISTS", "chat:node:a"), 1);
});

for (const kind of ["normal", "pubsub"]) {
  Deno.test(`CLIENT KILL TYPE ${kind} costs a reset and nothing more`, async () => {
    await using bench = await Bench.open();
    const a = await bench.join("a");
    const b = await bench.join("b");
    await talk(a, b);

    await bench.view.call("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes");
    await until(() => a.seen.resets > 0 && b.seen.resets > 0, RECOVERY_MS, "both reset");

    await talk(a, b);
    assertEquals([a.seen.downs, b.seen.downs], [[], []]);
  });
}

Deno.test("a connection that goes silent is replaced, and claims do not wait for it", async () => {
  await using bench = await Bench.open();
  await using proxy = new FaultProxy(bench.redis.port);
  const a = await bench.join("a", { port: proxy.port });
  const b = await bench.join("b");
  await talk(a, b);

  proxy.stall();
  const askedAt = performance.now();
  const claim = a.bus.claim(1, 1, false);
  await until(() => !soundly(a), 2_000, "the silence is seen");
  assertEquals(await claim, A_GUESS);
  assert(performance.now() - askedAt <= 1_200, "a claim takes too long");
  await until(() => b.seen.downs.length > 0, 4 * LEASE_MS, "others take it for dead");

  proxy.heal();
  await until(() => a.seen.resets > 0, RECOVERY_MS, "it is told to reset");
  await talk(a, b);
  await until(() => soundly(a), 2_000, "it is well again");
  assertEquals(b.seen.ups, ["a", "a"]);
});

Deno.test("a subscription that dies alone is noticed by the own beat", async () => {
  await using bench = await Bench.open();
  await using deaf = new DeafProxy(bench.redis.port);
  const a = await bench.join("a", { port: deaf.port });
  const b = await bench.join("b");
  await talk(a, b);

  deaf.deafen();
  await until(() => a.seen.resets > 0, RECOVERY_MS, "it notices, and is told to reset");

  await talk(a, b);
  assertEquals([a.seen.downs, b.seen.downs], [[], []]);
});

Deno.test("a node killed with kill -9 is down for the others within its lease", async () => {
  await using bench = await Bench.open();
  const leaseMs = 1_500;
  const a = await bench.join("a", { leaseMs });
  const doomed = await bench.spawn("doomed", leaseMs);
  await talk(a, doomed);

  const killedAt = performance.now();
  await bench.kill(doomed);
  await until(() => a.seen.downs.length > 0, 2 * leaseMs, "the death is seen");

  assertEquals(a.seen.downs, ["doomed"]);
  assert(performance.now() - killedAt <= leaseMs);
  assertEquals(a.seen.resets, 0);
});

Deno.test("silence alone kills no node: its lease must be gone", async () => {
  await using bench = await Bench.open();
  const a = await bench.join("a");
  const leaseMs = 2 * LEASE_MS; // ten of its beats

  await bench.view.call("SET", "chat:node:quiet", "1", "PX", leaseMs);
  const heardAt = performance.now();
  await bench.view.call("PUBLISH", "chat:all", "bquiet\n1");
  await until(() => a.seen.ups.includes("quiet"), 2_000, "it is heard");
  await until(() => a.seen.downs.includes("quiet"), 2 * leaseMs, "its lease has run out");

  const silentMs = performance.now() - heardAt;
  assert(silentMs >= leaseMs, `dead after ${silentMs} ms`);
});

Deno.test("no envelope that follows a gap comes before the reset", async () => {
  await using bench = await Bench.open();
  const seen: (number | "reset")[] = [];
  const a = openRedisBus({ url: bench.redis.url, node: "a", leaseMs: LEASE_MS });
  await a.start({
    onEnvelope: (_from, text) => void seen.push(Number(text)),
    onReset: () => void seen.push("reset"),
    onNodeUp: () => {},
    onNodeDown: () => {},
  });
  const b = await bench.join("b");

  let sent = 0;
  const flood = setInterval(() => {
    for (let i = 0; i < 50; i++) b.bus.broadcast(`${++sent}`);
  }, 0);
  for (let cut = 0; cut < 5; cut++) {
    const resets = a.counters.resets;
    await bench.view.call("CLIENT", "KILL", "ID", await clientId(bench, "chat-a", "pubsub"));
    await until(() => a.counters.resets > resets, RECOVERY_MS, "it is told to reset");
    const upTo = sent;
    await until(() => Number(seen.at(-1)) > upTo, RECOVERY_MS, "envelopes come again");
  }
  clearInterval(flood);
  await a.close();

  let gaps = 0;
  seen.forEach((item, i) => {
    const before = seen[i - 1];
    if (typeof item !== "number" || before === undefined) return;
    if (before === "reset") gaps++;
    else assertEquals(item, before + 1, "a gap without a reset");
  });
  assertEquals(gaps, 5);
});

Deno.test("a node that was stopped past its lease resets and takes nothing back", async () => {
  await using bench = await Bench.open();
  const a = await bench.join("a");
  const sleeper = await bench.spawn("sleeper");
  await talk(a, sleeper);
  assertEquals(await sleeper.bus.claim(1, 1, false), GRANTED);
  assertEquals(await sleeper.bus.claim(2, 1, false), GRANTED);

  sleeper.signal("SIGSTOP");
  await until(() => a.seen.downs.length > 0, 2 * LEASE_MS, "it is taken for dead");
  assertEquals(await a.bus.claim(1, 9, false), GRANTED);
  sleeper.signal("SIGCONT");
  await until(() => sleeper.seen.resets > 0, 2_000, "it is told to reset");
  await sleeper.bus.announce([{ user: 1, conn: 1 }, { user: 2, conn: 1 }]);
  void sleeper.bus.release(1, 1);

  await talk(a, sleeper);
  assertEquals(await bench.view.entries("chat:"), new Map([[1, "a:9"], [2, "sleeper:1"]]));
  assertEquals(a.seen.ups, ["sleeper", "sleeper"]);
});

Deno.test("what a dead Redis does not take is bounded, dropped, counted, and followed by a reset", async () => {
  await using bench = await Bench.open();
  await using proxy = new FaultProxy(bench.redis.port);
  const a = await bench.join("a", { port: proxy.port, maxQueuedUnits: 100_000 });
  const text = "x".repeat(1_000);

  proxy.stall();
  for (let i = 0; i < 1_000; i++) a.bus.broadcast(text);
  const { dropped } = a.bus.counters;
  assert(dropped > 900 && dropped < 1_000, `${dropped} of 1,000 dropped`);

  proxy.heal();
  await until(() => a.seen.resets > 0, RECOVERY_MS, "it is told to reset");
  a.bus.broadcast(text);
  assertEquals(a.bus.counters.dropped, dropped);
});

Deno.test("envelopes get through a Redis that refuses writes, and problem() says why", async () => {
  await using bench = await Bench.open();
  const a = await bench.join("a");
  const b = await bench.join("b");
  await talk(a, b);

  await bench.view.call("CONFIG", "SET", "min-replicas-to-write", 1);
  await until(() => !soundly(a), 2_000, "the refusal is seen");
  assertMatch(a.bus.problem() ?? "", /refuses to write: .*NOREPLICAS/);
  assertEquals(await a.bus.claim(1, 1, false), A_GUESS);
  await talk(a, b, 1_000);

  await bench.view.call("CONFIG", "SET", "min-replicas-to-write", 0);
  await until(() => soundly(a) && a.seen.resets > 0, RECOVERY_MS, "it recovers and resets");
  await a.bus.announce([{ user: 1, conn: 1 }]);
  assertEquals(await b.bus.claim(1, 2, false), { granted: false });
});

Deno.test("a claim that Redis refuses is granted, and made good after a reset", async () => {
  await using bench = await Bench.open();
  const a = await bench.join("a");

  await bench.view.call("SET", "chat:online", "no hash");
  assertEquals(await a.bus.claim(1, 1, false), A_GUESS);
  await bench.view.call("DEL", "chat:online");
  await until(() => a.seen.resets > 0, 4 * LEASE_MS, "it is told to reset");
  await a.bus.announce([{ user: 1, conn: 1 }]);

  assertEquals(await bench.view.entries("chat:"), new Map([[1, "a:1"]]));
  assertEquals([a.bus.counters.unanswered, a.bus.counters.connects], [1, 1]);
});

Deno.test("a release that Redis never got is made good by announce", async () => {
  await using bench = await Bench.open();
  await using proxy = new FaultProxy(bench.redis.port);
  const a = await bench.join("a", { port: proxy.port });
  await a.bus.claim(1, 1, false);
  await a.bus.claim(2, 2, false);

  proxy.refuse();
  proxy.cut();
  await until(() => !soundly(a), 2_000, "the loss is seen");
  void a.bus.release(1, 1);
  proxy.heal();
  await until(() => a.seen.resets > 0, RECOVERY_MS, "it is told to reset");
  await a.bus.announce([{ user: 2, conn: 2 }]);

  assertEquals(await bench.view.entries("chat:"), new Map([[2, "a:2"]]));
});

Deno.test("entries left by nodes that nobody knew are swept after a lease", async () => {
  await using bench = await Bench.open();
  const entries = Array.from({ length: 2_000 }, (_, i) => [i + 1, "long-gone:7"]).flat();
  await bench.view.call("HSET", "chat:online", ...entries);

  const a = await bench.join("a");
  await a.bus.claim(5, 1, false);
  let size = 2_000;
  const end = performance.now() + 10 * LEASE_MS;
  while (size > 1 && performance.now() < end) size = (await bench.view.entries("chat:")).size;

  assertEquals(await bench.view.entries("chat:"), new Map([[5, "a:1"]]));
});

Deno.test("start rejects in time, with the reason, when there is no Redis", async () => {
  const nowhere = `redis://127.0.0.1:${freePort()}`;
  const bus = openRedisBus({ url: nowhere, node: "a", startMs: 300 });

  const error = await assertRejects(() => bus.start(new Seen()), Error, "ECONNREFUSED");

  assertMatch(error.message, /no bus over Redis at 127\.0\.0\.1:\d+ within 300 ms/);
  assertEquals(bus.problem(), "closed");
});

Deno.test("start rejects without giving the password away when it is wrong", async () => {
  await using bench = await Bench.open();
  await bench.view.call("CONFIG", "SET", "requirepass", "right");
  const url = `redis://:wr0ng@127.0.0.1:${bench.redis.port}`;
  const bus = openRedisBus({ url, node: "a", startMs: 300 });

  const error = await assertRejects(() => bus.start(new Seen()), Error, "WRONGPASS");

  assert(!error.message.includes("wr0ng"));
});

Deno.test("closing while Redis is silent takes no longer than saying goodbye may", async () => {
  await using bench = await Bench.open();
  await using proxy = new FaultProxy(bench.redis.port);
  const a = await bench.join("a", { port: proxy.port });

  proxy.stall();
  const startedAt = performance.now();
  await a.bus.close();

  assert(performance.now() - startedAt < 1_500);
});

Deno.test("options that cannot work are refused by name", () => {
  const url = "redis://127.0.0.1";
  assertThrows(() => openRedisBus({ url: "http://x", node: "a" }), TypeError, "url");
  assertThrows(() => openRedisBus({ url, node: "a b" }), TypeError, "node");
  assertThrows(() => openRedisBus({ url, node: "" }), TypeError, "node");
  assertThrows(() => openRedisBus({ url, node: "a", leaseMs: 10, beatMs: 5 }), RangeError, "lease");
});

Deno.test("the pulse calls a connection dead after three beats without any sign", () => {
  const pulse = new Pulse();
  const signs = { answers: 0, messages: 0 };
  const beat = (comesBack: boolean) => {
    const number = pulse.next();
    if (comesBack) [0, 1].forEach(() => pulse.echo(number));
    return pulse.judge(signs);
  };

  signs.answers = signs.messages = 1;
  assertEquals([beat(true), pulse.isUp], [undefined, true]);
  signs.answers++;
  assertEquals([beat(false), beat(false)], [undefined, undefined]);
  assertEquals(beat(false), "nothing comes through the subscription");

  signs.messages++;
  assertEquals(beat(false), "Redis does not answer");

  for (let i = 0; i < 5; i++, signs.answers++, signs.messages++) beat(false);
  assertEquals(beat(false), "own beats do not come back");
});

/**
 * Forwards bytes, and can stop forwarding to the clients that have subscribed: a connection that
 * is dead in one direction, while its process's other connection is well.
 */
class DeafProxy implements AsyncDisposable {
  readonly port: number;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #deaf = new Set<Deno.Conn>();
  readonly #subscribers = new Set<Deno.Conn>();
  readonly #open = new Set<Deno.Conn>();
  readonly #running: Promise<void>[] = [];
  #closed = false;

  constructor(target: number) {
    this.port = this.#listener.addr.port;
    this.#running.push(this.#accept(target));
  }

  /** Present subscribers hear no more; later ones do. */
  deafen(): void {
    for (const conn of this.#subscribers) this.#deaf.add(conn);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#listener.close();
    for (const conn of this.#open) this.#end(conn);
    await Promise.all(this.#running);
  }

  async #accept(target: number): Promise<void> {
    try {
      for await (const client of this.#listener) {
        const server = await Deno.connect({ hostname: "127.0.0.1", port: target });
        this.#open.add(client).add(server);
        this.#running.push(this.#pump(client, server, client), this.#pump(server, client, client));
      }
    } catch (error) {
      if (!this.#closed) throw error;
    }
  }

  async #pump(from: Deno.Conn, to: Deno.Conn, client: Deno.Conn): Promise<void> {
    const bytes = new Uint8Array(16 * 1024);
    try {
      for (;;) {
        const count = await from.read(bytes);
        if (count === null) break;
        const chunk = bytes.subarray(0, count);
        const asks = from === client && new TextDecoder().decode(chunk).includes("subscribe");
        if (asks) this.#subscribers.add(client);
        if (from !== client && this.#deaf.has(client)) continue;
        for (let at = 0; at < count;) at += await to.write(chunk.subarray(at));
      }
    } catch (error) {
      // Either side was closed, by us or by a peer that reset it.
      const isEnd = error instanceof Deno.errors.BadResource ||
        error instanceof Deno.errors.Interrupted ||
        error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.ConnectionReset;
      if (!isEnd) throw error;
    }
    this.#end(from);
    this.#end(to);
  }

  #end(conn: Deno.Conn): void {
    if (this.#open.delete(conn)) conn.close();
  }
}
