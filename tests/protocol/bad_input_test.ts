/**
 * Whatever a client sends is answered once with an errno, or ends its own connection with a reason,
 * and nothing else: the server lives, and nobody else notices.
 */

import { assert, assertEquals } from "@std/assert";
import { MAX_FRAME_BYTES, MAX_TEXT_UNITS } from "@chat/wire/limits.ts";
import { MSGID } from "@chat/wire/messages.ts";
import { type TestPeer, TestServer } from "../support/server_harness.ts";

const MALFORMED = 4;
const NOT_LOGGED_IN = 3;

/** Frames that are refused in any state; the stream stays in step. */
const BAD_FRAMES: readonly string[] = [
  "{}",
  "{]}",
  '{"msgid":}',
  '{"msgid":6,}',
  "{'msgid':14}",
  '{"msgid":14 "req":1}',
  '{"msgid":"14"}',
  '{"msgid":null}',
  '{"msgid":[14]}',
  '{"msgid":{"msgid":14}}',
  '{"msgid":0}',
  '{"msgid":-1}',
  '{"msgid":14.5}',
  '{"msgid":1e999}',
  '{"msgid":99}',
  '{"msgid":2}',
  '{"msgid":11}',
  '{"msgid":12}',
  '{"msgid":21}',
  '{"msgid":22}',
  '{"__proto__":{"msgid":14}}',
  '{"constructor":1,"toString":2}',
  '{"a":"\u0001"}',
  '{"a":"\\x"}',
  '{"a":"\\u12"}',
  '{"a":NaN}',
  '{"a":01}',
  "{".repeat(200) + "}".repeat(200),
  '{"a":'.repeat(5_000) + "1" + "}".repeat(5_000),
  `{"a":${"[".repeat(30_000)}${"]".repeat(30_000)}}`,
];

/** Requests whose fields are wrong, for a v2 session that is logged in. */
const WRONG_FIELDS: readonly object[] = [
  { msgid: MSGID.ONE_CHAT },
  { msgid: MSGID.ONE_CHAT, toid: 1, msg: "no cid" },
  { msgid: MSGID.ONE_CHAT, toid: "1", cid: "c", msg: "x" },
  { msgid: MSGID.ONE_CHAT, toid: 1.5, cid: "c", msg: "x" },
  { msgid: MSGID.ONE_CHAT, toid: -1, cid: "c", msg: "x" },
  { msgid: MSGID.ONE_CHAT, toid: 2 ** 60, cid: "c", msg: "x" },
  { msgid: MSGID.ONE_CHAT, toid: 1, cid: "", msg: "x" },
  { msgid: MSGID.ONE_CHAT, toid: 1, cid: "c".repeat(65), msg: "x" },
  { msgid: MSGID.ONE_CHAT, toid: 1, cid: "\ud800", msg: "x" },
  { msgid: MSGID.ONE_CHAT, toid: 1, cid: 7, msg: "x" },
  { msgid: MSGID.ONE_CHAT, toid: 1, cid: "😀".repeat(33), msg: "x" },
  { msgid: MSGID.ONE_CHAT, toid: 1, cid: "c", msg: "😀".repeat(MAX_TEXT_UNITS / 2 + 1) },
  // What others' ids are made of: a quote in one would break every frame that it comes in.
  ...['z"', "zz", "éé", "ZZ", "0u"].map((s) => ({
    ...{ msgid: MSGID.ONE_CHAT, toid: 1, cid: "c", msg: "x", at: 1_700_000_000_000 },
    seen: s.repeat(13),
  })),
  { msgid: MSGID.ONE_CHAT, toid: 1, cid: "c", msg: "" },
  { msgid: MSGID.ONE_CHAT, toid: 1, cid: "c", msg: ["x"] },
  { msgid: MSGID.ONE_CHAT, toid: 1, cid: "c", msg: null },
  { msgid: MSGID.ONE_CHAT, toid: 1, cid: "c", msg: "x".repeat(MAX_TEXT_UNITS + 1) },
  { msgid: MSGID.GROUP_CHAT, groupid: {}, cid: "c", msg: "x" },
  { msgid: MSGID.ADD_FRIEND },
  { msgid: MSGID.ADD_FRIEND, friendid: "bob" },
  { msgid: MSGID.ADD_FRIEND, name: "" },
  { msgid: MSGID.REMOVE_FRIEND },
  { msgid: MSGID.REMOVE_FRIEND, friendid: "bob" },
  { msgid: MSGID.CREATE_GROUP },
  { msgid: MSGID.CREATE_GROUP, groupname: "" },
  { msgid: MSGID.CREATE_GROUP, groupname: "x".repeat(51) },
  { msgid: MSGID.CREATE_GROUP, groupname: "a\u202eb" },
  { msgid: MSGID.CREATE_GROUP, groupname: " a" },
  { msgid: MSGID.CREATE_GROUP, groupname: "g", groupdesc: "x".repeat(201) },
  { msgid: MSGID.JOIN_GROUP },
  { msgid: MSGID.RECV_ACK },
  { msgid: MSGID.RECV_ACK, mids: "all" },
  { msgid: MSGID.RECV_ACK, mids: ["short"] },
  { msgid: MSGID.RECV_ACK, mids: Array(1_001).fill("0".repeat(26)) },
  { msgid: MSGID.HISTORY, userid: 1, before: "short" },
  { msgid: MSGID.HISTORY, userid: 1, limit: 0 },
  { msgid: MSGID.REGISTER, name: "a\u0000b", password: "x" },
  { msgid: MSGID.REGISTER, name: "\ud800", password: "x" },
  { msgid: MSGID.REGISTER, name: "fine", password: "" },
  { msgid: MSGID.REGISTER, name: "fine", password: "x".repeat(257) },
  { msgid: MSGID.REGISTER, name: 5, password: "x" },
  { msgid: MSGID.REGISTER, name: "😀".repeat(26), password: "x" },
  { msgid: MSGID.TYPING },
  { msgid: MSGID.TYPING, toid: 1, groupid: 1 },
];

