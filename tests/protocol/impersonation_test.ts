/** Nobody speaks for another: the sender is the session's user, whatever a client writes (G8). */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { type TestPeer, TestServer } from "../support/server_harness.ts";

/** Text of everything a peer has read. */
function raw(peer: TestPeer): string {
  const decoder = new TextDecoder();
  return peer.reads.map((bytes) => decoder.decode(bytes, { stream: true })).join("");
}

/** Ways to write somebody else's id and name into an object. */
function forgeries(id: number, name: string): string[] {
  return [
    `"id":${id},"name":"${name}"`,
    `"id":"${id}","name":["${name}"]`,
    `"\\u0069d":${id},"n\\u0061me":"${name}"`,
    `"__proto__":{"id":${id},"name":"${name}"},"constructor":{"id":${id}}`,
    `"from":${id},"user":${id},"mid":"00000000000000000000000000","ts":1`,
    `"id":1,"id":${id},"name":"x","name":"${name}"`,
  ];
}

Deno.test("a v1 client's chats carry its own id and name, however often it writes others", async () => {
  await using server = await TestServer.start();
  await using mallory = await server.connect(1);
  await using alice = await server.connect(1);
  await using bob = await server.connect(1);
  await using modern = await server.connect(2);
  const m = await mallory.enter("mallory");
  const a = await alice.enter("alice");
  const b = await bob.enter("bob");
  const n = await modern.enter("modern");
  await mallory.send({ msgid: MSGID.CREATE_GROUP, id: a, groupname: "group" });
  for (const peer of [bob, modern]) {
    await peer.send({ msgid: MSGID.JOIN_GROUP, groupid: 1, id: a });
  }
  await bob.fence();
  await modern.expect(MSGID.OK);

  for (const fields of forgeries(a, "alice")) {
    for (
      const [text, msgid, recipients] of [
        [`{${fields},"msgid":6,"to":${b},"msg":"x","time":"t"}`, MSGID.ONE_CHAT, [bob]],
        [`{"msgid":6,"to":${n},"msg":"x",${fields}}`, MSGID.ONE_CHAT, [modern]],
        [`{"msgid":10,"groupid":1,"msg":"x",${fields}}`, MSGID.GROUP_CHAT, [bob, modern]],
      ] as const
    ) {
      await mallory.sendText(text);
      for (const peer of recipients) {
        const push = await peer.expect(msgid);
        assertEquals([push.id, push.name], [m, "mallory"], text);
        if (peer === modern) await peer.send({ msgid: MSGID.RECV_ACK, mids: [push.mid] });
      }
    }
  }

  // A parser that takes the first of two equal keys must read the same sender as one that takes
  // the last.
  for (const line of raw(bob).split("\n").filter((l) => l.includes('"msg":"x"'))) {
    assertEquals(line.match(/,"id":/g)?.length, 1, line);
    assertEquals(line.match(/,"name":/g)?.length, 1, line);
  }
});

Deno.test("a v1 recipient's offline messages name their true sender", async () => {
  await using server = await TestServer.start();
  await using mallory = await server.connect(1);
  await using bob = await server.connect(1);
  const m = await mallory.enter("mallory");
  const a = await mallory.register("alice");
  const b = await bob.register("bob");
  await mallory.sendText(`{"msgid":6,"id":${a},"name":"alice","to":${b},"msg":"x","id":${a}}`);
  await mallory.fence();

  const { offlinemsg } = await bob.login(b);

  const [text = ""] = offlinemsg as string[];
  const message = JSON.parse(text);
  assertEquals([message.id, message.name], [m, "mallory"]);
  assertEquals(text.match(/,"id":/g)?.length, 1);
});

Deno.test("a v2 client's id, name, mid and time count for nothing", async () => {
  await using server = await TestServer.start();
  await using mallory = await server.connect();
  await using bob = await server.connect();
  const m = await mallory.enter("mallory");
  const a = await mallory.register("alice");
  const b = await bob.enter("bob");
  const made = await bob.ask({ msgid: MSGID.CREATE_GROUP, groupname: "group" });
  await mallory.ask({ msgid: MSGID.JOIN_GROUP, groupid: made.groupid, id: a });

  let cid = 0;
  for (const fields of forgeries(a, "alice")) {
    for (
      const [target, msgid] of [
        [`"msgid":6,"toid":${b}`, MSGID.ONE_CHAT],
        [`"msgid":10,"groupid":${made.groupid}`, MSGID.GROUP_CHAT],
      ] as const
    ) {
      await mallory.sendText(`{${target},"cid":"c${cid++}","msg":"x",${fields}}`);
      const push = await bob.take(msgid);
      assertEquals([push.id, push.name], [m, "mallory"], fields);
      assert(Math.abs(Number(push.ts) - Date.now()) < 60_000);
    }
  }
  await mallory.send({ msgid: MSGID.TYPING, toid: b, id: a, name: "alice" });
  const history = await bob.ask({ msgid: MSGID.HISTORY, userid: a });
  assertEquals(history.messages, [], "nothing is on record from alice");
});

