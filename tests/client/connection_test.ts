/** The way to the server when something happens in between: before an answer, after the last one. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { MSGID } from "@chat/wire/messages.ts";
import { type Clock, pause, systemClock } from "../../client/library/clock.ts";
import { type ClientEvent, connect, ConnectionLost } from "../../client/mod.ts";
import { type Peer, PeerListener } from "../support/client_peer.ts";

/** Real time; every back-off is as short as it may be. */
const hasty: Clock = { ...systemClock, random: () => 0 };

const resume = { token: "t", id: 1, name: "alice" };
const mid = "01J00000000000000000000001";

/** Answers the next request in the server's words and closes. */
async function dismiss(peer: Peer, bye: object): Promise<void> {
  await peer.expect(MSGID.RESUME);
  await peer.send({ msgid: MSGID.BYE, ...bye });
  await peer[Symbol.asyncDispose]();
}

Deno.test("a server that answers a login with BYE is not tried before it wants to be", async () => {
  using listener = new PeerListener();
  const client = await connect({ port: listener.port, clock: hasty, resume });

  await dismiss(await listener.accept(), { errno: 9, errmsg: "full", retryAfterMs: 400 });
  const began = performance.now();
  await using again = await listener.accept();
  const waitedMs = performance.now() - began;
  await again.logIn();
  await client.close();

  assert(waitedMs >= 350, `${waitedMs} ms`);
});

Deno.test("a session whose place is taken while it logs in is not taken back", async () => {
  using listener = new PeerListener();
  const offline = Promise.withResolvers<Extract<ClientEvent, { type: "connection" }>>();
  const client = await connect({
    port: listener.port,
    clock: hasty,
    resume,
    onEvent: (event) => {
      if (event.type !== "connection") return;
      if (event.state === "offline" || event.state === "waiting") offline.resolve(event);
    },
  });

  await dismiss(await listener.accept(), { errno: 2, errmsg: "logged in elsewhere" });
  const { state, reason } = await deadline(offline.promise, 10_000);
  await client.close();

  assertEquals([state, reason], ["offline", "logged in elsewhere"]);
});

Deno.test("what waits to be asked again is told at once that the client was closed", async () => {
  using listener = new PeerListener();
  const connecting = connect({ port: listener.port, clock: hasty });
  await using peer = await listener.accept();
  const client = await connecting;
  const later = { msgid: MSGID.ERROR, errno: 9, errmsg: "later", retryAfterMs: 8_000 };

  const registering = client.register("alice", "secret");
  const { req } = await peer.expect(MSGID.REGISTER);
  await peer.send({ ...later, req });
  const answered = client.register("bob", "secret"); // a fence: the refusal has come before
  const { req: last } = await peer.expect(MSGID.REGISTER);
  await peer.send({ msgid: MSGID.REGISTER_ACK, errno: 0, id: 2, req: last });
  await answered;
  const began = performance.now();
  const told = assertRejects(() => registering, ConnectionLost);
  await client.close();
  await told;

  assert(performance.now() - began < 4_000, `${performance.now() - began} ms`);
});

Deno.test("a message that is dealt with while the client logs in again is not confirmed to nobody", async () => {
  using listener = new PeerListener();
  const client = await connect({ port: listener.port, clock: hasty, resume });
  const events = client[Symbol.asyncIterator]();
  const next = async (type: ClientEvent["type"]) => {
    while ((await deadline(events.next(), 10_000)).value?.type !== type);
  };
  const push = { msgid: MSGID.ONE_CHAT, mid, cid: "c", id: 2, name: "bob", ts: 1, msg: "hi" };
  {
    await using peer = await listener.accept();
    await peer.logIn();
    await peer.send({ ...push, toid: 1 });
    await next("message");
  }

  await using again = await listener.accept();
  const { req } = await again.expect(MSGID.RESUME);
  await next("connection"); // comes back for more: the message is dealt with
  await pause(hasty, 0).done; // a fence: the receipts' timer was armed before
  await again.send({ msgid: MSGID.LOGIN_ACK, errno: 1, errmsg: "void", req });
  const frames = [];
  while (true) {
    const frame = await again.next().catch(() => undefined);
    if (frame === undefined) break;
    frames.push(frame.msgid);
  }
  await client.close();

  assertEquals(frames, []);
});

