import { assert, assertEquals, assertRejects } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { join } from "@std/path";
import { MSGID } from "@chat/wire/messages.ts";
import { type Clock, systemClock } from "../../client/library/clock.ts";
import {
  type Client,
  type ClientEvent,
  type ClientOptions,
  connect,
  ConnectionLost,
  OutboxFull,
  RequestError,
} from "../../client/mod.ts";
import { type Frame, Peer, PeerListener } from "../support/client_peer.ts";

/** Real time; every back-off is as short as it may be. */
const hasty: Clock = { ...systemClock, random: () => 0 };

const mid = (n: number) => `01J${String(n).padStart(23, "0")}`;

/** A push to user 1 from user 2. */
const push = (n: number, cid = `c${n}`) => ({
  msgid: MSGID.ONE_CHAT,
  mid: mid(n),
  cid,
  id: 2,
  name: "bob",
  ts: n,
  toid: 1,
  msg: `text ${n}`,
});

/** The next event of one type, others passed over. */
async function event<T extends ClientEvent["type"]>(
  events: AsyncIterator<ClientEvent>,
  type: T,
): Promise<Extract<ClientEvent, { type: T }>> {
  while (true) {
    const { value, done } = await deadline(events.next(), 10_000);
    if (done) throw new Error(`the events ended before "${type}"`);
    if (isOf(value, type)) return value;
  }
}

function isOf<T extends ClientEvent["type"]>(
  value: ClientEvent,
  type: T,
): value is Extract<ClientEvent, { type: T }> {
  return value.type === type;
}

interface Scene extends AsyncDisposable {
  readonly listener: PeerListener;
  readonly client: Client;
  readonly peer: Peer;
  readonly events: AsyncIterator<ClientEvent>;
}

/** A client that is logged in at a scripted server. */
async function scene(options: ClientOptions = {}, loginAck: object = {}): Promise<Scene> {
  const listener = new PeerListener();
  const connecting = connect({ port: listener.port, clock: hasty, ...options });
  const peer = await listener.accept();
  const client = await connecting;
  const login = client.login({ name: "alice", password: "secret" });
  await peer.logIn(loginAck);
  await login;
  return {
    listener,
    client,
    peer,
    events: client[Symbol.asyncIterator](),
    async [Symbol.asyncDispose]() {
      await client.close();
      await peer[Symbol.asyncDispose]();
      listener[Symbol.dispose]();
    },
  };
}

Deno.test("a login asks for protocol 2 and brings the session", async () => {
  using listener = new PeerListener();
  const connecting = connect({ port: listener.port, clock: hasty });
  await using peer = await listener.accept();
  const client = await connecting;

  const login = client.login({ name: "alice", password: "secret" });
  const request = await peer.logIn({ friends: [{ id: 2, name: "bob", state: "online" }] });
  const session = await login;
  await client.close();

  assertEquals(
    { v: request.v, name: request.name, password: request.password, want: request.want },
    { v: 2, name: "alice", password: "secret", want: ["delivered", "typing"] },
  );
  assertEquals(session.friends, [{ id: 2, name: "bob", state: "online" }]);
});

Deno.test("connecting to nobody is refused with the address in words", async () => {
  const listener = new PeerListener();
  const { port } = listener;
  listener[Symbol.dispose]();

  const error = await assertRejects(() => connect({ port, clock: hasty }), ConnectionLost);

  assertEquals(error.message, `cannot reach 127.0.0.1:${port}: connection refused`);
});

Deno.test("a refused login tells errno and words and can be tried again", async () => {
  using listener = new PeerListener();
  const connecting = connect({ port: listener.port, clock: hasty });
  await using peer = await listener.accept();
  const client = await connecting;

  const first = client.login({ name: "alice", password: "wrong" });
  const request = await peer.next();
  await peer.send({ msgid: MSGID.LOGIN_ACK, errno: 1, errmsg: "no", req: request.req });
  const error = await assertRejects(() => first, RequestError, "no");
  const second = client.login({ name: "alice", password: "right" });
  await peer.logIn();
  await second;
  await client.close();

  assertEquals(error.errno, 1);
});

