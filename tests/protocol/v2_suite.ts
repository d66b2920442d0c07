/** What a v2 client may do and gets, as steps that run against any server. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { MAX_UNRECEIPTED } from "@chat/wire/limits.ts";
import { MSGID, ServerMessage } from "@chat/wire/messages.ts";
import type { Step } from "./classic_suite.ts";
import type { Received, TestPeer, TestServer } from "../support/server_harness.ts";

const MID = /^[0-9A-HJKMNP-TV-Z]{26}$/;
const PASSWORD = "correct horse";

/** Two logged-in v2 peers and their ids. */
async function pair(server: TestServer, prefix: string, fields: object = {}) {
  const alice = await server.connect();
  const bob = await server.connect();
  const a = await alice.enter(`${prefix}-alice`, fields);
  const b = await bob.enter(`${prefix}-bob`, fields);
  return {
    alice,
    bob,
    a,
    b,
    async [Symbol.asyncDispose]() {
      await alice[Symbol.asyncDispose]();
      await bob[Symbol.asyncDispose]();
    },
  };
}

async function relogin(peer: TestPeer, id: number): Promise<Received> {
  assertEquals((await peer.ask({ msgid: MSGID.LOGOUT })).msgid, MSGID.OK);
  return await peer.login(id);
}

function list(value: unknown): Record<string, unknown>[] {
  assert(Array.isArray(value), `no list: ${value}`);
  return value;
}

/** Receipts for everything that is not confirmed yet. */
async function confirm(peer: TestPeer, pushes: readonly Received[]): Promise<void> {
  for (let i = 0; i < pushes.length; i += 1_000) {
    const mids = pushes.slice(i, i + 1_000).map((m) => m.mid);
    await peer.send({ msgid: MSGID.RECV_ACK, mids });
  }
}

