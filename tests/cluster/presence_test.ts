/** Nobody stays online on a dead node, and a node that comes back late takes nothing away. */

import { assert, assertEquals, assertLess } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { RedisView } from "../support/redis_view.ts";
import { TestCluster } from "../support/cluster_harness.ts";

/** The lease, and what noticing its end takes. */
const OFFLINE_MS = 10_000 + 3_000;

Deno.test("users of a killed node go offline within the lease, and RESUME elsewhere at once", async () => {
  await using cluster = await TestCluster.start(2);
  await using watcher = await cluster.connect(0);
  await watcher.enter("watcher");
  await using lost = await cluster.connect(1);
  const lostId = await lost.enter("lost");
  await using mover = await cluster.connect(1);
  const moverId = await mover.register("mover");
  const { token } = await mover.login(moverId);
  for (const friendid of [lostId, moverId]) {
    await watcher.ask({ msgid: MSGID.ADD_FRIEND, friendid });
  }
  const [, second] = cluster.nodes;
  assert(second !== undefined);

  await second.kill9();
  const began = performance.now();
  await using moved = await cluster.connect(0);
  const ack = await moved.ask({ msgid: MSGID.RESUME, token });

  assertEquals(ack.errno, 0);
  assertLess(performance.now() - began, 2_000);
  const isOffline = (id: number) => (m: { [field: string]: unknown }) =>
    m.id === id && m.state === "offline";
  await watcher.expect(MSGID.PRESENCE, isOffline(lostId), OFFLINE_MS);
  await using again = await cluster.connect(0);
  assertEquals((await again.login(lostId)).errno, 0);
  // The one who resumed stays online whatever is cleaned up of the dead node.
  await watcher.send({ msgid: MSGID.ONE_CHAT, toid: moverId, cid: "1", msg: "still there" });
  assertEquals((await moved.take(MSGID.ONE_CHAT)).msg, "still there");
  assertEquals(watcher.untaken.filter(isOffline(moverId)), []);
});

Deno.test("a node that was frozen past its lease finds its users gone and takes none back", async () => {
  await using cluster = await TestCluster.start(2);
  await using watcher = await cluster.connect(0);
  await watcher.enter("watcher");
  await using frozen = await cluster.connect(1);
  const id = await frozen.enter("frozen");
  await watcher.ask({ msgid: MSGID.ADD_FRIEND, friendid: id });
  const [, second] = cluster.nodes;
  assert(second !== undefined);

  second.pause();
  const gone = (m: { [field: string]: unknown }) => m.id === id && m.state === "offline";
  await watcher.expect(MSGID.PRESENCE, gone, OFFLINE_MS);
  await using newer = await cluster.connect(0);
  assertEquals((await newer.login(id)).errno, 0);
  second.resume();

  assertEquals((await frozen.expectBye()).errno, 2);
  await watcher.send({ msgid: MSGID.ONE_CHAT, toid: id, cid: "1", msg: "to the newer one" });
  assertEquals((await newer.take(MSGID.ONE_CHAT)).msg, "to the newer one");
  await using refused = await cluster.connect(1);
  assertEquals((await refused.login(id)).errno, 2);
});

Deno.test("a Redis that is emptied lets nobody take a place that somebody has on another node", async () => {
  await using cluster = await TestCluster.start(2);
  const users = 8;
  const held = [];
  for (let i = 0; i < users; i++) {
    const peer = await cluster.connect(0);
    held.push({ peer, id: await peer.enter(`user ${i}`) });
  }
  const view = await RedisView.open(cluster.redis.url);
  try {
    // Known there before: it is what the others go by while Redis knows nothing.
    await using watcher = await cluster.connect(1);
    await watcher.enter("watcher");
    for (const { id } of held) {
      await using other = await cluster.connect(1);
      assertEquals((await other.login(id)).errno, 2);
    }

    for (let round = 0; round < 2; round++) {
      await view.call("FLUSHALL");
      for (const { id } of held) {
        await using other = await cluster.connect(1);
        assertEquals((await other.login(id)).errno, 2, `user ${id} after FLUSHALL ${round}`);
      }
    }
    assert(held.every(({ peer }) => !peer.ended), "somebody has lost their place");
  } finally {
    await view.close();
    for (const { peer } of held) await peer[Symbol.asyncDispose]();
  }
});