Deno.test("a message is confirmed after the program has dealt with it, and not before", async () => {
  await using at = await scene();
  await at.peer.send(push(1), push(2));

  const first = await event(at.events, "message");
  at.client.typing({ kind: "user", id: 2 }); // a fence: whatever was confirmed is in front of it
  const fence = await at.peer.next();
  const second = await event(at.events, "message"); // comes back for more: the first is done
  const receipt = await at.peer.next();

  assertEquals([first.message.msg, second.message.msg], ["text 1", "text 2"]);
  assertEquals(fence.msgid, MSGID.TYPING);
  assertEquals(receipt, { msgid: MSGID.RECV_ACK, mids: [mid(1)] });
});

Deno.test("receipts of one turn share a frame", async () => {
  let received = 0;
  await using at = await scene({
    onEvent: (e) => {
      if (e.type === "message") received++;
    },
  });

  await at.peer.send(...Array.from({ length: 100 }, (_, n) => push(n)));
  const confirmed: unknown[] = [];
  let frames = 0;
  while (confirmed.length < 100) {
    const { mids } = await at.peer.expect(MSGID.RECV_ACK);
    if (Array.isArray(mids)) confirmed.push(...mids);
    frames++;
  }

  assertEquals(confirmed, Array.from({ length: 100 }, (_, n) => mid(n)));
  assertEquals(received, 100);
  assert(frames < 20, `${frames} frames`);
});

Deno.test("a repeat is confirmed but not shown, by mid and by the sender's cid", async () => {
  await using at = await scene();

  await at.peer.send(push(1), push(1), push(2, "c1"), push(3));
  const shown = [await event(at.events, "message"), await event(at.events, "message")];
  await at.peer.send(push(1));
  const confirmed = new Set<unknown>();
  while (confirmed.size < 2) {
    const { mids } = await at.peer.expect(MSGID.RECV_ACK);
    if (Array.isArray(mids)) mids.forEach((m) => confirmed.add(m));
  }

  assertEquals(shown.map((e) => e.message.mid), [mid(1), mid(3)]);
  assertEquals(confirmed, new Set([mid(1), mid(2)]));
});

Deno.test("what the server hands over again after a logout and a login is not shown again", async () => {
  await using at = await scene();
  const logIn = async () => {
    const login = at.client.login({ name: "alice", password: "secret" });
    await at.peer.logIn();
    await login;
  };

  await at.peer.send(push(1), push(2));
  const shown = [await event(at.events, "message")];
  const logout = at.client.logout();
  const { req } = await at.peer.expect(MSGID.LOGOUT);
  await at.peer.send({ msgid: MSGID.OK, req });
  await logout;
  await logIn();
  await at.peer.send(push(1), push(2), push(3));
  shown.push(await event(at.events, "message"), await event(at.events, "message"));

  assertEquals(shown.map((e) => e.message.mid), [mid(1), mid(2), mid(3)]);
});

Deno.test("chats without acknowledgement are sent again after a lost connection, in order, same cids", async () => {
  await using at = await scene();
  const queued = [];
  for (const text of ["a", "b", "c"]) queued.push(await at.client.sendTo(2, text));
  const sent = [await at.peer.next(), await at.peer.next(), await at.peer.next()];
  await at.peer.send({ msgid: MSGID.CHAT_ACK, cid: sent[0]?.cid, mid: mid(1), ts: 1 });
  await queued[0]?.acknowledged();

  await at.peer[Symbol.asyncDispose]();
  await using again = await at.listener.accept();
  const login = await again.logIn();
  const resent = [await again.next(), await again.next()];
  await again.send(
    { msgid: MSGID.CHAT_ACK, cid: resent[0]?.cid, mid: mid(2), ts: 2 },
    { msgid: MSGID.CHAT_ACK, cid: resent[1]?.cid, mid: mid(3), ts: 3 },
  );
  const acks = await Promise.all(queued.map((chat) => chat.acknowledged()));

  assertEquals([login.msgid, login.token], [MSGID.RESUME, "token-1"]);
  assertEquals(resent.map((f) => [f.cid, f.msg]), [[sent[1]?.cid, "b"], [sent[2]?.cid, "c"]]);
  assertEquals(acks.map((ack) => ack.mid), [mid(1), mid(2), mid(3)]);
});