export const V2_STEPS: readonly Step[] = [
  {
    name: "LOGIN by id or by name brings a token, the heartbeat, the node, and lists of objects",
    async run(server) {
      await using peer = await server.connect();
      const id = await peer.register("v1-alice");
      const login = { msgid: MSGID.LOGIN, v: 2, name: "v1-alice", password: PASSWORD };
      const ack = await peer.ask(login);
      const { token, node, req, now, ...rest } = ack;
      assertEquals(rest, {
        msgid: MSGID.LOGIN_ACK,
        errno: 0,
        id,
        name: "v1-alice",
        heartbeat: 30,
        friends: [],
        groups: [],
      });
      assertEquals([typeof token, typeof node, typeof req], ["string", "string", "number"]);
      assert(Math.abs(Number(now) - Date.now()) < 60_000);
      assertEquals((await peer.ask({ ...login, req: 1 })).errno, 2);
      await peer.ask({ msgid: MSGID.LOGOUT });
      for (
        const wrong of [
          { ...login, password: "wrong" },
          { ...login, name: "nobody of this name" },
          { ...login, id },
          { msgid: MSGID.LOGIN, password: PASSWORD },
        ]
      ) {
        const { msgid, errno } = await peer.ask(wrong);
        assertEquals([msgid, errno], [
          MSGID.LOGIN_ACK,
          "id" in wrong || !("name" in wrong) ? 4 : 1,
        ]);
      }
      assertEquals((await peer.ask({ msgid: MSGID.LOGIN, id, password: PASSWORD })).errno, 0);
    },
  },
  {
    name: "a user who is online is refused to a second connection, and free after LOGOUT",
    async run(server) {
      await using alice = await server.connect();
      await using other = await server.connect();
      const id = await alice.enter("v2-alice");
      assertEquals((await other.login(id)).errno, 2);
      await alice.ask({ msgid: MSGID.LOGOUT });
      assertEquals((await other.login(id)).errno, 0);
    },
  },
  {
    name: "a chat is acknowledged and pushed with the sender's true id and name",
    async run(server) {
      await using it = await pair(server, "v3");
      const { alice, bob, a, b } = it;
      const ack = await alice.ask({
        msgid: MSGID.ONE_CHAT,
        toid: b,
        cid: "c 1",
        msg: 'é🙂"\\\n\u0000',
      });
      const push = await bob.expect(MSGID.ONE_CHAT);
      assertMatch(String(ack.mid), MID);
      const { req: _, ...fields } = ack;
      assertEquals(fields, { msgid: MSGID.CHAT_ACK, cid: "c 1", mid: push.mid, ts: push.ts });
      assertEquals(push, {
        msgid: MSGID.ONE_CHAT,
        mid: ack.mid,
        cid: "c 1",
        id: a,
        name: "v3-alice",
        ts: ack.ts,
        toid: b,
        msg: 'é🙂"\\\n\u0000',
      });
      assert(Math.abs(Date.now() - Number(ack.ts)) < 60_000);
    },
  },
  {
    name: "a message comes again at each login until its receipt, then never",
    async run(server) {
      await using it = await pair(server, "v4");
      const { alice, bob, b } = it;
      const { mid } = await alice.chat(b, "remember me");
      for (let i = 0; i < 3; i++) {
        assertEquals((await bob.expect(MSGID.ONE_CHAT)).mid, mid);
        const ack = await relogin(bob, b);
        assertEquals("offlinemsg" in ack, false);
      }
      await bob.take(MSGID.ONE_CHAT);
      await relogin(bob, b);
      const { mid: second } = await alice.chat(b, "the next");
      assertEquals((await bob.expect(MSGID.ONE_CHAT)).mid, second);
    },
  },
  {
    name: "messages to an offline user follow the LOGIN_ACK in order",
    async run(server) {
      await using it = await pair(server, "v5");
      const { alice, bob, b } = it;
      await bob.ask({ msgid: MSGID.LOGOUT });
      const sent = Array.from({ length: 450 }, (_, i) => `m${i}`);
      await alice.send(
        ...sent.map((msg) => ({ msgid: MSGID.ONE_CHAT, toid: b, cid: `v5 ${msg}`, msg })),
      );
      await alice.expect(MSGID.CHAT_ACK, (m) => m.cid === "v5 m449");
      await bob.login(b);
      await bob.expect(MSGID.ONE_CHAT, (m) => m.msg === "m449");
      const pushes = bob.received.filter((m) => m.msgid === MSGID.ONE_CHAT);
      assertEquals(pushes.map((m) => m.msg), sent);
      await confirm(bob, pushes);
    },
  },
  {
    name: "a retry gets the first acknowledgement; its push is known by id and cid",
    async run(server) {
      await using it = await pair(server, "v6");
      const { alice, bob, a, b } = it;
      const first = await alice.chat(b, "once", "retry-1");
      const again = await alice.chat(b, "once", "retry-1");
      assertEquals([again.mid, again.ts], [first.mid, first.ts]);
      await alice.chat(b, "after");
      await bob.expect(MSGID.ONE_CHAT, (m) => m.msg === "after");
      const copies = bob.received.filter((m) => m.msg === "once");
      assert(copies.every((m) => m.id === a && m.cid === "retry-1"));
      await confirm(bob, bob.received.filter((m) => m.msgid === MSGID.ONE_CHAT));
      await relogin(bob, b);
      const history = await bob.ask({ msgid: MSGID.HISTORY, userid: a });
      assertEquals(list(history.messages).map((m) => m.msg), ["once", "after"]);
    },
  },
  {
    name: "many chats in flight keep their order, through acknowledgement and push",
    async run(server) {
      await using it = await pair(server, "v7");
      const { alice, bob, b } = it;
      const sent = Array.from({ length: 1_000 }, (_, i) => `${i}`);
      await alice.send(
        ...sent.map((msg) => ({ msgid: MSGID.ONE_CHAT, toid: b, cid: `v7 ${msg}`, msg })),
      );
      await bob.expect(MSGID.ONE_CHAT, (m) => m.msg === "999");
      await alice.expect(MSGID.CHAT_ACK, (m) => m.cid === "v7 999");
      const pushes = bob.received.filter((m) => m.msgid === MSGID.ONE_CHAT);
      assertEquals(pushes.map((m) => m.msg), sent);
      const acks = alice.received.filter((m) => m.msgid === MSGID.CHAT_ACK);
      assertEquals(acks.map((m) => m.cid), sent.map((msg) => `v7 ${msg}`));
      const mids = pushes.map((m) => String(m.mid));
      assertEquals(mids, [...mids].sort());
      await confirm(bob, pushes);
    },
  },
  {
    name: "a client that confirms nothing gets 1,024 pushes, and the rest as receipts come",
    async run(server) {
      await using it = await pair(server, "v8");
      const { alice, bob, b } = it;
      const count = MAX_UNRECEIPTED + 300;
      const sent = Array.from({ length: count }, (_, i) => `${i}`);
      await alice.send(
        ...sent.map((msg) => ({ msgid: MSGID.ONE_CHAT, toid: b, cid: `v8 ${msg}`, msg })),
      );
      await alice.expect(MSGID.CHAT_ACK, (m) => m.cid === `v8 ${count - 1}`);
      await bob.expect(MSGID.ONE_CHAT, (m) => m.msg === String(MAX_UNRECEIPTED - 1));
      await bob.fence();
      const pushed = () => bob.received.filter((m) => m.msgid === MSGID.ONE_CHAT);
      assertEquals(pushed().length, MAX_UNRECEIPTED);
      await confirm(bob, pushed());
      await bob.expect(MSGID.ONE_CHAT, (m) => m.msg === String(count - 1));
      assertEquals(pushed().map((m) => m.msg), sent);
      await confirm(bob, pushed());
    },
  },
  {
    name: "a chat to nobody, or to a group that is not one's own, is refused with its cid",
    async run(server) {
      await using it = await pair(server, "v9");
      const { alice, bob, b } = it;
      const made = await bob.ask({ msgid: MSGID.CREATE_GROUP, groupname: "v9-group" });
      for (
        const [message, errno] of [
          [{ msgid: MSGID.ONE_CHAT, toid: b + 1_000_000 }, 5],
          [{ msgid: MSGID.GROUP_CHAT, groupid: 1_000_000 }, 5],
          [{ msgid: MSGID.GROUP_CHAT, groupid: made.groupid }, 6],
        ] as const
      ) {
        const answer = await alice.ask({ ...message, cid: "x", msg: "hello?" });
        assertEquals([answer.msgid, answer.errno, answer.cid], [MSGID.ERROR, errno, "x"]);
      }
      await bob.fence();
      assertEquals(bob.untaken, []);
    },
  },
  {
    name: "groups: created, joined by id or name, talked in, online and offline",
    async run(server) {
      await using it = await pair(server, "v10");
      const { alice, bob, a, b } = it;
      await using carol = await server.connect();
      const c = await carol.enter("v10-carol");
      const create = { msgid: MSGID.CREATE_GROUP, groupname: "v10-group", groupdesc: "d" };
      const made = await alice.ask(create);
      assertEquals(made.msgid, MSGID.OK);
      assertEquals(made.group, {
        id: made.groupid,
        groupname: "v10-group",
        groupdesc: "d",
        users: [{ id: a, name: "v10-alice", state: "online", role: "creator" }],
      });
      assertEquals((await bob.ask(create)).errno, 1);
      const joined = await bob.ask({ msgid: MSGID.JOIN_GROUP, groupid: made.groupid });
      assertEquals([joined.groupid, joined.msgid], [made.groupid, MSGID.OK]);
      const byName = await carol.ask({ msgid: MSGID.JOIN_GROUP, groupname: "v10-group" });
      const users = list((byName.group as { users: unknown }).users);
      assertEquals(users.map((u) => [u.id, u.role, u.state]), [
        [a, "creator", "online"],
        [b, "normal", "online"],
        [c, "normal", "online"],
      ]);
      await carol.ask({ msgid: MSGID.LOGOUT });
      const said = { msgid: MSGID.GROUP_CHAT, groupid: made.groupid, cid: "g1", msg: "all" };
      const ack = await alice.ask(said);
      const push = await bob.take(MSGID.GROUP_CHAT);
      assertEquals(push, {
        msgid: MSGID.GROUP_CHAT,
        mid: ack.mid,
        cid: "g1",
        id: a,
        name: "v10-alice",
        ts: ack.ts,
        groupid: made.groupid,
        msg: "all",
      });
      const back = await carol.login(c);
      assertEquals(list(back.groups).map((g) => g.id), [made.groupid]);
      assertEquals((await carol.take(MSGID.GROUP_CHAT)).mid, ack.mid);
      await alice.fence();
      assertEquals(alice.untaken.filter((m) => m.msgid !== MSGID.PRESENCE), []);
    },
  },
  {
    name: "friends: added by id or name; their coming and going is told",
    async run(server) {
      await using it = await pair(server, "v11");
      const { alice, bob, a, b } = it;
      await using carol = await server.connect();
      const c = await carol.register("v11-carol");
      const added = await alice.ask({ msgid: MSGID.ADD_FRIEND, friendid: b });
      assertEquals(added.friend, { id: b, name: "v11-bob", state: "online" });
      const byName = await alice.ask({ msgid: MSGID.ADD_FRIEND, name: "v11-carol" });
      assertEquals(byName.friend, { id: c, name: "v11-carol", state: "offline" });
      assertEquals((await alice.ask({ msgid: MSGID.ADD_FRIEND, friendid: c + 999_999 })).errno, 5);
      await carol.login(c);
      await alice.expect(MSGID.PRESENCE, (m) => m.id === c && m.state === "online");
      await bob.ask({ msgid: MSGID.LOGOUT });
      await alice.expect(MSGID.PRESENCE, (m) => m.id === b && m.state === "offline");
      const { friends } = await relogin(alice, a);
      assertEquals(list(friends).map((f) => [f.id, f.state]).sort(), [
        [b, "offline"],
        [c, "online"],
      ]);
      await bob.login(b);
      await alice.expect(MSGID.PRESENCE, (m) => m.id === b && m.state === "online");
    },
  },
  {
    name: "a friend who is removed, by id or name, is listed and told of no more",
    async run(server) {
      await using it = await pair(server, "v27");
      const { alice, bob, a, b } = it;
      await using carol = await server.connect();
      const c = await carol.enter("v27-carol");
      for (const friendid of [b, c]) await alice.ask({ msgid: MSGID.ADD_FRIEND, friendid });

      const removed = await alice.ask({ msgid: MSGID.REMOVE_FRIEND, friendid: b });
      assertEquals([removed.msgid, removed.friend], [
        MSGID.OK,
        { id: b, name: "v27-bob", state: "online" },
      ]);
      const again = await alice.ask({ msgid: MSGID.REMOVE_FRIEND, name: "v27-bob" });
      assertEquals(again.msgid, MSGID.OK);
      assertEquals(
        (await alice.ask({ msgid: MSGID.REMOVE_FRIEND, friendid: c + 999_999 })).errno,
        5,
      );

      // Bob leaves before carol: what is told of her would have been told of him first.
      await bob.ask({ msgid: MSGID.LOGOUT });
      await carol.ask({ msgid: MSGID.LOGOUT });
      const told = await alice.expect(MSGID.PRESENCE, (m) => m.id === b || m.state === "offline");
      assertEquals(told.id, c);
      const { friends } = await relogin(alice, a);
      assertEquals(list(friends).map((f) => f.id), [c]);
    },
  },
  {
    name: "TYPING goes out once a second to a target, however often it is said",
    async run(server) {
      await using it = await pair(server, "v28", { want: ["typing"] });
      const { alice, bob, b } = it;
      for (let i = 0; i < 200; i++) await alice.send({ msgid: MSGID.TYPING, toid: b });
      await alice.chat(b, "done");

      await bob.take(MSGID.ONE_CHAT);
      const told = bob.untaken.filter((m) => m.msgid === MSGID.TYPING).length;
      // One, or two where the 200 took more than a second.
      assert(told === 1 || told === 2, `${told} times`);
    },
  },
  {
    name: "DELIVERED and TYPING go to those who want them",
    async run(server) {
      await using it = await pair(server, "v12", { want: ["delivered", "typing"] });
      const { alice, bob, a, b } = it;
      await using plain = await server.connect();
      const p = await plain.enter("v12-plain");
      const { mid } = await alice.chat(b, "did you get it?");
      await bob.take(MSGID.ONE_CHAT);
      const delivered = await alice.expect(MSGID.DELIVERED);
      assertEquals(delivered, { msgid: MSGID.DELIVERED, id: b, mids: [mid] });
      await alice.send({ msgid: MSGID.TYPING, toid: b, id: p, name: "not me" });
      const typing = await bob.expect(MSGID.TYPING);
      assertEquals(typing, { msgid: MSGID.TYPING, id: a, name: "v12-alice" });
      await alice.send({ msgid: MSGID.TYPING, toid: p });
      await plain.chat(b, "quietly");
      await bob.take(MSGID.ONE_CHAT);
      await alice.chat(p, "the end");
      await plain.take(MSGID.ONE_CHAT);
      await plain.fence();
      assertEquals(plain.untaken, []);
    },
  },
  {
    name: "HISTORY pages back through a conversation, and is closed to others",
    async run(server) {
      await using it = await pair(server, "v13");
      const { alice, bob, a, b } = it;
      for (let i = 0; i < 7; i++) await alice.chat(b, `a${i}`);
      await bob.chat(a, "b0");
      const page = async (before: unknown) =>
        await bob.ask({ msgid: MSGID.HISTORY, userid: a, limit: 3, ...before as object });
      const seen: unknown[] = [];
      let before: object = {};
      let pages = 0;
      for (;;) {
        const { messages, more, msgid } = await page(before);
        assertEquals(msgid, MSGID.HISTORY_ACK);
        const rows = list(messages);
        seen.unshift(...rows.map((m) => m.msg));
        before = { before: rows[0]?.mid };
        pages++;
        if (more !== true) break;
      }
      assertEquals([pages, seen], [3, ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "b0"]]);
      const made = await alice.ask({ msgid: MSGID.CREATE_GROUP, groupname: "v13-group" });
      const closed = await bob.ask({ msgid: MSGID.HISTORY, groupid: made.groupid });
      assertEquals([closed.msgid, closed.errno], [MSGID.ERROR, 6]);
      for (const wrong of [{}, { userid: a, groupid: 1 }, { userid: a, limit: 201 }]) {
        assertEquals((await bob.ask({ msgid: MSGID.HISTORY, ...wrong })).errno, 4);
      }
    },
  },
  {
    name: "LOGOUT is answered after what was sent before it, many chats in one write too",
    async run(server) {
      await using it = await pair(server, "v14out");
      const { alice, b } = it;
      await alice.chat(b, "warm");
      const many = 1_000;
      await alice.send(
        ...Array.from({ length: many }, (_, i) => {
          return { msgid: MSGID.ONE_CHAT, toid: b, cid: `${i}`, msg: "x" };
        }),
        { msgid: MSGID.ONE_CHAT, toid: 999_999, cid: "nobody", msg: "x" },
        { msgid: MSGID.LOGOUT, req: "out" },
      );
      await alice.expect(MSGID.OK, (m) => m.req === "out");
      assertEquals(alice.takeAll(MSGID.CHAT_ACK).length, many);
      assertEquals(alice.takeAll(MSGID.ERROR).map((m) => m.cid), ["nobody"]);
      await alice.fence(); // it is read on
    },
  },
  {
    name: "a name is the same however its accents are written",
    async run(server) {
      await using peer = await server.connect();
      const name = `${"\u00e9".repeat(30)}v14nfd`.normalize("NFD");
      const id = await peer.register(name);
      const login = await peer.ask({ msgid: MSGID.LOGIN, v: 2, name, password: PASSWORD });
      const group = await peer.ask({ msgid: MSGID.CREATE_GROUP, groupname: name });
      const join = await peer.ask({ msgid: MSGID.JOIN_GROUP, groupname: name });
      const friend = await peer.ask({ msgid: MSGID.ADD_FRIEND, name });
      assertEquals([login.errno, login.id], [0, id]);
      assertEquals([group.msgid, join.msgid], [MSGID.OK, MSGID.OK]);
      assert(friend.errno !== 4, JSON.stringify(friend)); // oneself is no friend
    },
  },
  {
    name: "RESUME takes the old connection's place; LOGOUT ends its token",
    async run(server) {
      await using it = await pair(server, "v14");
      const { alice, bob, a } = it;
      const { token } = await relogin(alice, a);
      await using second = await server.connect();
      const back = await second.ask({ msgid: MSGID.RESUME, v: 2, token });
      assertEquals([back.msgid, back.errno, back.id], [MSGID.LOGIN_ACK, 0, a]);
      assertEquals((await alice.expectBye()).errno, 2);
      await bob.chat(a, "where are you?");
      assertEquals((await second.take(MSGID.ONE_CHAT)).msg, "where are you?");
      await second.ask({ msgid: MSGID.LOGOUT });
      for (const bad of [token, `${token}x`, "1.2.3.4", "x"]) {
        const refused = await second.ask({ msgid: MSGID.RESUME, token: bad });
        assertEquals([refused.msgid, refused.errno], [MSGID.LOGIN_ACK, 1], String(bad));
      }
    },
  },
  {
    name: "PING is answered with PONG before and after a login",
    async run(server) {
      await using peer = await server.connect();
      assertEquals(await peer.ask({ msgid: MSGID.PING }), { msgid: MSGID.PONG, req: 1 });
      await peer.enter("v15-alice");
      await peer.send({ msgid: MSGID.PING, req: "text" }, { msgid: MSGID.PONG });
      assertEquals(await peer.expect(MSGID.PONG), { msgid: MSGID.PONG, req: "text" });
      await peer.fence();
      assertEquals(peer.untaken, []);
    },
  },
  {
    name: "what v1 clients write reaches v2 clients with a mid and a cid",
    async run(server) {
      await using classic = await server.connect(1);
      await using bob = await server.connect();
      const a = await classic.enter("v16-classic");
      const b = await bob.enter("v16-bob");
      const said = { msgid: MSGID.ONE_CHAT, id: a, name: "x", to: b, msg: "old style", time: "t" };
      await classic.send(said, said);
      const [one, two] = [await bob.take(MSGID.ONE_CHAT), await bob.take(MSGID.ONE_CHAT)];
      for (const push of [one, two]) {
        const { mid, cid, ts: _, ...rest } = push;
        assertMatch(String(mid), MID);
        assertEquals(typeof cid, "string");
        assertEquals(rest, { msgid: 6, id: a, name: "v16-classic", toid: b, msg: "old style" });
      }
      assert(one.cid !== two.cid, "two messages, although they read alike");
    },
  },
  {
    name: "every message that a v2 client gets is one that the schemas describe",
    async run(server) {
      await using it = await pair(server, "v17", { want: ["delivered", "typing"] });
      const { alice, bob, a, b } = it;
      const made = await alice.ask({ msgid: MSGID.CREATE_GROUP, groupname: "v17-group" });
      await bob.ask({ msgid: MSGID.JOIN_GROUP, groupid: made.groupid });
      await bob.ask({ msgid: MSGID.ADD_FRIEND, friendid: a });
      await bob.chat(a, "x");
      await alice.take(MSGID.ONE_CHAT);
      await alice.send({ msgid: MSGID.GROUP_CHAT, groupid: made.groupid, cid: "y", msg: "y" });
      await alice.expect(MSGID.CHAT_ACK);
      await bob.take(MSGID.GROUP_CHAT);
      await alice.send({ msgid: MSGID.TYPING, toid: b });
      await bob.expect(MSGID.TYPING);
      await alice.ask({ msgid: MSGID.HISTORY, userid: b });
      await alice.ask({ msgid: MSGID.GROUP_CHAT, groupid: 1_000_000, cid: "z", msg: "z" });
      await relogin(alice, a);
      await bob.expect(MSGID.DELIVERED);
      await alice.fence();
      for (const message of [...alice.received, ...bob.received]) {
        const parsed = ServerMessage.safeParse(message);
        assert(parsed.success, `${JSON.stringify(message)}: ${parsed.error?.message}`);
        assertEquals(parsed.data as unknown, message, "no field is unknown to the schema");
      }
    },
  },
];
