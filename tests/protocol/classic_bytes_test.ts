/** What a classic client, which reads 1,024 bytes at a time, is sent. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { MSGID } from "@chat/wire/messages.ts";
import type { Message } from "../../actors/ports.ts";
import { piecesV1, utf8Length } from "../../actors/sessions/push_text.ts";
import { classicLists } from "../../actors/handlers/classic_lists.ts";
import { type TestPeer, TestServer } from "../support/server_harness.ts";

const MOST = 1_023;
const list = (value: unknown): Record<string, unknown>[] =>
  Array.isArray(value) ? value.map((text) => JSON.parse(String(text))) : [];

function assertSmall(peer: TestPeer): void {
  const encoder = new TextEncoder();
  for (const message of peer.received) {
    const length = encoder.encode(`${JSON.stringify(message)}\n`).length;
    assert(length <= MOST, `${length} bytes: ${JSON.stringify(message).slice(0, 200)}`);
  }
}

Deno.test("nothing that a v1 client is sent is larger than it reads at a time, and nothing is missing", async () => {
  await using server = await TestServer.start();
  await using alice = await server.connect(2);
  await using bob = await server.connect(1);
  const a = await alice.enter("alice");
  const b = await bob.register("bob");
  const sent = Array.from({ length: 40 }, (_, i) => `offline ${i} ${"日本".repeat(i)}`);
  for (const [i, msg] of sent.entries()) await alice.chat(b, msg, `${i}`);

  const ack = await bob.login(b);
  const texts = list(ack.offlinemsg).map((m) => m.msg);
  while (texts.length < sent.length) texts.push((await bob.expect(MSGID.ONE_CHAT)).msg);
  assertEquals(texts, sent);

  const long = 'a😀日"\\\n'.repeat(700);
  await alice.chat(b, long, "long");
  let got = "";
  while (got.length < long.length) {
    const piece = await bob.expect(MSGID.ONE_CHAT);
    assertEquals([piece.id, piece.name, piece.toid], [a, "alice", b]);
    got += String(piece.msg);
  }
  assertEquals(got, long);
  assertSmall(bob);
  await using again = await server.connect(1);
  await bob.send({ msgid: MSGID.LOGOUT });
  await bob.fence();
  assertEquals((await again.login(b)).offlinemsg, undefined, "its last piece received it");
});

Deno.test("lists of a v1 log-in are cut, members first, and say how many are missing", async () => {
  await using server = await TestServer.start({ flags: ["--max-registrations", "0"] });
  await using alice = await server.connect(2);
  await using bob = await server.connect(1);
  await alice.enter("alice");
  const b = await bob.register("bob");
  await using rich = await server.connect(2);
  await rich.login(b);
  for (let i = 0; i < 8; i++) {
    const id = await alice.register(`friend number ${i}`);
    await rich.ask({ msgid: MSGID.ADD_FRIEND, friendid: id });
    await alice.ask({ msgid: MSGID.CREATE_GROUP, groupname: `group number ${i}` });
    await rich.ask({ msgid: MSGID.JOIN_GROUP, groupname: `group number ${i}` });
  }
  await rich.ask({ msgid: MSGID.LOGOUT });

  const ack = await bob.login(b);

  const friends = list(ack.friends).map((friend) => friend.name);
  assertEquals(friends, Array.from({ length: 8 }, (_, i) => `friend number ${i}`));
  const names = list(ack.groups).map((group) => String(group.groupname));
  const note = /^\((\d+) more\)$/.exec(names.at(-1) ?? "");
  assertEquals(names.length - 1 + Number(note?.[1]), 8, names.join());
  assertSmall(bob);
});

Deno.test("--classic-bytes 0: a long text is one object", async () => {
  await using server = await TestServer.start({ flags: ["--classic-bytes", "0"] });
  await using alice = await server.connect(2);
  await using bob = await server.connect(1);
  await alice.enter("alice");
  const b = await bob.enter("bob");
  await alice.chat(b, "x".repeat(5_000));
  assertEquals((await bob.expect(MSGID.ONE_CHAT)).msg, "x".repeat(5_000));
});

Deno.test("a chat sent again under its cid, without saying so, is shown to a v1 client once", async () => {
  await using server = await TestServer.start();
  await using alice = await server.connect(2);
  await using bob = await server.connect(1);
  await alice.enter("alice");
  const b = await bob.enter("bob");
  for (let i = 0; i < 3; i++) await alice.chat(b, "once", "same");
  await alice.chat(b, "after");
  assertEquals((await bob.expect(MSGID.ONE_CHAT)).msg, "once");
  assertEquals((await bob.expect(MSGID.ONE_CHAT)).msg, "after");
});

Deno.test("pieces are no larger than asked, are cut between characters, and make up the text", () => {
  const message = fc.record({
    msg: fc.string({ unit: "binary", minLength: 1, maxLength: 3_000 }),
    name: fc.string({ unit: "grapheme", minLength: 1, maxLength: 10 }),
    extra: fc.oneof(
      fc.constant(""),
      fc.string({ maxLength: 600 }).map((s) => JSON.stringify({ s })),
    ),
  });
  fc.assert(
    fc.property(message, ({ msg, name, extra }) => {
      const whole: Message = {
        ...{ mid: "", cid: "", from: 7, ts: 0, toid: 8, groupid: 0, prev: "" },
        ...{ msg: msg.toWellFormed(), name, extra },
      };
      const pieces = piecesV1(whole, 1_022);
      for (const piece of pieces) {
        assert(utf8Length(piece) <= 1_022, `${utf8Length(piece)}`);
        assertEquals(utf8Length(piece), new TextEncoder().encode(piece).length);
      }
      assertEquals(pieces.map((piece) => JSON.parse(piece).msg).join(""), whole.msg);
    }),
    { numRuns: 300 },
  );
});

Deno.test("whatever somebody's lists are, they fit", () => {
  const person = fc.record({
    id: fc.nat(),
    name: fc.string({ unit: "grapheme", maxLength: 12 }),
    state: fc.constantFrom("online" as const, "offline" as const),
  });
  const group = fc.record({
    id: fc.nat(),
    groupname: fc.string({ unit: "grapheme", maxLength: 12 }),
    groupdesc: fc.string({ unit: "grapheme", maxLength: 40 }),
    users: fc.array(person.map((p) => ({ ...p, role: "normal" as const })), { maxLength: 30 }),
  });
  fc.assert(
    fc.property(
      fc.array(person, { maxLength: 40 }),
      fc.array(group, { maxLength: 20 }),
      (friends, groups) => {
        const who = { id: 7, name: "somebody" };
        const lists = classicLists(who, friends, groups, 1_022);
        const ack = JSON.stringify({ msgid: MSGID.LOGIN_ACK, errno: 0, ...who, ...lists });
        assert(utf8Length(ack) <= 1_022, `${utf8Length(ack)}`);
        if (friends.length > 0) assert(list(lists.friends).length > 0);
        if (groups.length > 0) assert(list(lists.groups).length > 0);
      },
    ),
  );
});