Deno.test("a chat sent again says when it was first sent by the server's clock, and what was known then", async () => {
  const now = Date.now() + 3_600_000;
  await using at = await scene({}, { now });
  await at.peer.send(push(7));
  await event(at.events, "message");

  await at.client.sendTo(2, "a");
  const first = await at.peer.expect(MSGID.ONE_CHAT);
  await at.peer.send(push(8));
  await event(at.events, "message");
  await at.peer[Symbol.asyncDispose]();
  await using again = await at.listener.accept();
  const login = await again.logIn({ now });
  const second = await again.expect(MSGID.ONE_CHAT);

  assertEquals(login.seen, mid(8), "of what is said from now on");
  assertEquals([first.at, first.seen, second.seen], [undefined, undefined, mid(7)]);
  assert(typeof second.at === "number" && Math.abs(second.at - now) < 10_000, `${second.at}`);
});

Deno.test("the device's name goes with every login and resume", async () => {
  using listener = new PeerListener();
  const connecting = connect({ port: listener.port, clock: hasty, device: "laptop" });
  const peer = await listener.accept();
  const client = await connecting;
  const login = client.login({ name: "alice", password: "secret" });
  const first = await peer.logIn();
  await login;
  await peer[Symbol.asyncDispose]();
  await using again = await listener.accept();
  const second = await again.logIn();
  await client.close();

  assertEquals([first.device, second.device], ["laptop", "laptop"]);
});

Deno.test("what was first sent before the end of the process is told by the next one", async () => {
  const dir = await Deno.makeTempDir({ prefix: "client-test-" });
  const outboxFile = join(dir, "outbox");
  const now = Date.now();
  const run = async (act: (client: Client, peer: Peer) => Promise<void>) => {
    await using at = await scene({ outboxFile }, { now });
    await act(at.client, at.peer);
  };
  let chats: Frame[] = [];

  await run(async (client, peer) => {
    await peer.send(push(7));
    await event(client[Symbol.asyncIterator](), "message");
    await client.sendTo(2, "sent");
    await peer.nextChat();
  });
  await run(async (_, peer) => {
    chats = [await peer.nextChat()];
  });
  await Deno.remove(dir, { recursive: true });

  assertEquals(chats.map((chat) => [typeof chat.at, chat.seen]), [["number", mid(7)]]);
});

Deno.test("a client's ids grow with time", async () => {
  await using at = await scene();
  const cids: string[] = [];

  for (let n = 0; n < 40; n++) {
    cids.push((await at.client.sendTo(2, "hello")).cid);
    if (n % 10 === 9) {
      const began = Date.now();
      while (Date.now() === began); // the next group is of a later ms
    }
  }

  const groups = [0, 10, 20, 30].map((from) => cids.slice(from, from + 10).toSorted());
  assertEquals(groups.flat(), cids.toSorted());
  assertEquals(new Set(cids).size, 40);
  assert(cids.every((cid) => cid.length <= 32));
});

Deno.test("after a passing refusal everything from it on is sent again in order", async () => {
  await using at = await scene();
  const queued = await at.client.sendTo(2, "a");
  for (const text of ["b", "c"]) await at.client.sendTo(2, text);
  const [a, b, c] = [await at.peer.next(), await at.peer.next(), await at.peer.next()];

  await at.peer.send(
    { msgid: MSGID.ERROR, errno: 9, errmsg: "later", cid: b.cid, req: b.req },
    { msgid: MSGID.ERROR, errno: 9, errmsg: "later", cid: c.cid, req: c.req },
    { msgid: MSGID.CHAT_ACK, cid: a.cid, mid: mid(1), ts: 1 },
  );
  await queued.acknowledged(); // the refusals before it have come, too
  await at.client.sendTo(2, "d");
  const again = [await at.peer.next(), await at.peer.next(), await at.peer.next()];
  // A refusal of the first sending that comes late changes nothing.
  await at.peer.send({ msgid: MSGID.ERROR, errno: 9, errmsg: "later", cid: b.cid, req: b.req });
  await at.client.sendTo(2, "e");
  const last = await at.peer.next();

  assertEquals(again.map((f) => f.msg), ["b", "c", "d"]);
  assertEquals(again.map((f) => f.cid).slice(0, 2), [b.cid, c.cid]);
  assertEquals(last.msg, "e");
});

