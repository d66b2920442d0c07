/**
 * What every BusPort that connects nodes must do, as named cases over a cluster of buses. No
 * Deno.test: tests/actors/bus_contract_test.ts runs the cases over each kind.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Claim } from "../../actors/ports.ts";
import { type Entries, type Member, until, untilAsync } from "./bus_process.ts";

/** Nodes that share one bus. */
export interface Cluster {
  /** A node that has started. */
  join(): Promise<Member>;
  /** One that {@linkcode Cluster.kill} can kill; its bus can do less. */
  joinMortal(): Promise<Member>;
  /** As kill -9. */
  kill(member: Member): Promise<void>;
  /** What the shared table holds. */
  entries(): Promise<Entries>;
  /** A killed node is dead within this. */
  readonly leaseMs: number;
}

/** For what takes no fault: one turn on a busy machine. */
const SOON_MS = 3_000;

const GRANTED: Claim = { granted: true, previous: undefined };
const REFUSED: Claim = { granted: false };

/** Waits until the nodes know each other. */
async function acquainted(...members: Member[]): Promise<void> {
  const knowsAll = (m: Member) =>
    members.every((other) => other === m || m.seen.ups.includes(other.bus.node));
  await until(() => members.every(knowsAll), SOON_MS, "the nodes know each other");
}

/** Sends a last text and waits until it is there: all before it has come, or is lost. */
async function fence(from: Member, to: Member): Promise<string[]> {
  from.bus.send(to.bus.node, "fence");
  await until(() => to.seen.texts(from.bus.node).includes("fence"), SOON_MS, "the fence comes");
  return to.seen.texts(from.bus.node).filter((text) => text !== "fence");
}

/** Any text, lone surrogates included. */
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 50 })
    .map((units) => String.fromCharCode(...units)),
);