Deno.test("who has logged out is not connected again when the server goes with its answer", async () => {
  using listener = new PeerListener();
  const states: string[] = [];
  const client = await connect({
    port: listener.port,
    clock: hasty,
    resume,
    onEvent: (event) => {
      if (event.type === "connection") states.push(event.state);
    },
  });
  const peer = await listener.accept();
  await peer.logIn();
  while (client.state !== "online") await new Promise((resolve) => setTimeout(resolve, 5));

  const leaving = client.logout();
  const { req } = await peer.expect(MSGID.LOGOUT);
  const answering = peer.send({ msgid: MSGID.OK, req });
  const closing = peer[Symbol.asyncDispose](); // with the answer: one read after the other
  await leaving;
  await answering;
  await closing;
  // Offline in the end; a connection that is made anew would come before.
  while (!["offline", "connected"].includes(states.at(-1) ?? "")) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await client.close();

  assertEquals(client.loginNeeded, true);
  const afterwards = states.slice(states.indexOf("online") + 1);
  assertEquals(afterwards.includes("connecting"), false, afterwards.join(" "));
});

Deno.test("a client that is closed while it connects does not wait for the server", async () => {
  // Nobody accepts, and the system's queue is full: the next one gets no answer at all.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const { port } = listener.addr;
  const queued = [await Deno.connect({ port }), await Deno.connect({ port })];
  const client = await connect({ port, clock: hasty, resume, connectTimeoutMs: 4_000 });

  const login = assertRejects(
    () => client.login({ name: "alice", password: "secret" }),
    ConnectionLost,
  );
  const began = performance.now();
  await client.close();
  await login;
  const tookMs = performance.now() - began;
  for (const conn of queued) conn.close();

  assert(tookMs < 2_000, `${tookMs} ms`);
});

Deno.test("a login asked for while a token is tried in vain does not share its fate", async () => {
  for (const msgid of [MSGID.ERROR, MSGID.BYE]) {
    using listener = new PeerListener();
    const client = await connect({ port: listener.port, clock: hasty, resume });
    const login = client.login({ name: "alice", password: "secret" });
    const outcome = login.then(({ id }) => id, String);
    {
      await using peer = await listener.accept();
      const { req } = await peer.expect(MSGID.RESUME);
      await peer.send({ msgid, errno: 1, errmsg: "the token is void", req });
    }
    const accepted = listener.accept().then(async (again) => {
      const { msgid } = await again.logIn();
      await again[Symbol.asyncDispose]();
      return msgid;
    });
    const id = await outcome;
    await client.close();

    assertEquals(id, 1);
    assertEquals(await accepted, MSGID.LOGIN);
  }
});

Deno.test("nothing is confirmed after a LOGOUT that had to wait for the connection", async () => {
  using listener = new PeerListener();
  const client = await connect({ port: listener.port, clock: hasty, resume });
  const events = client[Symbol.asyncIterator]();
  const push = { msgid: MSGID.ONE_CHAT, mid, cid: "c", id: 2, name: "bob", ts: 1, msg: "hi" };

  const leaving = client.logout();
  await using peer = await listener.accept();
  await peer.logIn();
  const { req } = await peer.expect(MSGID.LOGOUT);
  await peer.send({ ...push, toid: 1 });
  while ((await deadline(events.next(), 10_000)).value?.type !== "message");
  const more = events.next(); // comes back for more: the message is dealt with
  await pause(hasty, 0).done; // a fence: the receipts' timer was armed before
  await peer.send({ msgid: MSGID.OK, req });
  await leaving;
  const login = client.login({ name: "alice", password: "secret" });
  const request = await peer.logIn();
  await login;
  await peer.send({ ...push, toid: 1 }); // again, as to everybody who has not confirmed
  const receipt = await peer.expect(MSGID.RECV_ACK);
  await client.close();
  await more;

  assertEquals(request.msgid, MSGID.LOGIN);
  assertEquals(receipt.mids, [mid]);
});