Deno.test("a chat that is refused for good fails alone", async () => {
  await using at = await scene();
  const bad = await at.client.sendTo(99, "to nobody");
  const good = await at.client.sendTo(2, "to bob");
  const [first, second] = [await at.peer.next(), await at.peer.next()];

  await at.peer.send(
    { msgid: MSGID.ERROR, errno: 5, errmsg: "no such user", cid: first.cid },
    { msgid: MSGID.CHAT_ACK, cid: second.cid, mid: mid(1), ts: 1 },
  );

  const error = await assertRejects(() => bad.acknowledged(), RequestError, "no such user");
  assertEquals(error.errno, 5);
  assertEquals((await good.acknowledged()).mid, mid(1));
  assertEquals(at.client.unsent.length, 0);
});

Deno.test("a missing acknowledgement leads to a new connection", async () => {
  await using at = await scene({ ackTimeoutMs: 100 });

  const queued = await at.client.sendTo(2, "hello");
  const first = await at.peer.next();
  await using again = await at.listener.accept();
  await again.logIn();
  const second = await again.next();
  await again.send({ msgid: MSGID.CHAT_ACK, cid: second.cid, mid: mid(1), ts: 1 });
  await queued.acknowledged();

  assertEquals(second.cid, first.cid);
});

Deno.test("a server that owes an acknowledgement is asked whether it is there", async () => {
  const waitedMs = async (isThere: boolean) => {
    await using at = await scene({ ackTimeoutMs: 1_500 });
    const began = Date.now();
    await at.client.sendTo(2, "hello");
    const answer = async () => {
      while (true) {
        const { msgid } = await at.peer.nextOfAny(); // throws once the client has gone
        if (msgid === MSGID.PING) await at.peer.send({ msgid: MSGID.PONG });
      }
    };
    const answered = isThere ? assertRejects(answer) : Promise.resolve();
    await using _ = await at.listener.accept(); // the first connection has been given up
    const ms = Date.now() - began;
    await answered;
    return ms;
  };

  const [silent, slow] = [await waitedMs(false), await waitedMs(true)];

  assert(silent >= 700 && silent < 1_450, `${silent} ms`);
  assert(slow >= 1_450, `${slow} ms`);
});

Deno.test("a server that falls silent is noticed within two heartbeats", async () => {
  const startedMs = performance.now();
  await using at = await scene({}, { heartbeat: 0.2 });

  const ping = await at.peer.nextOfAny();
  await using again = await at.listener.accept();
  const tookMs = performance.now() - startedMs;
  await again.logIn();

  assertEquals(ping.msgid, MSGID.PING);
  assert(tookMs >= 250 && tookMs < 1_000, `${tookMs} ms`);
});

Deno.test("a server that answers pings is kept, and its own pings are answered", async () => {
  await using at = await scene({}, { heartbeat: 0.1 });

  for (let pings = 0; pings < 6; pings++) {
    assertEquals((await at.peer.nextOfAny()).msgid, MSGID.PING);
    await at.peer.send({ msgid: MSGID.PONG });
  }
  await at.peer.send({ msgid: MSGID.PING, req: "r1" });
  const pong = await at.peer.next();

  assertEquals(pong, { msgid: MSGID.PONG, req: "r1" });
  assertEquals(at.client.state, "online");
});

Deno.test("a refused token falls back to the password", async () => {
  await using at = await scene();

  await at.peer[Symbol.asyncDispose]();
  await using again = await at.listener.accept();
  const resume = await again.next();
  await again.send({ msgid: MSGID.LOGIN_ACK, errno: 1, errmsg: "void", req: resume.req });
  const login = await again.logIn({ token: "token-2" });

  assertEquals([resume.msgid, resume.token], [MSGID.RESUME, "token-1"]);
  assertEquals([login.msgid, login.password], [MSGID.LOGIN, "secret"]);
});

Deno.test("who was refused by token and by login is told that a login is needed, until one works", async () => {
  using listener = new PeerListener();
  const resume = { token: "t", id: 1, name: "alice" };
  const client = await connect({ port: listener.port, clock: hasty, resume });
  await using first = await listener.accept();
  const needed = [client.loginNeeded];
  const refused = {
    msgid: MSGID.LOGIN_ACK,
    errno: 1,
    errmsg: "void",
    req: (await first.next()).req,
  };
  const events = client[Symbol.asyncIterator]();
  await first.send(refused);
  while ((await event(events, "connection")).state !== "offline");
  needed.push(client.loginNeeded);

  const login = client.login({ name: "alice", password: "secret" });
  await using second = await listener.accept();
  const busy = {
    msgid: MSGID.LOGIN_ACK,
    errno: 2,
    errmsg: "in use",
    req: (await second.next()).req,
  };
  await second.send(busy);
  await assertRejects(() => login, RequestError, "in use");
  needed.push(client.loginNeeded);
  const again = client.login({ name: "alice", password: "secret" });
  await second.logIn();
  await again;
  needed.push(client.loginNeeded);
  await client.close();

  assertEquals(needed, [false, true, true, false]);
});

