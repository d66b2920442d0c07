/** A thread of the node dies under traffic: no client notices more than a pause. */

import { assert, assertEquals } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { createLocalBus } from "../../actors/adapters/local_bus.ts";
import type { BusPort } from "../../actors/ports.ts";
import { readConfig } from "../../server/settings/config.ts";
import { createLog } from "../../server/observe/log.ts";
import { type ChatNode, startNode } from "../../server/node.ts";
import { STORE_THREAD } from "../../server/threads/node_threads.ts";
import { TestPeer, TestServer } from "../support/server_harness.ts";
import { PASSWORD } from "../support/test_peer.ts";
import { type Flow, flowV1, flowV2, progress } from "../support/traffic.ts";

const DEATHS = 5;

interface Crowd extends AsyncDisposable {
  readonly peers: readonly TestPeer[];
  readonly flows: readonly Flow[];
}

/** Three v2 and two v1 pairs that talk. */
async function crowd(port: number): Promise<Crowd> {
  const peers: TestPeer[] = [];
  const flows: Flow[] = [];
  for (const [i, v] of ([2, 2, 2, 1, 1] as const).entries()) {
    const from = await TestPeer.connect(port, v);
    const to = await TestPeer.connect(port, v);
    peers.push(from, to);
    await from.enter(`from${i}`);
    await to.enter(`to${i}`);
    flows.push(v === 2 ? flowV2(from, to) : flowV1(from, to, 2));
  }
  return {
    peers,
    flows,
    async [Symbol.asyncDispose]() {
      for (const peer of peers) await peer[Symbol.asyncDispose]();
    },
  };
}

for (const workers of [1, 2]) {
  Deno.test(`session workers that die under traffic cost nobody a connection or a message, --workers ${workers}`, async () => {
    await using server = await TestServer.start({ workers });
    await using it = await crowd(server.port);
    await progress(it.flows, 50);

    for (let death = 1; death <= DEATHS; death++) {
      server.signal("SIGUSR2");
      await server.line(/thread died/, death);
      await progress(it.flows, 50);
    }

    for (const flow of it.flows) await flow.finish();
    assert(it.peers.every((peer) => !peer.ended));
  });
}

interface InProcess extends AsyncDisposable {
  readonly node: ChatNode;
  readonly port: number;
  /** Threads that died. */
  readonly died: readonly unknown[];
}

function start(workers: number, ...flags: string[]): Promise<InProcess> {
  return startOn(createLocalBus("test"), workers, ...flags);
}

/** A node in this process, whose threads can be ended one by one. */
async function startOn(bus: BusPort, workers: number, ...flags: string[]): Promise<InProcess> {
  const data = await Deno.makeTempDir({ prefix: "chat-death-" });
  const args = ["--port", "0", "--data", data, "--workers", `${workers}`, ...flags];
  const invocation = readConfig([...args, "--password-cost", "64,1"], () => undefined, 2);
  assert(!invocation.help);
  const died: unknown[] = [];
  const quiet = createLog("error", false);
  const node = await startNode(invocation.config, {
    log: {
      ...quiet,
      error: (event, fields) => event.startsWith("thread died") && died.push(fields),
    },
    bus,
    onFatal: (text) => {
      throw new Error(text);
    },
  });
  return {
    node,
    died,
    port: node.address.port,
    async [Symbol.asyncDispose]() {
      await node.stop();
      await Deno.remove(data, { recursive: true });
    },
  };
}

Deno.test("a store thread that dies under traffic costs nobody a connection or a message", async () => {
  await using running = await start(1);
  await using it = await crowd(running.port);
  await progress(it.flows, 50);

  for (let death = 1; death <= DEATHS; death++) {
    assert(running.node.killWorker(STORE_THREAD - 1), "session worker i is thread i + 1");
    await progress(it.flows, 50);
  }

  for (const flow of it.flows) await flow.finish();
  assert(it.peers.every((peer) => !peer.ended));
  assertEquals(running.died.length, DEATHS);
});

Deno.test("who takes a session over while its worker is dead ends it all the same", async () => {
  await using running = await start(2);
  const { node, port } = running;
  await using old = await TestPeer.connect(port); // of worker 0
  await using fresh = await TestPeer.connect(port); // of worker 1
  const id = await old.register("alice");
  const { token } = await old.login(id);

  assert(node.killWorker(0));
  const resumed = await fresh.ask({ msgid: MSGID.RESUME, v: 2, token });
  const bye = await old.expectBye();

  assertEquals([resumed.errno, bye.errno], [0, 2]);
});

Deno.test("a chat that was put off is waited for also by the worker after its session's", async () => {
  await using running = await start(1, "--max-store-queue", "1");
  const { node, port } = running;
  await using alice = await TestPeer.connect(port);
  await using bob = await TestPeer.connect(port);
  const a = await alice.enter("alice");
  const b = await bob.enter("bob");
  const chat = (cid: string) => ({ msgid: MSGID.ONE_CHAT, toid: b, cid, msg: cid });
  await alice.chat(b, "warm");
  await alice.send(chat("first"), chat("put off"));
  const refused = await alice.expect(MSGID.ERROR);
  await alice.expect(MSGID.CHAT_ACK);

  assert(node.killWorker(0));
  const after = await alice.ask(chat("sent before the refusal came"));
  await alice.chat(b, "put off", "put off");
  await alice.chat(b, "at last", "sent before the refusal came");

  assertEquals([refused.cid, refused.errno, after.errno], ["put off", 9, 9]);
  const history = await bob.ask({ msgid: MSGID.HISTORY, userid: a });
  assert(Array.isArray(history.messages));
  assertEquals(history.messages.map((m) => m.msg), ["warm", "first", "put off", "at last"]);
});

Deno.test("who ends a login is answered, also by the worker after the one that ended it", async () => {
  const bus = createLocalBus("test");
  let release = Promise.withResolvers<void>();
  let isAsked = Promise.withResolvers<void>();
  bus.release = () => {
    isAsked.resolve();
    return release.promise;
  };
  await using running = await startOn(bus, 1);
  for (
    const ends of [{ msgid: MSGID.LOGOUT }, { msgid: MSGID.DELETE_ACCOUNT, password: PASSWORD }]
  ) {
    await using alice = await TestPeer.connect(running.port);
    await alice.enter(`alice${ends.msgid}`);

    const answer = alice.ask(ends);
    await isAsked.promise;
    assert(running.node.killWorker(0));
    const { msgid, errno } = await answer;
    const again = ends.msgid === MSGID.LOGOUT
      ? await alice.ask({ msgid: MSGID.LOGOUT }) // nobody is logged in any more
      : await alice.expectBye();

    assertEquals([msgid, errno], [MSGID.OK, undefined]);
    assertEquals(again.errno, ends.msgid === MSGID.LOGOUT ? 3 : 1);
    release.resolve();
    [release, isAsked] = [Promise.withResolvers(), Promise.withResolvers()];
  }
});
