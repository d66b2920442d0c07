/** `deno task admin` to one node of a real cluster sees and ends the sessions of all of them. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { admin, type AdminOutput } from "../support/admin_process.ts";
import { TestCluster } from "../support/cluster_harness.ts";
import { until } from "../support/until.ts";

type Row = Record<string, unknown>;

/** More than fit into one page of the bus. */
const IDLE = 1_100;

Deno.test("deno task admin on one node reaches the sessions of every node", async (t) => {
  await using cluster = await TestCluster.start(2);
  const ask = (node: number, ...args: string[]) =>
    admin(["--data", `${cluster.dir}/node${node + 1}`, "--json", ...args]);
  const rows = async (node: number, ...args: string[]): Promise<Row[]> => {
    const { code, out, err } = await ask(node, ...args);
    assertEquals([code, err], [0, ""], args.join(" "));
    return JSON.parse(out);
  };
  const refusal = async (node: number, ...args: string[]): Promise<string> => {
    const { code, out, err } = await ask(node, ...args);
    assertEquals([code, out], [1, ""], args.join(" "));
    return err;
  };
  const names = [0, 1].map(async (node) => String((await rows(node, "status"))[0]?.node));
  const [first = "", second = ""] = await Promise.all(names);
  const alice = await cluster.connect(0);
  const a = await alice.enter("alice");
  await using other = await cluster.connect(1);
  const b = await other.register("bob");
  const bobOnSecond = async (password?: string) => {
    const peer = await cluster.connect(1);
    assertEquals((await peer.login(b, password)).errno, 0);
    return peer;
  };
  const sessions = (list: Row[]) =>
    list.filter(({ user }) => user !== 0).map(({ node, name }) => [name, node]).sort();

  await t.step("sessions names the node of each, whichever is asked", async () => {
    await using _bob = await bobOnSecond();
    for (const node of [0, 1]) {
      const list = await rows(node, "sessions");
      assertEquals(sessions(list), [["alice", first], ["bob", second]]);
    }
    const [own, ...more] = await rows(0, "sessions", "bob");
    assertEquals([own?.user, own?.node, more.length], [b, second, 0]);
  });

  await t.step(
    "disconnect ends a connection of the node that is named, by either form",
    async () => {
      await using bob = await bobOnSecond();
      const [own] = await rows(0, "sessions", "bob");
      assertStringIncludes(await refusal(0, "disconnect", "987654321"), "no connection 987654321");
      const missing = await refusal(0, "disconnect", `987654321@${second}`);
      assertStringIncludes(missing, `no connection 987654321 on the node ${second}`);
      assertStringIncludes(await refusal(0, "disconnect", "1@nowhere"), "no node nowhere");
      assertStringIncludes(await refusal(0, "disconnect", "x"), "no connection is called x");

      const [ended] = await rows(0, "disconnect", `${own?.conn}@${own?.node}`);
      assertEquals([ended?.user, ended?.node, ended?.disconnected], [b, second, true]);
      assertEquals((await bob.expectBye()).errno, 9);

      await using again = await bobOnSecond();
      assertEquals((await rows(0, "disconnect-user", "bob")).length, 1);
      assertEquals((await again.expectBye()).errno, 9);
      assertStringIncludes(await refusal(0, "disconnect-user", "bob"), "is offline");
      await alice.fence();
    },
  );

  await t.step("reset-password ends the session and its token on the other node", async () => {
    await using bob = await cluster.connect(1);
    const { token } = await bob.login(b);

    const [row] = await rows(0, "reset-password", "bob");

    assertEquals([row?.id, row?.sessionsEnded], [b, 1]);
    assertEquals((await bob.expectBye()).errno, 1);
    await using again = await cluster.connect(1);
    assertEquals((await again.ask({ msgid: MSGID.RESUME, token, v: 2 })).errno, 1);
    assertEquals((await again.login(b)).errno, 1);
    assertEquals((await again.login(b, String(row?.password))).errno, 0);
  });

  await t.step("a list longer than a page of the bus comes whole", async () => {
    const idle = [];
    try {
      for (let i = 0; i < IDLE; i++) idle.push(await cluster.connect(1));
      await Promise.all(idle.map((peer) => peer.fence())); // each worker opens its own in its turn
      const list = await rows(0, "sessions");
      const there = list.filter(({ node }) => node === second);
      assert(there.length >= IDLE, `${there.length} rows`);
      assertEquals(new Set(there.map(({ conn }) => conn)).size, there.length);
    } finally {
      for (const peer of idle) await peer[Symbol.asyncDispose]();
    }
  });

  await t.step(
    "without Redis the other node is named, and found again when Redis is back",
    async () => {
      await cluster.redis.kill9();
      const { code, out, err } = await ask(0, "sessions");
      assertEquals([code, sessions(JSON.parse(out))], [3, [["alice", first]]]);
      assertStringIncludes(err, `no answer from node ${second}`);
      await cluster.redis.restart();
      await until(async () => (await ask(0, "sessions")).code === 0, 30_000);
    },
  );

  await t.step("a node that does not answer is named in time, and the rest is done", async () => {
    const bob = await bobOnSecond(await newPassword(rows));
    const assertPartly = ({ code, err }: AdminOutput) => {
      assertEquals(code, 3, err);
      assertStringIncludes(err, `no answer from node ${second}`);
    };
    cluster.nodes[1]?.pause();
    try {
      const began = performance.now();
      // At once: the node's lease lasts hardly longer than two of these.
      const [listed, reset] = await Promise.all([
        ask(0, "sessions"),
        ask(0, "reset-password", "bob"),
      ]);
      assert(performance.now() - began < 15_000);
      assertPartly(listed);
      assertEquals(sessions(JSON.parse(listed.out)), [["alice", first]]);
      assertPartly(reset);
      const [row] = JSON.parse(reset.out);
      assertEquals([row.id, row.sessionsEnded, typeof row.password], [b, 0, "string"]);
      const { out } = await ask(0, "disconnect-user", "alice");
      assertEquals(JSON.parse(out).length, 1);
      assertEquals((await alice.expectBye()).errno, 9);
    } finally {
      cluster.nodes[1]?.resume();
    }
    await alice[Symbol.asyncDispose]();
    await bob[Symbol.asyncDispose]();
  });

  await t.step("a dead node is not asked any more once its lease is gone", async () => {
    await cluster.nodes[1]?.kill9();
    await until(async () => (await ask(0, "sessions")).code === 0, 30_000);
    assertEquals(sessions(await rows(0, "sessions", String(a))), []);
  });
});

async function newPassword(rows: (node: number, ...args: string[]) => Promise<Row[]>) {
  const [row] = await rows(1, "reset-password", "bob");
  return String(row?.password);
}