/** Bytes after which a stream cannot be cut any more. */
const GARBAGE: readonly (readonly [string, string | Uint8Array, number])[] = [
  ["an array", '[{"msgid":14}]', MALFORMED],
  ["a number", "5", MALFORMED],
  ["a string", '"{}"', MALFORMED],
  ["a closing brace", "}", MALFORMED],
  ["HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", MALFORMED],
  ["a TLS hello", Uint8Array.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01), MALFORMED],
  ["a byte-order mark", '\ufeff{"msgid":14}', MALFORMED],
  ["a frame that never ends", `{"a":"${"x".repeat(MAX_FRAME_BYTES)}`, 8],
  ["a frame a byte too long", paddedPing(MAX_FRAME_BYTES + 1), 8],
  ["frames, then garbage", '{"msgid":14}{"msgid":14},', MALFORMED],
];

/** A PING of exactly this many bytes. */
function paddedPing(bytes: number): string {
  const head = '{"msgid":14,"req":"long","pad":"';
  return head + "x".repeat(bytes - head.length - 2) + '"}';
}

async function refusal(peer: TestPeer, text: string, what: string): Promise<void> {
  const before = peer.received.length;
  await peer.sendText(text);
  await peer.fence();
  const answers = peer.received.slice(before, -1);
  assertEquals(answers.length, 1, `one answer to ${what}, not ${JSON.stringify(answers)}`);
  assertEquals(answers[0]?.errno, MALFORMED, what);
  assertEquals(typeof answers[0]?.errmsg, "string", what);
}

for (const workers of [0, 1]) {
  Deno.test(`bad frames get one ERROR each and the connection goes on, --workers ${workers}`, async () => {
    await using server = await TestServer.start({ workers });
    await using fresh = await server.connect();
    await using v1 = await server.connect(1);
    await using v2 = await server.connect();
    await v1.enter("v1");
    await v2.enter("v2");

    for (const peer of [fresh, v1, v2]) {
      for (const frame of BAD_FRAMES) await refusal(peer, frame, frame.slice(0, 60));
    }
    for (const frame of WRONG_FIELDS) {
      await refusal(v2, JSON.stringify(frame), JSON.stringify(frame));
    }

    assertEquals([fresh.ended, v1.ended, v2.ended], [false, false, false]);
  });

  Deno.test(`a stream out of step ends with BYE, and only that one, --workers ${workers}`, async () => {
    await using server = await TestServer.start({ workers });
    await using other = await server.connect();
    const id = await other.enter("other");

    for (const [what, bytes, errno] of GARBAGE) {
      await using peer = await server.connect();
      await peer.sendBytes(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
      const bye = await peer.expectBye();
      assertEquals(bye.errno, errno, what);
      const pongs = peer.received.filter((m) => m.msgid === MSGID.PONG).length;
      assert(pongs <= (what === "frames, then garbage" ? 2 : 0), what);
    }

    await other.chat(id, "still here");
    assertEquals((await other.expect(MSGID.ONE_CHAT)).msg, "still here");
  });

  Deno.test(`bytes that are no UTF-8 spoil their own frame alone, --workers ${workers}`, async () => {
    await using server = await TestServer.start({ workers });
    await using peer = await server.connect();
    const encode = (text: string) => [...new TextEncoder().encode(text)];
    const ping = (req: number) => encode(`{"msgid":14,"req":${req}}`);
    for (const bad of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82], [0xf5, 1, 2, 3]]) {
      const frame = [...encode('{"msgid":14,"req":"'), ...bad, ...encode('"}')];
      await peer.sendBytes(Uint8Array.from([...ping(1), ...frame, ...ping(2)]));
      assertEquals((await peer.expect(MSGID.PONG)).req, 1);
      assertEquals((await peer.expect(MSGID.ERROR)).errno, MALFORMED);
      assertEquals((await peer.expect(MSGID.PONG)).req, 2);
    }
    assertEquals(peer.untaken, []);
  });
}