/** Names are sentences; each case gets a cluster of its own. */
export const CASES: Record<string, (cluster: Cluster) => Promise<void>> = {
  "nodes learn of each other": async (cluster) => {
    const a = await cluster.join();
    const b = await cluster.join();

    await acquainted(a, b);

    assertEquals(a.seen.ups, [b.bus.node]);
    assertEquals(b.seen.ups, [a.bus.node]);
    assertEquals([a.bus.problem(), b.bus.problem()], [undefined, undefined]);
  },

  "of two nodes that claim a user at once exactly one gets it": async (cluster) => {
    const a = await cluster.join();
    const b = await cluster.join();
    const users = Array.from({ length: 50 }, (_, i) => i + 1);

    const claims = await Promise.all(
      users.map((user) =>
        Promise.all([a.bus.claim(user, user, false), b.bus.claim(user, user, false)])
      ),
    );

    for (const pair of claims) {
      assertEquals(pair.filter((claim) => claim.granted).length, 1);
    }
    const entries = await cluster.entries();
    claims.forEach(([first], i) => {
      const winner = first?.granted ? a : b;
      assertEquals(entries.get(i + 1), `${winner.bus.node}:${i + 1}`);
    });
  },

  "a takeover gets the entry and learns who held it": async (cluster) => {
    const a = await cluster.join();
    const b = await cluster.join();
    assertEquals(await a.bus.claim(7, 1, false), GRANTED);

    const refused = await b.bus.claim(7, 2, false);
    const taken = await b.bus.claim(7, 2, true);

    assertEquals(refused, REFUSED);
    assertEquals(taken, { granted: true, previous: { node: a.bus.node, conn: 1 } });
    assertEquals(await cluster.entries(), new Map([[7, `${b.bus.node}:2`]]));
  },

  "a node replaces its own entry, and claiming the same again changes nothing": async (cluster) => {
    const a = await cluster.join();
    await a.bus.claim(7, 1, false);

    assertEquals(await a.bus.claim(7, 1, false), GRANTED);
    assertEquals(await a.bus.claim(7, 2, false), {
      granted: true,
      previous: { node: a.bus.node, conn: 1 },
    });
  },

  "whoever awaited a release may be followed on any node": async (cluster) => {
    const a = await cluster.join();
    const b = await cluster.join();
    for (let user = 1; user <= 50; user++) {
      assertEquals(await a.bus.claim(user, user, false), GRANTED);
      await a.bus.release(user, user);
      assertEquals(await b.bus.claim(user, user, false), GRANTED, `user ${user}`);
    }
  },

  "a release by an old location never deletes a newer entry": async (cluster) => {
    const a = await cluster.join();
    const b = await cluster.join();
    await a.bus.claim(7, 1, false);
    await b.bus.claim(7, 2, true);

    void a.bus.release(7, 1);
    await a.bus.claim(8, 3, false); // commands of one node keep their order
    assertEquals((await cluster.entries()).get(7), `${b.bus.node}:2`);

    void b.bus.release(7, 2);
    assertEquals(await b.bus.claim(9, 4, false), GRANTED);
    assertEquals((await cluster.entries()).get(7), undefined);
  },

  "entries of a killed node are void and get cleaned, newer ones stay": async (cluster) => {
    const a = await cluster.join();
    const doomed = await cluster.joinMortal();
    await acquainted(a, doomed);
    const users = Array.from({ length: 500 }, (_, i) => i + 1);
    const claims = await Promise.all(users.map((user) => doomed.bus.claim(user, user, false)));
    assertEquals(claims, users.map(() => GRANTED));
    assertEquals(await a.bus.claim(1, 1_001, true), {
      granted: true,
      previous: { node: doomed.bus.node, conn: 1 },
    });
    assertEquals(await a.bus.claim(2, 1_002, false), REFUSED);

    await cluster.kill(doomed);
    const killedAt = performance.now();
    await until(() => a.seen.downs.length > 0, 2 * cluster.leaseMs, "the death is seen");

    assertEquals(a.seen.downs, [doomed.bus.node]);
    const tookMs = performance.now() - killedAt;
    assert(tookMs <= cluster.leaseMs, `the death was seen after ${tookMs} ms`);
    assertEquals(await a.bus.claim(2, 1_002, false), GRANTED);
    await untilAsync(async () => (await cluster.entries()).size === 2, SOON_MS, "cleaned");
    assertEquals(
      await cluster.entries(),
      new Map([[1, `${a.bus.node}:1001`], [2, `${a.bus.node}:1002`]]),
    );
  },

  "a node that closes is gone at once, and its entries are void": async (cluster) => {
    const a = await cluster.join();
    const b = await cluster.join();
    await acquainted(a, b);
    await b.bus.claim(7, 1, false);

    await b.bus.close();
    // Long before its lease would have run out.
    await until(() => a.seen.downs.length > 0, cluster.leaseMs / 3, "the goodbye comes");

    assertEquals(a.seen.downs, [b.bus.node]);
    assertEquals(await a.bus.claim(7, 2, false), GRANTED);
  },

  "envelopes of one sender come in order, its own come not at all": async (cluster) => {
    const a = await cluster.join();
    const b = await cluster.join();
    const c = await cluster.join();
    await acquainted(a, b, c);

    const expected: string[] = [];
    for (let i = 0; i < 300; i++) {
      const text = `message ${i}`;
      if (i % 3 === 0) a.bus.broadcast(text);
      else a.bus.send(b.bus.node, text);
      expected.push(text);
    }
    a.bus.send(a.bus.node, "to myself");

    assertEquals(await fence(a, b), expected);
    assertEquals(await fence(a, c), expected.filter((_, i) => i % 3 === 0));
    await fence(b, a);
    assertEquals(a.seen.texts(a.bus.node), []);
  },

  "an envelope arrives exactly as it was sent": async (cluster) => {
    const a = await cluster.join();
    const b = await cluster.join();
    await acquainted(a, b);
    const random = fc.sample(anyText, { numRuns: 100, seed: 20_260_101 });
    const texts = [
      "",
      "\n",
      "\0\r\n\n \t",
      "\ufeffBOM",
      "漢字 😀 \u{10ffff} \u2028\u2029",
      "\ud800 alone \udfff",
      "x".repeat(1_000_000),
      "漢😀".repeat(300_000),
      ...random,
    ];

    for (const text of texts) a.bus.send(b.bus.node, text);

    const got = await fence(a, b);
    assertEquals(got.length, texts.length);
    texts.forEach((text, i) => assert(got[i] === text, `text ${i} differs`));
  },

  "announce writes what is missing, deletes what nobody holds, spares others": async (cluster) => {
    const a = await cluster.join();
    const b = await cluster.join();
    await b.bus.claim(1, 10, false);
    await a.bus.claim(2, 20, false);
    await a.bus.claim(3, 30, false);
    void a.bus.release(3, 30);

    await a.bus.announce([{ user: 1, conn: 11 }, { user: 2, conn: 20 }, { user: 4, conn: 40 }]);

    assertEquals(
      await cluster.entries(),
      new Map([[1, `${b.bus.node}:10`], [2, `${a.bus.node}:20`], [4, `${a.bus.node}:40`]]),
    );
  },

  "announce corrects which connection holds a user, but not a claim under way": async (cluster) => {
    const a = await cluster.join();
    await a.bus.claim(1, 10, false);
    await a.bus.claim(1, 11, false);
    await a.bus.claim(2, 20, false);

    const claim = a.bus.claim(2, 21, true);
    await a.bus.announce([{ user: 1, conn: 10 }, { user: 2, conn: 20 }]);
    await claim;

    assertEquals(
      await cluster.entries(),
      new Map([[1, `${a.bus.node}:10`], [2, `${a.bus.node}:21`]]),
    );
    void a.bus.release(1, 10);
    void a.bus.release(2, 21);
    await a.bus.claim(3, 30, false);
    assertEquals(await cluster.entries(), new Map([[3, `${a.bus.node}:30`]]));
  },
};
