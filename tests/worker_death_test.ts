/** A thread of the node dies under traffic: no client notices more than a pause. */

import { assert, assertEquals } from "@std/assert";
import { createLocalBus } from "../actors/adapters/local_bus.ts";
import { readConfig } from "../server/config.ts";
import { createLog } from "../server/log.ts";
import { startNode, STORE_THREAD } from "../server/node.ts";
import { TestPeer, TestServer } from "./server_harness.ts";
import { type Flow, flowV1, flowV2, progress } from "./traffic.ts";

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

Deno.test("a store thread that dies under traffic costs nobody a connection or a message", async () => {
  const data = await Deno.makeTempDir();
  const args = ["--port", "0", "--data", data, "--workers", "1", "--password-cost", "64,1"];
  const invocation = readConfig(args, () => undefined, 2);
  assert(!invocation.help);
  const died: unknown[] = [];
  const quiet = createLog("error", false);
  const node = await startNode(invocation.config, {
    log: {
      ...quiet,
      error: (event, fields) => event.startsWith("thread died") && died.push(fields),
    },
    bus: createLocalBus("test"),
    onFatal: (text) => {
      throw new Error(text);
    },
  });
  try {
    await using it = await crowd(node.address.port);
    await progress(it.flows, 50);

    for (let death = 1; death <= DEATHS; death++) {
      assert(node.killWorker(STORE_THREAD - 1), "session worker i is thread i + 1");
      await progress(it.flows, 50);
    }

    for (const flow of it.flows) await flow.finish();
    assert(it.peers.every((peer) => !peer.ended));
    assertEquals(died.length, DEATHS);
  } finally {
    await node.stop();
    await Deno.remove(data, { recursive: true });
  }
});
