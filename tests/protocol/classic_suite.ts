/** What a v1 client may do and gets, as steps that run against any server. */

import { assert, assertEquals } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import type { Received, TestPeer, TestServer } from "../support/server_harness.ts";

/** One behaviour. Names of users are its own, as the steps of a suite share a server. */
export interface Step {
  readonly name: string;
  readonly run: (server: TestServer) => Promise<void>;
}

const TIME = "2026-11-23 03:44:35";

function keys(message: Received): string[] {
  return Object.keys(message).sort();
}

/** A list of JSON texts, as v1 has them, parsed. */
function texts(list: unknown): Record<string, unknown>[] {
  assert(Array.isArray(list), `no list: ${list}`);
  return list.map((text) => {
    assertEquals(typeof text, "string");
    return JSON.parse(String(text));
  });
}

async function chat(from: TestPeer, id: number, to: number, msg: string): Promise<void> {
  await from.send({ msgid: MSGID.ONE_CHAT, id, name: "x", to, msg, time: TIME });
}

/** The next login of a user: what waited is in the answer. */
async function offlineMessages(server: TestServer, id: number): Promise<unknown[]> {
  await using peer = await server.connect(1);
  const { offlinemsg } = await peer.login(id);
  const list = offlinemsg === undefined ? [] : texts(offlinemsg).map((m) => m.msg);
  await peer.fence();
  return list;
}

