/** The simulation's bus: the same seed gives the same run, and each fault does what it stands for. */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { Claim, Clock } from "../../actors/ports.ts";
import { type Member, Seen } from "./bus_process.ts";
import { createHub, type Hub } from "./hub_bus.ts";

const GRANTED: Claim = { granted: true, previous: undefined };
const LEASE_MS = 10_000;

/** Time that passes only when told to. Between two timers every pending promise is settled. */
class TestClock implements Clock {
  #now = 0;
  #timers: { at: number; fn: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { at: this.#now + ms, fn };
    this.#timers.push(timer);
    return () => this.#timers = this.#timers.filter((other) => other !== timer);
  }

  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#timers.reduce<{ at: number; fn: () => void } | undefined>(
        (first, timer) => first && first.at <= timer.at ? first : timer,
        undefined,
      );
      if (!next || next.at > end) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = next.at;
      next.fn();
      for (let hop = 0; hop < 10; hop++) await undefined; // longest chain of promises here: 4
    }
    this.#now = end;
  }
}

interface World {
  readonly clock: TestClock;
  readonly hub: Hub;
  readonly members: readonly [Member, Member, Member];
}

/** Three nodes that know each other: a, b, c. */
async function world(seed = 1): Promise<World> {
  const clock = new TestClock();
  const hub = createHub({ clock, seed, leaseMs: LEASE_MS });
  const join = (node: string): Member => {
    const member = { bus: hub.bus(node), seen: new Seen() };
    void member.bus.start(member.seen);
    return member;
  };
  const members = [join("a"), join("b"), join("c")] as const;
  await clock.pass(10);
  return { clock, hub, members };
}

Deno.test("one seed gives one run, another seed another", async () => {
  const run = async (seed: number) => {
    const { clock, hub, members: [a, b, c] } = await world(seed);
    hub.faults.delayMs = [0, 100];
    hub.faults.dropRate = 0.1;
    for (let i = 0; i < 50; i++) {
      a.bus.broadcast(`a${i}`);
      b.bus.broadcast(`b${i}`);
      await clock.pass(10);
    }
    await clock.pass(1_000);
    return c.seen.envelopes.map((e) => e.text).join(" ");
  };

  const [first, again, other] = [await run(42), await run(42), await run(43)];

  assertEquals(first, again);
  assertNotEquals(first, other);
});

Deno.test("delays reorder nodes, never one node's envelopes", async () => {
  const { clock, hub, members: [a, b, c] } = await world();
  hub.faults.delayMs = [0, 500];
  const sent: string[] = [];
  for (let i = 0; i < 100; i++) {
    for (const { bus } of [a, b]) bus.send("c", `${bus.node}${i}`);
    sent.push(`a${i}`, `b${i}`);
    await clock.pass(5);
  }
  await clock.pass(5_000);

  assertEquals(c.seen.texts("a"), sent.filter((text) => text.startsWith("a")));
  assertEquals(c.seen.texts("b"), sent.filter((text) => text.startsWith("b")));
  assertNotEquals(c.seen.envelopes.map((e) => e.text), sent);
});

Deno.test("a dropped envelope is followed by one reset of its sender", async () => {
  const { clock, hub, members: [a, b] } = await world();
  hub.faults.dropRate = 1;
  for (let i = 0; i < 10; i++) a.bus.broadcast("lost");
  hub.faults.dropRate = 0;
  await clock.pass(2 * LEASE_MS);

  assertEquals([a.seen.resets, b.seen.resets], [1, 0]);
  assertEquals(b.seen.envelopes, []);
});

Deno.test("a node that is cut off grants claims in time, and resets when it is back", async () => {
  const { clock, hub, members: [a, b, c] } = await world();
  hub.cut("a");
  a.bus.broadcast("lost");
  const claims: Claim[] = [];
  void a.bus.claim(1, 1, false).then((claim) => claims.push(claim));
  await clock.pass(1_000);
  assertEquals(claims, [{ ...GRANTED, isGuess: true }]);
  assertNotEquals(a.bus.problem(), undefined);
  await clock.pass(LEASE_MS);
  assertEquals([b.seen.downs, c.seen.downs, a.seen.downs], [["a"], ["a"], []]);

  hub.heal("a");
  await clock.pass(100);
  void a.bus.announce([{ user: 1, conn: 1 }]);
  a.bus.broadcast("back");
  await clock.pass(100);

  assertEquals([a.seen.resets, a.bus.problem()], [1, undefined]);
  assertEquals(b.seen.ups, ["a", "c", "a"]);
  assertEquals(b.seen.texts("a"), ["back"]);
  assertEquals(hub.online, new Map([[1, { node: "a", conn: 1 }]]));
});

Deno.test("a node that died while another was cut off is found dead later", async () => {
  const { clock, hub, members: [a, b] } = await world();
  hub.cut("a");
  hub.kill("c");
  await clock.pass(LEASE_MS + 10);
  hub.heal("a");
  await clock.pass(100);
  assertEquals([a.seen.downs, b.seen.downs[0]], [[], "a"]);

  await clock.pass(LEASE_MS);

  assertEquals(a.seen.downs, ["c"]);
});

Deno.test("a node paused past its lease gets what waited, then resets", async () => {
  const { clock, hub, members: [a, b] } = await world();
  void a.bus.claim(1, 1, false);
  await clock.pass(10);
  hub.pause("a");
  b.bus.broadcast("while you slept");
  await clock.pass(LEASE_MS + 100);
  assertEquals([b.seen.downs, a.seen.envelopes.length, hub.online.size], [["a"], 0, 0]);

  hub.resume("a");
  assertEquals(a.seen.texts("b"), ["while you slept"]);
  await clock.pass(1_000);

  assertEquals([a.seen.resets, b.seen.ups], [1, ["a", "c", "a"]]);
});

Deno.test("a short pause goes unnoticed", async () => {
  const { clock, hub, members: [a, b] } = await world();
  hub.pause("a");
  await clock.pass(LEASE_MS / 2);
  hub.resume("a");
  await clock.pass(2 * LEASE_MS);

  assertEquals([a.seen.resets, b.seen.downs], [0, []]);
});

Deno.test("a flush resets every node", async () => {
  const { clock, hub, members } = await world();
  hub.flush();
  await clock.pass(1_000);

  assertEquals(members.map(({ seen }) => seen.resets), [1, 1, 1]);
  assert(["a", "b", "c"].every((node) => hub.leases.has(node)));
});
