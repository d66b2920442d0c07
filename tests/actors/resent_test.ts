/** A message that is sent again keeps its place among the replies to its first attempt. */

import { assert, assertEquals, assertLess } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import fc from "fast-check";
import { HybridClock, midTime } from "../../actors/hlc.ts";
import { TestServer } from "../support/server_harness.ts";

Deno.test("an id stamped again sorts before every reply to the lost one and after what was seen", () => {
  const step = fc.record({ ahead: fc.integer({ min: -3, max: 3 }), seen: fc.boolean() });

  fc.assert(
    fc.property(step, fc.integer({ min: 0, max: 5 }), ({ ahead, seen }, before) => {
      const now = 1_700_000_000_000;
      const first = new HybridClock(() => now);
      const other = new HybridClock(() => now + ahead);
      let last = "";
      for (let i = 0; i < before; i++) last = other.next();
      // What the sender had seen went through the node that then stamped its message.
      if (seen && last !== "") first.observe(last);
      const lost = first.next();
      other.observe(lost);
      const reply = other.next();

      const again = new HybridClock(() => now + 5_000).resent(now, seen ? last : "");

      assertLess(again, reply);
      if (seen && last !== "") assertLess(last, again);
      assertEquals(again.length, 26);
    }),
  );
});

Deno.test("two ids stamped again for the same moment differ, and follow each other when told to", () => {
  const clock = new HybridClock(() => 1_700_000_005_000);

  const first = clock.resent(1_700_000_000_000);
  const second = clock.resent(1_700_000_000_000, first);

  assertLess(first, second);
  assert(clock.resent(1_700_000_000_000) !== first);
  assertLess(second, clock.next());
});

Deno.test("what follows a message that was stamped again sorts after it, whatever clock it answers", () => {
  const ahead = new HybridClock(() => 1_700_000_009_000);
  const clock = new HybridClock(() => 1_700_000_005_000);

  const again = clock.resent(1_700_000_000_000, ahead.next());

  assertLess(again, clock.next());
});

Deno.test("what is said after a login or RESUME sorts after what the client tells to have seen", async () => {
  await using server = await TestServer.start();
  await using alice = await server.connect();
  const id = await alice.enter("alice");
  const ahead = (ms: number) => new HybridClock(() => Date.now() + ms).next();
  const said = async () => String((await alice.chat(id, "hello")).mid);
  const before = await said();

  await alice.ask({ msgid: MSGID.LOGOUT });
  const another = ahead(2_000);
  const { token } = await alice.login(id, undefined, { seen: another });
  const afterLogin = await said();
  await using second = await server.connect();
  const later = ahead(4_000);
  await second.ask({ msgid: MSGID.RESUME, v: 2, token, seen: later });
  const afterResume = String((await second.chat(id, "hello again")).mid);
  await using third = await server.connect();
  const tomorrow = ahead(86_400_000);
  await third.ask({ msgid: MSGID.RESUME, v: 2, token, seen: tomorrow });
  const afterNonsense = String((await third.chat(id, "and again")).mid);

  assertLess(before, another);
  assertLess(another, afterLogin);
  assertLess(afterLogin, later);
  assertLess(later, afterResume);
  assertLess(afterResume, afterNonsense);
  assertLess(afterNonsense, tomorrow);
});

Deno.test("the server believes a first attempt of the last minutes, and no other", async () => {
  await using server = await TestServer.start();
  await using alice = await server.connect();
  const id = await alice.enter("alice");
  const send = async (cid: string, fields: object) => {
    await alice.send({ msgid: MSGID.ONE_CHAT, toid: id, cid, msg: cid, ...fields });
    const { mid } = await alice.expect(MSGID.CHAT_ACK, (m) => m.cid === cid);
    return midTime(String(mid));
  };
  const now = Date.now();

  const times = [
    await send("a minute ago", { at: now - 60_000 }),
    await send("by a clock ahead of this one", { at: now + 60_000 }),
    await send("an hour ago", { at: now - 3_600_000 }),
    await send("tomorrow", { at: now + 86_400_000 }),
  ];

  assertEquals(times[0], now - 60_001);
  for (const time of times.slice(1)) assert(time >= now - 1 && time < now + 30_000);
});

Deno.test("a chat sent again that is stored is shown again to nobody, not even a v1 client", async () => {
  await using server = await TestServer.start();
  await using alice = await server.connect();
  await using bob = await server.connect(1);
  await alice.enter("alice");
  const b = await bob.enter("bob");
  const at = Date.now();
  const first = await alice.chat(b, "once", "c1");

  const again = { msgid: MSGID.ONE_CHAT, toid: b, cid: "c1", msg: "once", at, seen: first.mid };
  const answer = await alice.ask(again);
  await alice.chat(b, "twice", "c2");

  assertEquals([answer.msgid, answer.mid], [MSGID.CHAT_ACK, first.mid]);
  await bob.expect(MSGID.ONE_CHAT, (m) => m.msg === "twice");
  assertEquals(bob.untaken.map((m) => m.msg), ["once"]);
});

Deno.test("a chat sent again whose first attempt was lost arrives at once, and its sender is told", async () => {
  await using server = await TestServer.start();
  await using alice = await server.connect();
  await using bob = await server.connect();
  await alice.enter("alice", { want: ["delivered"] });
  const b = await bob.enter("bob");

  const again = { msgid: MSGID.ONE_CHAT, toid: b, cid: "c1", msg: "lost", at: Date.now() };
  const { mid } = await alice.ask(again);
  const push = await bob.take(MSGID.ONE_CHAT);
  const delivered = await alice.expect(MSGID.DELIVERED);

  assertEquals([push.mid, delivered.mids], [mid, [mid]]);
});