export const CLASSIC_STEPS: readonly Step[] = [
  {
    name: "REGISTER gives a new id, and errno 1 for a name that is taken",
    async run(server) {
      await using peer = await server.connect(1);
      const first = await peer.register("c1-alice");
      const second = await peer.register("c1-bob");
      assert(second > first);
      await peer.send({ msgid: MSGID.REGISTER, name: "c1-alice", password: "other" });
      const refused = await peer.expect(MSGID.REGISTER_ACK);
      assertEquals(refused.errno, 1);
      assertEquals(keys(refused), ["errmsg", "errno", "msgid"]);
    },
  },
  {
    name: "LOGIN is refused for a wrong password, a wrong id, and a user who is online",
    async run(server) {
      await using alice = await server.connect(1);
      await using other = await server.connect(1);
      const id = await alice.register("c2-alice");
      assertEquals((await alice.login(id, "wrong")).errno, 1);
      assertEquals((await alice.login(id + 1_000_000)).errno, 1);
      const ack = await alice.login(id);
      assertEquals(ack, { msgid: MSGID.LOGIN_ACK, errno: 0, id, name: "c2-alice" });
      const refused = await other.login(id);
      assertEquals(refused.errno, 2);
      assertEquals(keys(refused), ["errmsg", "errno", "msgid"]);
      // The refusal has taken nothing from the first.
      await chat(alice, id, id, "to myself");
      assertEquals((await alice.expect(MSGID.ONE_CHAT)).msg, "to myself");
    },
  },
  {
    name: "ONE_CHAT reaches an online recipient as the sender wrote it",
    async run(server) {
      await using alice = await server.connect(1);
      await using bob = await server.connect(1);
      const a = await alice.enter("c3-alice");
      const b = await bob.enter("c3-bob");
      const sent = {
        msgid: MSGID.ONE_CHAT,
        id: a,
        name: "c3-alice",
        to: b,
        msg: '你好 "x" \\ \u0001 🙂',
        time: TIME,
      };
      await alice.send(sent);
      assertEquals(await bob.expect(MSGID.ONE_CHAT), sent);
      // Some clients write `toid`; what a client adds of its own goes through.
      const { to: _, ...rest } = sent;
      const other = { ...rest, toid: b, colour: { r: [1, null, true] }, errno: "x" };
      await alice.send(other);
      assertEquals(await bob.expect(MSGID.ONE_CHAT), other);
      assertEquals(alice.untaken, []);
    },
  },
  {
    name: "messages to an offline user are handed over at the next login, in order, once",
    async run(server) {
      await using alice = await server.connect(1);
      const a = await alice.enter("c4-alice");
      let b: number;
      {
        await using bob = await server.connect(1);
        b = await bob.register("c4-bob");
      }
      const sent = ["one", "二", "three"];
      for (const msg of sent) await chat(alice, a, b, msg);
      await alice.fence();
      await using bob = await server.connect(1);
      const { offlinemsg } = await bob.login(b);
      assertEquals(
        texts(offlinemsg),
        sent.map((msg) => ({
          msgid: MSGID.ONE_CHAT,
          id: a,
          name: "c4-alice",
          to: b,
          msg,
          time: TIME,
        })),
      );
      await bob.send({ msgid: MSGID.LOGOUT, id: b });
      const again = await bob.login(b);
      assertEquals(keys(again), ["errno", "id", "msgid", "name"]);
      assertEquals(bob.untaken, []);
    },
  },
  {
    name: "friends come with LOGIN_ACK, with the state they have",
    async run(server) {
      await using alice = await server.connect(1);
      await using bob = await server.connect(1);
      const a = await alice.enter("c5-alice");
      const b = await bob.enter("c5-bob");
      const c = await bob.register("c5-carol");
      for (const friendid of [b, c, b]) {
        await alice.send({ msgid: MSGID.ADD_FRIEND, id: a, friendid });
      }
      await alice.send({ msgid: MSGID.LOGOUT, id: a });
      const ack = await alice.login(a);
      assertEquals(
        texts(ack.friends).sort((x, y) => Number(x.id) - Number(y.id)),
        [{ id: b, name: "c5-bob", state: "online" }, { id: c, name: "c5-carol", state: "offline" }],
      );
      assertEquals(alice.untaken, [], "ADD_FRIEND has no answer");
      await alice.send({ msgid: MSGID.ADD_FRIEND, id: a, friendid: c + 1_000_000 });
      assertEquals((await alice.expect(MSGID.ERROR)).errno, 5);
    },
  },
  {
    name: "a group has its members with roles and states; its messages reach all others",
    async run(server) {
      await using alice = await server.connect(1);
      await using bob = await server.connect(1);
      await using carol = await server.connect(1);
      await using eve = await server.connect(1);
      const a = await alice.enter("c6-alice");
      const b = await bob.enter("c6-bob");
      const c = await carol.enter("c6-carol");
      const e = await eve.enter("c6-eve");
      const create = {
        msgid: MSGID.CREATE_GROUP,
        id: a,
        groupname: "c6-group",
        groupdesc: "what for",
      };
      await alice.send(create, { msgid: MSGID.LOGOUT, id: a });
      const created = texts((await alice.login(a)).groups);
      const groupid = Number(created[0]?.id);
      for (const [peer, id] of [[bob, b], [carol, c]] as const) {
        await peer.send({ msgid: MSGID.JOIN_GROUP, id, groupid });
        await peer.fence();
      }
      await carol.send({ msgid: MSGID.LOGOUT, id: c });
      await carol.fence();
      await alice.send({ msgid: MSGID.LOGOUT, id: a });
      const [group] = texts((await alice.login(a)).groups);
      assertEquals({ ...group, users: texts(group?.users) }, {
        id: groupid,
        groupname: "c6-group",
        groupdesc: "what for",
        users: [
          { id: a, name: "c6-alice", state: "online", role: "creator" },
          { id: b, name: "c6-bob", state: "online", role: "normal" },
          { id: c, name: "c6-carol", state: "offline", role: "normal" },
        ],
      });
      const said = {
        msgid: MSGID.GROUP_CHAT,
        id: a,
        name: "c6-alice",
        groupid,
        msg: "hi all",
        time: TIME,
      };
      await alice.send(said);
      assertEquals(await bob.expect(MSGID.GROUP_CHAT), said);
      const { offlinemsg } = await carol.login(c);
      assertEquals(texts(offlinemsg), [said]);
      await eve.send({ ...said, id: e });
      assertEquals((await eve.expect(MSGID.ERROR)).errno, 6);
      await eve.send({ ...said, id: e, groupid: groupid + 1_000_000 });
      assertEquals((await eve.expect(MSGID.ERROR)).errno, 5);
      await eve.send({ msgid: MSGID.JOIN_GROUP, id: e, groupid: groupid + 1_000_000 });
      assertEquals((await eve.expect(MSGID.ERROR)).errno, 5);
      await alice.fence();
      assertEquals([alice.untaken, bob.untaken, eve.untaken], [[], [], []]);
    },
  },
  {
    name: "after LOGOUT the connection may log in again, also as another user",
    async run(server) {
      await using peer = await server.connect(1);
      await using alice = await server.connect(1);
      const first = await peer.enter("c7-one");
      const second = await peer.register("c7-two");
      const a = await alice.enter("c7-alice");
      await peer.send({ msgid: MSGID.LOGOUT, id: first });
      await peer.send({ msgid: MSGID.ONE_CHAT, id: first, to: a, msg: "no", time: TIME });
      assertEquals((await peer.expect(MSGID.ERROR)).errno, 3);
      await chat(alice, a, first, "for one");
      await chat(alice, a, second, "for two");
      await alice.fence();
      const ack = await peer.login(second);
      assertEquals(texts(ack.offlinemsg).map((m) => m.msg), ["for two"]);
      await peer.send({ msgid: MSGID.LOGOUT, id: second });
      const back = await peer.login(first);
      assertEquals(texts(back.offlinemsg).map((m) => m.msg), ["for one"]);
      await chat(alice, a, first, "live again");
      assertEquals((await peer.expect(MSGID.ONE_CHAT)).msg, "live again");
    },
  },
  {
    name: "a client that vanishes is offline: its messages wait, its account is free",
    async run(server) {
      await using alice = await server.connect(1);
      await using watcher = await server.connect(2);
      const a = await alice.enter("c8-alice");
      const w = await watcher.enter("c8-watcher");
      let b: number;
      {
        await using bob = await server.connect(1);
        b = await bob.enter("c8-bob");
        await watcher.ask({ msgid: MSGID.ADD_FRIEND, friendid: b });
      }
      await watcher.expect(MSGID.PRESENCE, (m) => m.id === b && m.state === "offline");
      await chat(alice, a, b, "are you there?");
      await alice.fence();
      assertEquals(await offlineMessages(server, b), ["are you there?"]);
      assertEquals(await offlineMessages(server, b), []);
      await watcher.send({ msgid: MSGID.LOGOUT });
      await watcher.fence();
      assert(w > 0);
    },
  },
  {
    name: "a v1 client is sent nothing but answers and chats",
    async run(server) {
      await using alice = await server.connect(1);
      await using bob = await server.connect(2);
      const a = await alice.enter("c9-alice");
      const b = await bob.enter("c9-bob", { want: ["delivered", "typing"] });
      await alice.send({ msgid: MSGID.ADD_FRIEND, id: a, friendid: b });
      await bob.send({ msgid: MSGID.TYPING, toid: a });
      await bob.chat(a, "hello");
      await chat(alice, a, b, "hello yourself");
      await bob.take(MSGID.ONE_CHAT);
      await bob.ask({ msgid: MSGID.LOGOUT });
      await bob.login(b); // goes and comes: news for v2 friends
      await bob.chat(a, "the last");
      await alice.expect(MSGID.ONE_CHAT, (m) => m.msg === "the last");
      await alice.fence();
      const kinds = new Set(alice.received.map((m) => m.msgid));
      assertEquals(
        [...kinds].sort((x, y) => x - y),
        [MSGID.LOGIN_ACK, MSGID.REGISTER_ACK, MSGID.ONE_CHAT, MSGID.PONG],
      );
    },
  },
  {
    name: "a v1 client gets a v2 client's messages with all the fields it knows",
    async run(server) {
      await using alice = await server.connect(1);
      await using bob = await server.connect(2);
      const a = await alice.enter("c10-alice");
      const b = await bob.enter("c10-bob");
      await bob.chat(a, "from v2");
      const { time, ...rest } = await alice.expect(MSGID.ONE_CHAT);
      assertEquals(rest, {
        msgid: MSGID.ONE_CHAT,
        id: b,
        name: "c10-bob",
        to: a,
        toid: a,
        msg: "from v2",
      });
      assert(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(String(time)), String(time));
      // It went out in a write of its own, so it counts as received.
      await alice.fence();
      await alice.send({ msgid: MSGID.LOGOUT, id: a });
      assertEquals(keys(await alice.login(a)), ["errno", "id", "msgid", "name"]);
    },
  },
];