Deno.test("requests act for the session's user, whatever id they carry", async () => {
  await using server = await TestServer.start();
  for (const v of [1, 2] as const) {
    await using mallory = await server.connect(v);
    await using alice = await server.connect();
    const m = await mallory.enter(`mallory${v}`);
    const a = await alice.enter(`alice${v}`);
    await mallory.send({ msgid: MSGID.ADD_FRIEND, id: a, friendid: m });
    await mallory.send({ msgid: MSGID.CREATE_GROUP, id: a, groupname: `group${v}` });
    await mallory.send({ msgid: MSGID.LOGOUT, id: a });
    await mallory.fence();

    await alice.chat(a, "still logged in");
    await alice.take(MSGID.ONE_CHAT);
    await alice.ask({ msgid: MSGID.LOGOUT });
    const { friends, groups } = await alice.login(a);
    assertEquals([friends, groups], [[], []]);
    await alice.ask({ msgid: MSGID.JOIN_GROUP, groupname: `group${v}` });
    await mallory.send({
      msgid: MSGID.ONE_CHAT,
      id: a,
      to: a,
      toid: a,
      cid: "c",
      msg: "logged out",
    });
    assertEquals((await mallory.expect(MSGID.ERROR)).errno, 3);
  }
});

Deno.test("a receipt confirms one's own messages alone", async () => {
  await using server = await TestServer.start();
  await using alice = await server.connect();
  await using bob = await server.connect();
  await using mallory = await server.connect();
  await alice.enter("alice");
  const b = await bob.enter("bob");
  const m = await mallory.enter("mallory");
  const { mid } = await alice.chat(b, "for bob");
  await bob.expect(MSGID.ONE_CHAT);

  await mallory.send({ msgid: MSGID.RECV_ACK, mids: [mid] });
  await mallory.chat(m, "committed after it");

  await bob.ask({ msgid: MSGID.LOGOUT });
  await bob.login(b);
  assertEquals((await bob.take(MSGID.ONE_CHAT)).mid, mid);
});

Deno.test("conversations and groups of others cannot be read", async () => {
  await using server = await TestServer.start();
  await using alice = await server.connect();
  await using bob = await server.connect();
  await using mallory = await server.connect();
  const a = await alice.enter("alice");
  const b = await bob.enter("bob");
  await mallory.enter("mallory");
  const made = await alice.ask({ msgid: MSGID.CREATE_GROUP, groupname: "secret" });
  await alice.chat(b, "a secret");
  await alice.ask({ msgid: MSGID.GROUP_CHAT, groupid: made.groupid, cid: "g", msg: "another" });

  for (const userid of [a, b]) {
    const { messages } = await mallory.ask({ msgid: MSGID.HISTORY, userid, id: userid });
    assertEquals(messages, []);
  }
  assertEquals((await mallory.ask({ msgid: MSGID.HISTORY, groupid: made.groupid })).errno, 6);
  await bob.take(MSGID.ONE_CHAT);
});

Deno.test("a token with another user's id, a later end or another's signature is refused", async () => {
  await using server = await TestServer.start();
  await using alice = await server.connect();
  await using mallory = await server.connect();
  const a = await alice.register("alice");
  const m = await mallory.register("mallory");
  const hers = String((await alice.login(a)).token);
  const his = String((await mallory.login(m)).token);
  assertMatch(his, new RegExp(`^${m}\\.`));
  const [, id, end, signature] = his.split(".");
  const [, herId, herEnd] = hers.split(".");
  await using peer = await server.connect();
  for (
    const token of [
      [a, id, end, signature],
      [a, herId, herEnd, signature],
      [m, herId, end, signature],
      [m, id, Number(end) + 1, signature],
      [m, id, end, ""],
      [m, id, end],
      [`${m} `, id, end, signature],
    ].map((parts) => parts.join("."))
  ) {
    const answer = await peer.ask({ msgid: MSGID.RESUME, v: 2, token });
    assertEquals([answer.msgid, answer.errno], [MSGID.LOGIN_ACK, 1], token);
  }
  await mallory.fence();
  await alice.fence();
  assertEquals([alice.ended, mallory.ended], [false, false]);
});
