/** What an operator sees of a real process: metrics, the dashboard over them, readiness, the log. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { MSGID } from "@chat/wire/messages.ts";
import { METRICS } from "../../actors/observe/meter.ts";
import { Child } from "../../server/cluster/child.ts";
import { TestCluster } from "../support/cluster_harness.ts";
import { cleanEnv, ROOT, taskCommand, TestServer } from "../support/server_harness.ts";
import { until } from "../support/until.ts";

/** `name{labels}` ⇒ value, of a scrape; every line is checked. */
function samples(text: string): Map<string, number> {
  const found = new Map<string, number>();
  const typed = new Set<string>();
  for (const line of text.trimEnd().split("\n")) {
    const type = /^# TYPE (\w+) (counter|gauge|histogram)$/.exec(line);
    if (type !== null) {
      assert(!typed.has(type[1] ?? ""), `${type[1]} comes twice`);
      typed.add(type[1] ?? "");
    } else if (!line.startsWith("# HELP ")) {
      assertMatch(line, /^\w+\{(\w+="[^"]*",?)+\} -?[\d.e+-]+$/);
      const at = line.lastIndexOf(" ");
      found.set(line.slice(0, at), Number(line.slice(at + 1)));
    }
  }
  return found;
}

/** Sum over all threads of a metric, with one own label if it has one. */
function total(found: Map<string, number>, name: string, label = ""): number {
  let sum = 0;
  for (const [key, value] of found) {
    if (key.startsWith(`${name}{`) && key.includes(label)) sum += value;
  }
  return sum;
}

for (const workers of [0, 2]) {
  Deno.test(`metrics count what was done, over all threads, --workers ${workers}`, async () => {
    await using server = await TestServer.start({ workers });
    await using alice = await server.connect();
    await using bob = await server.connect();
    await alice.enter("alice");
    const b = await bob.enter("bob");
    for (let i = 0; i < 5; i++) {
      await alice.chat(b, `text ${i}`);
      await bob.take(MSGID.ONE_CHAT);
    }
    await alice.ask({ msgid: MSGID.LOGIN, id: b, password: "no", v: 2 }); // errno 2: logged in
    await alice.send({ msgid: 999 });
    await alice.expect(MSGID.ERROR);
    await bob.fence();
    const gone = await server.connect();
    await gone[Symbol.asyncDispose]();

    const scrape = async () => samples((await server.get("/metrics")).text);
    await until(async () => total(await scrape(), "chat_connections_closed_total") === 1);
    const found = await scrape();

    const expected: [name: string, label: string, value: number][] = [
      ["chat_connections", "", 2],
      ["chat_connections_accepted_total", "", 3],
      ["chat_connections_closed_total", 'reason="peer_closed"', 1],
      ["chat_sessions", "", 2],
      ["chat_messages_received_total", 'kind="ONE_CHAT"', 5],
      ["chat_messages_received_total", 'kind="unknown"', 1],
      ["chat_messages_received_total", 'kind="LOGIN"', 3],
      ["chat_messages_sent_total", 'kind="CHAT_ACK"', 5],
      ["chat_messages_sent_total", 'kind="ONE_CHAT"', 5],
      ["chat_requests_rejected_total", 'errno="2"', 1],
      ["chat_requests_rejected_total", 'errno="4"', 1],
      ["chat_ack_latency_seconds_count", "", 5],
      ["chat_ack_latency_seconds_bucket", 'le="+Inf"', 5],
      ["chat_delivery_latency_seconds_count", "", 5],
      ["chat_deliveries_total", 'path="live"', 5],
      ["chat_store_batch_messages_sum", "", 5],
      ["chat_thread_up", "", 2 + Math.max(1, workers)],
      ["chat_store_queue", "", 0],
    ];
    for (const [name, label, value] of expected) {
      assertEquals(total(found, name, label), value, `${name} ${label}`);
    }
    const ackSeconds = total(found, "chat_ack_latency_seconds_sum");
    assert(ackSeconds >= 0 && ackSeconds < 5, `${ackSeconds} s`);
  });
}

Deno.test("the dashboard names metrics that exist, and every metric that exists", async () => {
  await using server = await TestServer.start({ workers: 1 });
  await using peer = await server.connect();
  const id = await peer.enter("solo");
  await peer.chat(id, "to myself");
  await peer.take(MSGID.ONE_CHAT);
  await peer.send({ msgid: 999 });
  await peer.expect(MSGID.ERROR);
  await (await server.connect())[Symbol.asyncDispose]();
  server.signal("SIGUSR2"); // a worker dies and is started again
  await server.line(/thread died/);
  await peer.fence();
  await peer.chat(id, "to the next worker");
  await peer.take(MSGID.ONE_CHAT);
  await peer.send({ msgid: 999 });
  await peer.expect(MSGID.ERROR);
  await peer.fence();

  const dashboard = await Deno.readTextFile(`${ROOT}docs/grafana.json`);
  const named = new Set(
    Array.from(
      dashboard.matchAll(/\bchat_\w+/g),
      ([name]) => name.replace(/_(bucket|sum|count)$/, ""),
    ),
  );
  const { text } = await server.get("/metrics");
  const scraped = new Set(Array.from(text.matchAll(/^# TYPE (\w+)/gm), ([, name]) => name ?? ""));

  assertEquals([...scraped].sort(), Object.keys(METRICS).sort());
  assertEquals([...named].sort(), Object.keys(METRICS).sort());
});

Deno.test("/readyz says what keeps messages from getting through; /healthz only that it lives", async () => {
  await using server = await TestServer.start({ workers: 1 });
  assertEquals(await server.get("/readyz"), { status: 200, text: "ok\n" });

  const lock = new DatabaseSync(`${server.data}/chat.db`);
  try {
    lock.exec("BEGIN IMMEDIATE"); // nothing can be committed, although everything can be read
    await until(async () => (await server.get("/readyz")).status === 503);
    assertMatch((await server.get("/readyz")).text, /^store: /);
    assertEquals((await server.get("/healthz")).status, 200);
  } finally {
    lock.exec("ROLLBACK");
    lock.close();
  }
  await until(async () => (await server.get("/readyz")).status === 200);
});

Deno.test("without Redis a cluster's node is alive and not ready", async () => {
  await using cluster = await TestCluster.start(1);
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${cluster.nodes[0]?.httpPort}${path}`);
    return { status: response.status, text: await response.text() };
  };
  assertEquals(await get("/readyz"), { status: 200, text: "ok\n" });

  await cluster.redis.kill9();
  await until(async () => (await get("/readyz")).status === 503);
  assertMatch((await get("/readyz")).text, /^bus: /);
  assertEquals((await get("/healthz")).status, 200);
  const found = samples((await get("/metrics")).text);
  assertEquals([total(found, "chat_bridge_up"), total(found, "chat_ready")], [0, 0]);

  await using alice = await cluster.connect(0);
  await alice.enter("alice"); // who is online is told to nobody
  const count = async (name: string) => total(samples((await get("/metrics")).text), name);
  await until(async () => await count("chat_bridge_dropped_total") > 0);
  const resets = await count("chat_bridge_resets_total");

  await cluster.redis.restart();
  await until(async () => (await get("/readyz")).status === 200);
  await until(async () => await count("chat_bridge_resets_total") > resets);
});

Deno.test("while MySQL or Redis keeps silent a node says which, puts off or goes on, and recovers", async () => {
  await using cluster = await TestCluster.start(1);
  await using alice = await cluster.connect(0);
  const a = await alice.enter("alice");
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${cluster.nodes[0]?.httpPort}${path}`);
    return { status: response.status, text: await response.text() };
  };
  const chat = (cid: string) => alice.ask({ msgid: MSGID.ONE_CHAT, toid: a, cid, msg: "x" });
  const recovered = () => until(async () => (await get("/readyz")).status === 200, 30_000);

  cluster.redis.pause();
  try {
    await until(async () => (await get("/readyz")).status === 503);
    assertMatch((await get("/readyz")).text, /^bus: /);
    assertEquals((await chat("without redis")).msgid, MSGID.CHAT_ACK);
  } finally {
    cluster.redis.resume();
  }
  await recovered();

  cluster.mariadb.pause();
  try {
    const { msgid, errno, retryAfterMs } = await chat("without mysql");
    assertEquals([msgid, errno, typeof retryAfterMs], [MSGID.ERROR, 9, "number"]);
    await until(async () => (await get("/readyz")).status === 503);
    assertMatch((await get("/readyz")).text, /^store: /);
    assertEquals((await get("/healthz")).status, 200);
  } finally {
    cluster.mariadb.resume();
  }
  await recovered();
  assertEquals((await chat("without mysql")).msgid, MSGID.CHAT_ACK);
});

Deno.test("log lines are JSON, name their connection, and hold no secret", async () => {
  await using server = await TestServer.start({ workers: 1, flags: ["--log-level", "debug"] });
  const secret = "correct horse"; // what TestPeer registers with
  const peer = await server.connect();
  const id = await peer.register("alice");
  const { token } = await peer.login(id);
  await peer.ask({ msgid: MSGID.LOGOUT });
  await peer.ask({ msgid: MSGID.LOGIN, id, password: "hunter2 wrong", v: 2 });
  const resumed = await peer.ask({ msgid: MSGID.RESUME, token, v: 2 });
  assertEquals(resumed.errno, 1); // LOGOUT ended it
  await peer.sendText(`}{ "password": "${secret}"`);
  await peer.closed();
  await peer[Symbol.asyncDispose]();
  await server.line(/connection closed/);

  assertEquals(typeof token, "string");
  for (const line of server.lines) {
    for (const hidden of [secret, "hunter2", String(token)]) {
      assert(!line.includes(hidden), line);
    }
    if (!line.startsWith("{")) continue;
    const { time, level, event, conn } = JSON.parse(line);
    assert(!Number.isNaN(Date.parse(time)), line);
    assertMatch(level, /^(debug|info|warn|error)$/);
    if (/connection|session/.test(event)) assertEquals(typeof conn, "number", line);
  }
});

Deno.test("on a terminal the log is plain text, and the node ends with its terminal", async () => {
  const data = await Deno.makeTempDir({ prefix: "chat-terminal-" });
  const { command, args } = taskCommand("serve");
  const flags = ["--port", "0", "--http-port", "0", "--data", data, "--log-level", "debug"];
  const lines: string[] = [];
  const terminal = new Child({
    name: "script",
    command: "script", // of util-linux: runs a program in a terminal of its own
    args: ["-qefc", [command, ...args, ...flags].join(" "), "/dev/null"],
    cwd: ROOT,
    env: cleanEnv(),
    output: (line) => lines.push(line.trimEnd()),
  });
  try {
    let port = 0;
    await until(() => {
      port = Number(/listening on \S+:(\d+),/.exec(lines.join("\n"))?.[1] ?? 0);
      return port > 0;
    }, 60_000);
    const log = lines.filter((line) => !line.startsWith("chat server"));
    for (const line of log) assertMatch(line, /^\d\d:\d\d:\d\d (debug|info ) [^{]+$/);
    assertMatch(log.join("\n"), /node started node=\w+ workers=\d+/);

    await terminal.stop("SIGTERM", 10_000);
    await until(async () => {
      try {
        (await Deno.connect({ hostname: "127.0.0.1", port })).close();
        return false;
      } catch (error) {
        return error instanceof Deno.errors.ConnectionRefused;
      }
    });
  } finally {
    terminal.killGroup();
    await terminal.ended;
    await Deno.remove(data, { recursive: true });
  }
});

Deno.test("nobody has to ask: a node looks whether messages get through, and tells when that changes", async () => {
  await using server = await TestServer.start({ workers: 1 });
  const ready = async () => /^chat_ready\{.*\} 1$/m.test((await server.get("/metrics")).text);
  await until(ready);

  const lock = new DatabaseSync(`${server.data}/chat.db`);
  try {
    lock.exec("BEGIN IMMEDIATE");
    await server.line(/"level":"warn".*messages do not get through.*store: /, 1, 30_000);
    assertEquals(await ready(), false);
  } finally {
    lock.exec("ROLLBACK");
    lock.close();
  }
  await server.line(/"level":"info".*messages get through again/, 1, 30_000);
  assert(await ready());
});

Deno.test("a counter of what has not happened yet is there, and 0", async () => {
  await using server = await TestServer.start({ workers: 1 });
  const found = samples((await server.get("/metrics")).text);

  for (const name of ["chat_thread_restarts_total", "chat_connections_closed_total"]) {
    const values = [...found].filter(([key]) => key.startsWith(`${name}{`)).map(([, v]) => v);
    assert(values.length > 1, name);
    assertEquals(new Set(values), new Set([0]), name);
  }
});

Deno.test("a node whose log goes nowhere serves on", async () => {
  const data = await Deno.makeTempDir({ prefix: "chat-log-" });
  const { command, args } = taskCommand("serve");
  const flags = ["--port", "0", "--http-port", "0", "--data", data, "--log-level", "debug"];
  const node = new Deno.Command(command, {
    args: [...args, ...flags],
    cwd: ROOT,
    ...{ env: cleanEnv(), clearEnv: true, stdin: "null", stdout: "piped", stderr: "piped" },
  }).spawn();
  try {
    await node.stderr.cancel(); // whoever read it is gone
    const out = node.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes("\n")) text += (await out.read()).value ?? "\n";
    await out.cancel();
    const [, port, http] = /127\.0\.0\.1:(\d+), health on (\S+)\/healthz/.exec(text) ?? [];
    const dropped = async () => {
      const metrics = await (await fetch(`${http}/metrics`)).text();
      return /^chat_log_lines_dropped_total\{.*\} [1-9]/m.test(metrics);
    };
    for (let i = 0; i < 3; i++) (await Deno.connect({ port: Number(port) })).close();
    await until(dropped);
  } finally {
    node.kill("SIGTERM");
    const { code } = await node.status;
    await Deno.remove(data, { recursive: true });
    assertEquals(code, 0);
  }
});
