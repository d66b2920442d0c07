/**
 * A cluster under steady traffic loses a part at a time: node, Redis, MariaDB, nginx. Each time all
 * pairs must be talking again within 10 s, and in the end every acknowledged message must have
 * arrived once and in order.
 */

import { assert, assertEquals, assertLess } from "@std/assert";
import { connect } from "../../client/mod.ts";
import type { Client, ClientEvent, Queued } from "../../client/mod.ts";
import { TestCluster } from "../support/cluster_harness.ts";

const PAIRS = 6;
/** Between two messages of a sender, ms. */
const EVERY_MS = 25;
/** The promise: all talk again within this after a fault. */
const RECOVER_MS = 10_000;
/** How long the last messages may take, ms. */
const DRAIN_MS = 20_000;
const PASSWORD = "steady";

/** A sender and a receiver with their own records. */
class Pair {
  readonly sent: number[] = [];
  readonly acked = new Set<number>();
  readonly seen: number[] = [];
  #sender: Client | undefined;
  #receiver: Client | undefined;
  #to = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #waiting: { least: number; resolve: () => void }[] = [];
  readonly #sending: Promise<void>[] = [];

  async start(port: number, name: string): Promise<void> {
    this.#sender = await connect({ port, onEvent: (event) => this.#onSent(event) });
    this.#receiver = await connect({ port, onEvent: (event) => this.#onSeen(event) });
    await this.#sender.register(`${name} a`, PASSWORD);
    this.#to = await this.#receiver.register(`${name} b`, PASSWORD);
    await this.#sender.login({ name: `${name} a`, password: PASSWORD });
    await this.#receiver.login({ name: `${name} b`, password: PASSWORD });
    this.#timer = setInterval(() => this.#sending.push(this.#send()), EVERY_MS);
  }

  /** Resolves once the receiver has a message that was sent after now. */
  talking(): Promise<void> {
    const least = this.sent.length;
    return new Promise((resolve) => this.#waiting.push({ least, resolve }));
  }

  /** Stops sending and waits until everything is acknowledged and seen. */
  async finish(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#sending);
    const last = this.sent.length - 1;
    await new Promise<void>((resolve) => {
      const check = () => {
        if (this.seen.includes(last) && this.acked.size === this.sent.length) resolve();
        else this.#waiting.push({ least: 0, resolve: check });
      };
      check();
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#sender?.close();
    await this.#receiver?.close();
  }

  async #send(): Promise<void> {
    const number = this.sent.length;
    this.sent.push(number);
    const queued: Queued | undefined = await this.#sender?.sendTo(this.#to, `${number}`);
    assert(queued !== undefined);
  }

  #onSent(event: ClientEvent): void {
    if (event.type === "failed") throw new Error(`refused: ${event.errmsg}`);
    if (event.type !== "sent") return;
    this.acked.add(Number(event.msg));
    this.#wake(-1);
  }

  #onSeen(event: ClientEvent): void {
    if (event.type !== "message") return;
    const number = Number(event.message.msg);
    this.seen.push(number);
    this.#wake(number);
  }

  #wake(number: number): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const entry of waiting) {
      if (entry.least === 0 || number >= entry.least) entry.resolve();
      else this.#waiting.push(entry);
    }
  }
}

async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took over ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

Deno.test("a cluster under traffic outlives the loss of each of its parts", async (t) => {
  await using cluster = await TestCluster.start(3);
  const pairs = Array.from({ length: PAIRS }, () => new Pair());
  const talking = () => Promise.all(pairs.map((pair) => pair.talking()));
  const fault = async (name: string, cause: () => Promise<void>) => {
    await t.step(name, async () => {
      await cause();
      const began = performance.now();

      await within(2 * RECOVER_MS, `talking after: ${name}`, talking());

      assertLess(performance.now() - began, RECOVER_MS);
    });
  };
  const [first, second] = cluster.nodes;
  assert(first !== undefined && second !== undefined);
  try {
    await Promise.all(pairs.map((pair, i) => pair.start(cluster.nginx.port, `pair ${i}`)));
    await within(RECOVER_MS, "talking at all", talking());

    await fault("kill -9 of a node", () => first.kill9());
    await fault("the node returns", () => first.restart());
    await fault("kill -9 and restart of Redis", async () => {
      await cluster.redis.kill9();
      await cluster.redis.restart();
    });
    await fault("reload of nginx", () => cluster.nginx.reload());
    await fault("restart of MariaDB", () => cluster.mariadb.restart());
    await fault("kill -9 of MariaDB", async () => {
      await cluster.mariadb.kill9();
      await cluster.mariadb.restart();
    });
    await fault("Redis gone while a node dies", async () => {
      await cluster.redis.kill9();
      await second.kill9();
      await cluster.redis.restart();
      await second.restart();
    });

    await t.step("every acknowledged message arrived once and in order", async () => {
      await within(DRAIN_MS, "the last messages", Promise.all(pairs.map((p) => p.finish())));
      for (const pair of pairs) assertEquals(pair.seen, pair.sent);
    });
  } finally {
    await Promise.all(pairs.map((pair) => pair.close()));
  }
});