Deno.test("a login whose answer does not come in time ends its connection, and another one works", async () => {
  using listener = new PeerListener();
  const client = await connect({ port: listener.port, clock: hasty, requestTimeoutMs: 50 });
  await using first = await listener.accept();
  const login = client.login({ name: "alice", password: "secret" });

  const { req } = await first.next();
  await assertRejects(() => login, ConnectionLost);
  const late = first.send({ msgid: MSGID.LOGIN_ACK, errno: 0, id: 1, name: "alice", req })
    .catch(() => {}); // it has gone
  await first.closed();
  await late;
  const again = client.login({ name: "alice", password: "secret" });
  await using second = await listener.accept();
  await second.logIn();
  await again;

  assertEquals(client.state, "online");
  await client.close();
});

Deno.test("a logout that finds nobody logged in is done", async () => {
  await using at = await scene();

  const leaving = at.client.logout();
  const { req } = await at.peer.expect(MSGID.LOGOUT);
  await at.peer.send({ msgid: MSGID.ERROR, errno: 3, errmsg: "log in first", req });
  await leaving;

  assertEquals([at.client.session, at.client.loginNeeded], [undefined, true]);
});

Deno.test("a login over a connection that is lost at once is told so at once", async () => {
  // Another thread closes what it accepts while this one is busy: the end is there before the login.
  const source = `
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    postMessage(listener.addr.port);
    for await (const conn of listener) conn.close();
  `;
  const worker = new Worker(`data:application/javascript,${encodeURIComponent(source)}`, {
    type: "module",
  });
  const { promise, resolve } = Promise.withResolvers<number>();
  worker.onmessage = ({ data }) => resolve(Number(data));
  const port = await promise;
  const client = await connect({ port, clock: hasty, requestTimeoutMs: 5_000 });
  const began = Date.now();

  for (let n = 0; n < 20; n++) {
    const login = client.login({ name: "alice", password: "secret" });
    const until = Date.now() + 5;
    while (Date.now() < until);
    await assertRejects(() => login, ConnectionLost);
  }

  assert(Date.now() - began < 4_000, `${Date.now() - began} ms`);
  await client.close();
  worker.terminate();
});

Deno.test("BYE says when to come back, and the client waits that long", async () => {
  await using at = await scene();
  await at.peer.send({ msgid: MSGID.BYE, errno: 9, errmsg: "stopping", retryAfterMs: 300 });
  const leftAtMs = performance.now();
  await at.peer[Symbol.asyncDispose]();

  await using again = await at.listener.accept();
  const waitedMs = performance.now() - leftAtMs;
  await again.logIn();

  assert(waitedMs >= 290, `${waitedMs} ms`);
});

Deno.test("a session taken over by another client is not taken back", async () => {
  await using at = await scene();
  await at.peer.send({ msgid: MSGID.BYE, errno: 2, errmsg: "logged in elsewhere" });
  await at.peer[Symbol.asyncDispose]();

  let last = await event(at.events, "connection");
  while (last.state !== "offline") last = await event(at.events, "connection");

  assertEquals(last.reason, "logged in elsewhere");
  await assertRejects(() => at.client.history({ kind: "user", id: 2 }), ConnectionLost);
});

Deno.test("after a BYE that revokes the session a login is needed, after one for another client none", async () => {
  const needed: boolean[] = [];
  for (const errno of [1, 2]) {
    await using at = await scene();
    await at.peer.send({ msgid: MSGID.BYE, errno, errmsg: "over" });
    await at.peer[Symbol.asyncDispose]();
    let last = await event(at.events, "connection");
    while (last.state !== "offline") last = await event(at.events, "connection");
    needed.push(last.loginNeeded === true, at.client.loginNeeded);

    at.client.reconnect();
    const login = errno === 1
      ? at.client.login({ name: "alice", password: "new secret" })
      : undefined;
    await using again = await at.listener.accept();
    const { msgid } = await again.logIn();
    await login;
    assertEquals(msgid, errno === 1 ? MSGID.LOGIN : MSGID.RESUME);
  }

  assertEquals(needed, [true, true, false, false]);
});

