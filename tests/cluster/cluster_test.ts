/** Several nodes, one population: every request of the protocol across nodes, with real services. */

import { assert, assertEquals } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { TestCluster } from "../support/cluster_harness.ts";
import { type Received, TestPeer } from "../support/test_peer.ts";

const ROUNDTRIP = 10_000;

let names = 0;
const fresh = (stem: string) => `${stem} ${++names}`;

function field(message: Received, name: string): unknown {
  return message[name];
}

/** Ids and states of friends, or of a group's members, in a v2 LOGIN_ACK. */
function states(list: unknown): Record<string, string> {
  const people = list as { id: number; state: string }[];
  return Object.fromEntries(people.map((p) => [String(p.id), p.state]));
}

for (const nodeCount of [2, 3]) {
  Deno.test(`${nodeCount} nodes behind nginx serve one population`, async (t) => {
    await using cluster = await TestCluster.start(nodeCount);
    const last = nodeCount - 1;

    await t.step("clients land on every node through nginx", async () => {
      const seen = new Set<unknown>();
      for (let i = 0; i < 3 * nodeCount; i++) {
        await using peer = await TestPeer.connect(cluster.nginx.port);
        const id = await peer.register(fresh("lander"));
        const ack = await peer.login(id);
        assertEquals(ack.errno, 0);
        seen.add(ack.node);
      }
      assertEquals(seen.size, nodeCount);
    });

    await t.step("registered on one node, logged in on another, refused on a third", async () => {
      await using a = await cluster.connect(0);
      await using b = await cluster.connect(last);
      await using c = await cluster.connect(0);
      const id = await a.register(fresh("roamer"));
      const taken = { msgid: MSGID.REGISTER, name: `roamer ${names}`, password: "x", v: 2 };

      assertEquals((await b.ask(taken)).errno, 1);
      assertEquals((await b.login(id)).errno, 0);
      assertEquals((await c.login(id)).errno, 2);
      assertEquals((await a.login(id)).errno, 2);
    });

    await t.step("a user who logs out or vanishes can log in on another node at once", async () => {
      await using a = await cluster.connect(0);
      const b = await cluster.connect(last);
      const id = await a.enter(fresh("mover"));
      for (let round = 0; round < 10; round++) {
        const [from, to] = round % 2 === 0 ? [a, b] : [b, a];
        assertEquals((await from.ask({ msgid: MSGID.LOGOUT })).msgid, MSGID.OK);
        assertEquals((await to.login(id)).errno, 0, `round ${round}`);
      }
      await a.ask({ msgid: MSGID.LOGOUT });
      await b.login(id);
      await b[Symbol.asyncDispose]();
      await untilLogin(a, id);
    });

    await t.step("one-to-one: other node, same node, offline, v1 and v2", async () => {
      await using alice = await cluster.connect(0);
      await using bob = await cluster.connect(last);
      await using carol = await cluster.connect(0);
      await using classic = await cluster.connect(last, 1);
      const ids = [
        await alice.enter(fresh("alice")),
        await bob.enter(fresh("bob")),
        await carol.enter(fresh("carol")),
        await classic.enter(fresh("classic")),
      ] as const;

      await alice.chat(ids[1], "across");
      assertEquals((await bob.take(MSGID.ONE_CHAT)).msg, "across");
      await bob.chat(ids[0], "and back");
      assertEquals((await alice.take(MSGID.ONE_CHAT)).msg, "and back");
      await alice.chat(ids[2], "beside");
      assertEquals((await carol.take(MSGID.ONE_CHAT)).msg, "beside");
      await carol.chat(ids[3], "to v1 across");
      const pushed = await classic.expect(MSGID.ONE_CHAT);
      assertEquals([pushed.msg, pushed.id, pushed.to], ["to v1 across", ids[2], ids[3]]);
      await classic.send({ msgid: MSGID.ONE_CHAT, to: ids[0], msg: "from v1 across", time: "t" });
      assertEquals((await alice.take(MSGID.ONE_CHAT)).msg, "from v1 across");

      await bob.ask({ msgid: MSGID.LOGOUT });
      await alice.chat(ids[1], "while away");
      await using again = await cluster.connect(0);
      assertEquals((await again.login(ids[1])).errno, 0);
      assertEquals((await again.take(MSGID.ONE_CHAT)).msg, "while away");
    });

    await t.step("groups: members on every node, and a join is known everywhere", async () => {
      const peers = await Promise.all(
        Array.from({ length: nodeCount }, (_, i) => cluster.connect(i)),
      );
      const [first] = peers;
      assert(first !== undefined);
      const ids: number[] = [];
      for (const peer of peers) ids.push(await peer.enter(fresh("member")));
      const made = await first.ask({ msgid: MSGID.CREATE_GROUP, groupname: fresh("group") });
      const groupid = field(made, "groupid");
      await first.send({ msgid: MSGID.GROUP_CHAT, groupid, msg: "alone", cid: "0" });
      await first.expect(MSGID.CHAT_ACK);
      for (const peer of peers.slice(1)) {
        assertEquals((await peer.ask({ msgid: MSGID.JOIN_GROUP, groupid })).msgid, MSGID.OK);
      }

      for (const [i, sender] of peers.entries()) {
        await sender.send({ msgid: MSGID.GROUP_CHAT, groupid, msg: `from ${i}`, cid: `c${i}` });
        await sender.expect(MSGID.CHAT_ACK, (m) => m.cid === `c${i}`);
        for (const other of peers) {
          if (other === sender) continue;
          const push = await other.take(MSGID.GROUP_CHAT, (m) => m.msg === `from ${i}`);
          assertEquals(push.id, ids[i]);
        }
      }

      const stranger = await cluster.connect(last);
      await stranger.enter(fresh("stranger"));
      await stranger.send({ msgid: MSGID.GROUP_CHAT, groupid, msg: "let me in", cid: "s" });
      assertEquals((await stranger.expect(MSGID.ERROR)).errno, 6);
      for (const peer of [...peers, stranger]) await peer[Symbol.asyncDispose]();
    });

    await t.step("states of friends and members are right on every node", async () => {
      await using here = await cluster.connect(0);
      await using there = await cluster.connect(last);
      const hereId = await here.enter(fresh("here"));
      const thereId = await there.enter(fresh("there"));
      const added = await here.ask({ msgid: MSGID.ADD_FRIEND, friendid: thereId });
      assertEquals((field(added, "friend") as { state: string }).state, "online");
      const made = await here.ask({ msgid: MSGID.CREATE_GROUP, groupname: fresh("states") });
      await there.ask({ msgid: MSGID.JOIN_GROUP, groupid: made.groupid });

      await there.ask({ msgid: MSGID.LOGOUT });
      await here.expect(MSGID.PRESENCE, (m) => m.id === thereId && m.state === "offline");
      assertEquals((await there.login(thereId)).errno, 0);
      await here.expect(MSGID.PRESENCE, (m) => m.id === thereId && m.state === "online");

      await here.ask({ msgid: MSGID.LOGOUT });
      for (let node = 0; node < nodeCount; node++) {
        await using again = await cluster.connect(node);
        const ack = await again.login(hereId);
        assertEquals(states(ack.friends), { [thereId]: "online" });
        const [group] = ack.groups as { users: unknown }[];
        assertEquals(states(group?.users), { [hereId]: "online", [thereId]: "online" });
        await again.ask({ msgid: MSGID.LOGOUT });
      }
    });

    await t.step("RESUME on another node takes the old connection's place", async () => {
      await using old = await cluster.connect(0);
      const id = await old.register(fresh("resumer"));
      const { token } = await old.login(id);
      await using next = await cluster.connect(last);

      const ack = await next.ask({ msgid: MSGID.RESUME, token });

      assertEquals([ack.errno, ack.id], [0, id]);
      assertEquals((await old.expectBye()).errno, 2);
      await using friend = await cluster.connect(0);
      await friend.enter(fresh("friend"));
      await friend.chat(id, "to the new place");
      assertEquals((await next.take(MSGID.ONE_CHAT)).msg, "to the new place");
    });

    if (nodeCount > 2) return;
    await t.step("10,000 messages between two nodes arrive once each and in order", async () => {
      await using sender = await cluster.connect(0);
      await using receiver = await cluster.connect(1);
      await sender.enter(fresh("many"));
      const to = await receiver.enter(fresh("much"));
      // Of a stranger not so much may wait for one who reads slowly.
      await receiver.ask({ msgid: MSGID.ADD_FRIEND, friendid: sender.id });
      const got: unknown[] = [];
      const WINDOW = 500;
      const send = async () => {
        let acked = 0;
        for (let next = 0; acked < ROUNDTRIP;) {
          const chats = [];
          while (next < ROUNDTRIP && next - acked < WINDOW) {
            chats.push({ msgid: MSGID.ONE_CHAT, toid: to, cid: `m${next}`, msg: `${next++}` });
          }
          if (chats.length > 0) await sender.send(...chats);
          await sender.expect(MSGID.CHAT_ACK);
          acked += 1 + sender.takeAll(MSGID.CHAT_ACK).length;
        }
      };
      const receive = async () => {
        while (got.length < ROUNDTRIP) {
          const pushes = [await receiver.expect(MSGID.ONE_CHAT)];
          pushes.push(...receiver.takeAll(MSGID.ONE_CHAT));
          got.push(...pushes.map((m) => Number(m.msg)));
          await receiver.send({ msgid: MSGID.RECV_ACK, mids: pushes.map((m) => m.mid) });
        }
      };
      await Promise.all([send(), receive()]);
      await receiver.fence();

      assertEquals(got, Array.from({ length: ROUNDTRIP }, (_, i) => i));
      assertEquals(receiver.takeAll(MSGID.ONE_CHAT), []);
    });
  });
}

/** The entry of a connection that vanished goes as soon as its node sees the end. */
async function untilLogin(peer: TestPeer, id: number): Promise<void> {
  for (let attempt = 0;; attempt++) {
    const { errno } = await peer.login(id);
    if (errno === 0) return;
    assert(attempt < 100, "still online");
    await peer.fence();
  }
}
