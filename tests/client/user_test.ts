/** What goes out in a user's name, where several share one outbox file or one connection. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { MSGID } from "@chat/wire/messages.ts";
import { systemClock } from "../../client/library/clock.ts";
import { Journal } from "../../client/transport/journal.ts";
import { type Client, type ClientOptions, connect, RequestError } from "../../client/mod.ts";
import { type Peer, PeerListener } from "../support/client_peer.ts";

const mid = "01J00000000000000000000001";
const ofBob = { cid: "b1", from: 7, toid: 9, groupid: 0, msg: "bob's", at: 1 };

interface Scene extends AsyncDisposable {
  readonly client: Client;
  readonly peer: Peer;
}

/** Alice is logged in, as user 1. */
async function scene(options: ClientOptions = {}): Promise<Scene> {
  const listener = new PeerListener();
  const connecting = connect({ port: listener.port, clock: systemClock, ...options });
  const peer = await listener.accept();
  const client = await connecting;
  const login = client.login({ name: "alice", password: "secret" });
  await peer.logIn();
  await login;
  return {
    client,
    peer,
    async [Symbol.asyncDispose]() {
      await client.close();
      await peer[Symbol.asyncDispose]();
      listener[Symbol.dispose]();
    },
  };
}

/** An outbox file in which a chat of bob waits. */
async function sharedOutbox(): Promise<AsyncDisposable & { readonly outboxFile: string }> {
  const dir = await Deno.makeTempDir({ prefix: "client-test-" });
  const outboxFile = join(dir, "outbox");
  const { journal } = await Journal.open(outboxFile);
  await journal.append(ofBob);
  await journal.close();
  return { outboxFile, [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}

Deno.test("whoever deletes their account loses their own unsent chats, not those of others", async () => {
  await using shared = await sharedOutbox();
  const failed: string[] = [];
  {
    await using at = await scene({
      outboxFile: shared.outboxFile,
      onEvent: (event) => {
        if (event.type === "failed") failed.push(event.msg);
      },
    });
    await at.client.sendTo(2, "alice's");
    await at.peer.expect(MSGID.ONE_CHAT);
    const deleting = at.client.deleteAccount("secret");
    const { req } = await at.peer.expect(MSGID.DELETE_ACCOUNT);
    await at.peer.send({ msgid: MSGID.OK, req });
    await deleting;
    assertEquals(at.client.unsent, [ofBob]);
  }
  const { journal, waiting } = await Journal.open(shared.outboxFile);
  await journal.close();

  assertEquals(failed, ["alice's"]);
  assertEquals(waiting, [ofBob]);
});

Deno.test("a chat that is being queued while its account is deleted fails with the others", async () => {
  await using shared = await sharedOutbox();
  await using at = await scene({ outboxFile: shared.outboxFile });
  const deleting = at.client.deleteAccount("secret");
  const { req } = await at.peer.expect(MSGID.DELETE_ACCOUNT);
  const sending: Promise<unknown>[] = [];
  const stop = new AbortController();
  // One is on its way to the file whenever the answer comes.
  const busy = (async () => {
    while (!stop.signal.aborted) {
      const queued = at.client.sendTo(2, "late");
      const outcome = queued.then((chat) => chat.acknowledged());
      outcome.catch(() => {}); // looked at below
      sending.push(outcome);
      await queued.catch(() => stop.abort());
    }
  })();
  await at.peer.send({ msgid: MSGID.OK, req });
  await deleting;
  await busy;

  assertEquals(at.client.unsent, [ofBob]);
  const outcomes = await Promise.allSettled(sending);
  const kinds = outcomes.map((o) => o.status === "rejected" && o.reason instanceof RequestError);
  assertEquals(new Set(kinds), new Set([true]));
});

Deno.test("nobody waits for chats of others that wait in the same outbox file", async () => {
  await using shared = await sharedOutbox();
  await using at = await scene({ outboxFile: shared.outboxFile });
  const before = await at.client.drained(0);
  await at.client.sendTo(2, "alice's");
  const meanwhile = await at.client.drained(0);
  const { cid } = await at.peer.expect(MSGID.ONE_CHAT);
  const drained = at.client.drained(30_000);
  await at.peer.send({ msgid: MSGID.CHAT_ACK, cid, mid, ts: 1 });

  assertEquals([before, meanwhile, await drained], [true, false, true]);
  assertEquals(at.client.unsent, [ofBob]);
});

Deno.test("nobody waits for what only a login could send", async () => {
  await using at = await scene();
  await at.client.sendTo(2, "unsent");
  const drained = at.client.drained(30_000);
  const leaving = at.client.logout();
  await at.peer.expect(MSGID.ONE_CHAT);
  const { req } = await at.peer.expect(MSGID.LOGOUT);
  await at.peer.send({ msgid: MSGID.OK, req });
  await leaving;
  at.client.reconnect(); // whatever wakes those who wait
  const began = performance.now();

  assertEquals([await drained, await at.client.drained(30_000)], [false, false]);
  assert(performance.now() - began < 10_000);
});

Deno.test("what is dealt with while a logout is under way is confirmed only if that fails", async () => {
  const push = {
    msgid: MSGID.ONE_CHAT,
    id: 2,
    name: "bob",
    toid: 1,
    cid: "c",
    msg: "hi",
    mid,
    ts: 1,
  };
  for (const fails of [false, true]) {
    await using at = await scene();
    const events = at.client[Symbol.asyncIterator]();
    await at.peer.send(push);
    while ((await events.next()).value?.type !== "message");
    const leaving = at.client.logout();
    const { req } = await at.peer.expect(MSGID.LOGOUT);
    const more = events.next(); // comes back for more: the message is dealt with
    const answer = fails ? { msgid: MSGID.ERROR, errno: 8, errmsg: "no" } : { msgid: MSGID.OK };
    await at.peer.send({ ...answer, req });
    if (fails) await assertRejects(() => leaving, RequestError);
    else await leaving;
    at.client.typing({ kind: "user", id: 2 }); // a fence
    const login = fails ? undefined : at.client.login({ name: "alice", password: "secret" });
    const next = await at.peer.next();

    assertEquals(next.msgid, fails ? MSGID.RECV_ACK : MSGID.LOGIN);
    await at.client.close();
    await more;
    await login?.catch(() => {});
  }
});