Deno.test("frames that the protocol does not know are passed over, wrong ones are reported", async () => {
  await using at = await scene();

  await at.peer.sendText('{"msgid":99,"new":true}\n{"msgid":6,"mid":"short"}\n');
  await at.peer.send(push(1));
  const wrong = await event(at.events, "error");
  const message = await event(at.events, "message");

  assertEquals(wrong.errno, 4);
  assert(wrong.errmsg.includes("msgid 6"), wrong.errmsg);
  assertEquals(message.message.mid, mid(1));
});

Deno.test("a stream that is out of step ends the connection, and a new one follows", async () => {
  await using at = await scene();

  await at.peer.sendText("HTTP/1.1 400 Bad Request\r\n");
  await at.peer.closed();
  await using again = await at.listener.accept();
  const request = await again.logIn();

  assertEquals(request.msgid, MSGID.RESUME);
});

Deno.test("a request that a lost connection left unanswered is repeated when that is harmless", async () => {
  await using at = await scene();

  const history = at.client.history({ kind: "group", id: 3 }, { limit: 7 });
  await at.peer.expect(MSGID.HISTORY);
  await at.peer[Symbol.asyncDispose]();
  await using again = await at.listener.accept();
  await again.logIn();
  const { groupid, limit, req } = await again.expect(MSGID.HISTORY);
  await again.send({ msgid: MSGID.HISTORY_ACK, messages: [], more: false, req });

  assertEquals(await history, { messages: [], more: false });
  assertEquals({ groupid, limit }, { groupid: 3, limit: 7 });
});

Deno.test("making a group is not repeated when its answer was lost", async () => {
  await using at = await scene();

  const making = assertRejects(() => at.client.createGroup("devs"), ConnectionLost);
  await at.peer.expect(MSGID.CREATE_GROUP);
  await at.peer[Symbol.asyncDispose]();

  await making;
});

Deno.test("chats can be queued before the server is there, and leave once it is", async () => {
  const listener = new PeerListener();
  const { port } = listener;
  listener[Symbol.dispose]();
  const resume = { token: "t", id: 1, name: "alice" };
  const client = await connect({ port, clock: hasty, resume });

  const queued = await client.sendTo(2, "early");
  const server = Deno.listen({ hostname: "127.0.0.1", port });
  await using peer = new Peer(await deadline(server.accept(), 10_000));
  await peer.logIn();
  const chat = await peer.expect(MSGID.ONE_CHAT);
  await peer.send({ msgid: MSGID.CHAT_ACK, cid: chat.cid, mid: mid(1), ts: 1 });
  await queued.acknowledged();
  await client.close();
  server.close();

  assertEquals(chat.msg, "early");
});

Deno.test("a full outbox refuses and keeps what it has", async () => {
  await using at = await scene({ maxOutbox: 2 });

  await at.client.sendTo(2, "a");
  await at.client.sendTo(2, "b");
  await assertRejects(() => at.client.sendTo(2, "c"), OutboxFull);

  assertEquals(at.client.unsent.map((chat) => chat.msg), ["a", "b"]);
});

Deno.test("a text that fits no frame is refused before it is queued", async () => {
  await using at = await scene();

  for (const text of ["", "x".repeat(16_385), "\u0001".repeat(12_000)]) {
    await assertRejects(() => at.client.sendTo(2, text), RequestError);
  }

  assertEquals(at.client.unsent.length, 0);
});

Deno.test("closing ends iteration, and what waited for an acknowledgement is told so", async () => {
  const at = await scene();
  const queued = await at.client.sendTo(2, "a");
  const acknowledged = assertRejects(() => queued.acknowledged(), ConnectionLost);

  await at[Symbol.asyncDispose]();
  await acknowledged;
  let events = 0;
  for await (const _ of at.client) events++;

  assert(events > 0);
  await assertRejects(() => at.client.sendTo(2, "b"), ConnectionLost);
});