Deno.test("a frame of exactly 64 KiB is taken, and the longest text arrives whole", async () => {
  await using server = await TestServer.start();
  await using peer = await server.connect();
  await peer.sendText(paddedPing(MAX_FRAME_BYTES));
  assertEquals((await peer.expect(MSGID.PONG)).req, "long");

  const id = await peer.enter("alice");
  const text = "€".repeat(MAX_TEXT_UNITS);
  await peer.chat(id, text);
  assertEquals((await peer.expect(MSGID.ONE_CHAT)).msg, text);
});

Deno.test("requests that need a login are refused without one, in both versions", async () => {
  await using server = await TestServer.start();
  for (const v of [1, 2] as const) {
    await using peer = await server.connect(v);
    await peer.register(`user${v}`);
    const requests = [
      { msgid: MSGID.LOGOUT, id: 1 },
      { msgid: MSGID.ONE_CHAT, to: 1, toid: 1, cid: "c", msg: "x" },
      { msgid: MSGID.ADD_FRIEND, friendid: 1 },
      { msgid: MSGID.CREATE_GROUP, groupname: "g" },
      { msgid: MSGID.JOIN_GROUP, groupid: 1 },
      { msgid: MSGID.GROUP_CHAT, groupid: 1, cid: "c", msg: "x" },
      ...(v === 1 ? [] : [
        { msgid: MSGID.RECV_ACK, mids: [] },
        { msgid: MSGID.HISTORY, userid: 1 },
        { msgid: MSGID.TYPING, toid: 1 },
      ]),
    ];
    for (const request of requests) {
      await peer.send(request);
      const { errno } = await peer.expect(MSGID.ERROR);
      assertEquals(errno, NOT_LOGGED_IN, JSON.stringify(request));
    }
    await peer.fence();
    assertEquals(peer.untaken, []);
  }
});

Deno.test("an answer to a bad request carries its req and cid, and its own msgid", async () => {
  await using server = await TestServer.start();
  await using peer = await server.connect();
  for (
    const [request, msgid] of [
      [{ msgid: MSGID.LOGIN, v: 2, id: "x", password: "y" }, MSGID.LOGIN_ACK],
      [{ msgid: MSGID.RESUME, v: 2 }, MSGID.LOGIN_ACK],
      [{ msgid: MSGID.REGISTER, v: 2, name: [] }, MSGID.REGISTER_ACK],
      [{ msgid: 99 }, MSGID.ERROR],
    ] as const
  ) {
    const answer = await peer.ask({ ...request, cid: "c" });
    assertEquals([answer.msgid, answer.errno, answer.cid], [msgid, MALFORMED, "c"]);
  }
});

Deno.test("a stream cut at every byte is understood, whatever stands between its objects", async () => {
  await using server = await TestServer.start();
  await using peer = await server.connect(1);
  const stream = new TextEncoder().encode(
    '{"msgid":14,"req":"}{\\""}{"msgid":14,"req":"é🙂"}\0 \n\t\r{"msgid":14,"req":3}\0',
  );
  for (const byte of stream) await peer.sendBytes(Uint8Array.of(byte));
  for (const req of ['}{"', "é🙂", 3]) {
    assertEquals((await peer.expect(MSGID.PONG)).req, req);
  }
  await peer.sendText('{"msgid":14,"req":"half');
  await peer.finish();
  await peer.closed();
  assertEquals(peer.untaken, []);
});

Deno.test("a thousand connections that send rubbish and go leave nothing behind", async () => {
  await using server = await TestServer.start({ flags: ["--log-level", "debug"] });
  const rubbish = ['{"msgid":1,"id":999,"password":"x"}', "{{{", "\0", '{"a":"', "xyz", ""];
  for (let round = 0; round < 20; round++) {
    await Promise.all(Array.from({ length: 50 }, async (_, i) => {
      await using peer = await server.connect();
      await peer.sendText(rubbish[i % rubbish.length] ?? "");
    }));
  }
  await server.line(/connection closed/, 1_000);
  await using peer = await server.connect();
  const id = await peer.enter("alice");
  await peer.chat(id, "fine");
  assertEquals((await server.get("/healthz")).status, 200);
  assertEquals(server.lines.filter((line) => /dead letter|failed/.test(line)), []);
});
