/**
 * Every flag of `deno task serve`: in the README's table, and with a test that runs a node with it
 * and sees what it does. Here are also the tests of flags that belong to no other file.
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import { HybridClock } from "../../actors/hlc.ts";
import { FLAGS } from "../../server/settings/flags.ts";
import { ROOT, TestPeer, TestServer } from "../support/server_harness.ts";
import { until } from "../support/until.ts";

interface Proof {
  /** Test file below tests/, without `_test.ts`. */
  readonly file: string;
  /** How the test's name begins. */
  readonly name: string;
  /** What in the test sets the flag. @default the flag, quoted */
  readonly sets?: string;
}

const limits = (name: string): Proof => ({ file: "server/limits", name });

/** The test of each flag; a new flag does not compile without a row. */
const PROOFS: Record<(typeof FLAGS)[number]["name"], Proof> = {
  "host": { file: "server/flags", name: "--host: a node listens" },
  "port": { file: "protocol/lifecycle", name: "a node that cannot start says in one line" },
  "http-port": { file: "protocol/lifecycle", name: "a node that cannot start says in one line" },
  "http-host": { file: "server/flags", name: "--http-host: health" },
  "data": { file: "server/startup", name: "a second node on one data directory" },
  "mysql": { file: "server/startup", name: "a locked database, and MySQL or Redis" },
  "redis": { file: "server/startup", name: "a locked database, and MySQL or Redis" },
  "workers": {
    file: "server/observability",
    name: "metrics count what was done",
    sets: "{ workers }",
  },
  "password-cost": {
    file: "server/security",
    name: "--password-cost: a stored",
    sets: "passwordCost:",
  },
  "password-threads": { file: "server/security", name: "--password-threads: so many" },
  "heartbeat": { file: "protocol/lifecycle", name: "a silent v2 peer gets a PING" },
  "tls-cert": { file: "server/security", name: "--tls-cert and --tls-key" },
  "tls-key": { file: "server/security", name: "--tls-cert and --tls-key" },
  "proxy-protocol": { file: "server/proxied_node", name: "a node takes the client's address" },
  "trusted-proxies": {
    file: "server/proxied_node",
    name: "a header of anybody else is not believed",
  },
  "max-connections": limits("--max-connections: one more is refused"),
  "max-per-address": limits("--max-per-address and --unlimited"),
  "max-connects": limits("--max-connects: an address opens so many"),
  "max-waiting": limits("--max-waiting: who has waited longest"),
  "login-seconds": limits("--login-seconds: who sends a byte at a time"),
  "max-rate": limits("--max-rate: a flood is read slowly, told, and closed"),
  "max-rate-kib": limits("--max-rate-kib: who sends more"),
  "max-frame-kib": limits("--max-frame-kib: a frame of that size"),
  "max-unfinished": limits("--max-unfinished: who has so much in hand"),
  "max-registrations": limits("--max-registrations: an address registers so many"),
  "max-failures": { file: "server/security", name: "--max-failures counts an account's failures" },
  "max-logins": { file: "server/security", name: "--max-logins: an address logs in so often" },
  "max-tokens": { file: "server/security", name: "--max-tokens: the oldest login" },
  "max-password-queue": limits("--max-password-queue: more log-ins"),
  "unlimited": limits("--max-per-address and --unlimited"),
  "max-queued-kib": limits("--max-queued-kib: who asks and does not read"),
  "max-store-queue": limits("--max-store-queue: while the store cannot keep up"),
  "max-messages": limits("--max-messages and --max-message-kib"),
  "max-deliveries": limits("--max-deliveries: who writes to a group"),
  "max-message-kib": limits("--max-messages and --max-message-kib"),
  "max-pending": limits("--max-pending: a full mailbox refuses"),
  "max-group": limits("--max-group and --max-friends"),
  "max-friends": limits("--max-group and --max-friends"),
  "max-groups": limits("--max-groups: one more"),
  "classic-bytes": { file: "protocol/classic_bytes", name: "--classic-bytes 0: a long" },
  "history-days": { file: "server/flags", name: "--history-days: a node removes" },
  "drain-seconds": { file: "server/flags", name: "--drain-seconds: clients are told over" },
  "trace-one-in": { file: "actors/tracing", name: "one message between two workers is one trace" },
  "log-level": { file: "server/flags", name: "--log-level: what is less severe" },
};

Deno.test("--http-host: health is served on that address alone", async () => {
  await using server = await TestServer.start({ flags: ["--http-host", "127.0.0.2"] });

  const there = await fetch(`http://127.0.0.2:${server.httpPort}/healthz`);
  assertEquals([there.status, await there.text()], [200, "ok\n"]);
  await assertRejects(() => fetch(`http://127.0.0.1:${server.httpPort}/healthz`));
});

Deno.test("every flag is in the README's table and has a test that sets it", async () => {
  const readme = await Deno.readTextFile(`${ROOT}README.md`);
  for (const { name: flag, value } of FLAGS) {
    assert(readme.includes(`| \`--${flag} ${value.replaceAll("|", "\\|")}\``), `--${flag}: README`);

    const { file, name, sets = `"--${flag}"` } = PROOFS[flag];
    const source = await Deno.readTextFile(`${ROOT}tests/${file}_test.ts`);
    const [, body] = source.split(new RegExp(`Deno\\.test\\(\\s*["\`]${RegExp.escape(name)}`));
    assert(body !== undefined, `--${flag}: ${file}_test.ts has no test "${name}…"`);
    const [own = ""] = body.split(/\bDeno\.test\(/, 1);
    assert(own.includes(sets), `--${flag}: "${name}…" does not set it`);
  }
});

Deno.test("--host: a node listens on that address alone, by flag and by environment", async () => {
  const hostname = "127.0.0.2";
  for (const how of [{ flags: ["--host", hostname] }, { env: { CHAT_HOST: hostname } }]) {
    await using server = await TestServer.start(how);
    await using peer = await TestPeer.connect(server.port, 2, hostname);
    await peer.fence();
    await assertRejects(
      () => Deno.connect({ hostname: "127.0.0.1", port: server.port }),
      Deno.errors.ConnectionRefused,
    );
  }
});

Deno.test("--drain-seconds: clients are told over so long, with times to come back that differ", async () => {
  const clients = 250;
  for (const [seconds, least, most] of [[2, 1_000, 8_000], [0, 0, 1_000]] as const) {
    await using server = await TestServer.start({ flags: ["--drain-seconds", `${seconds}`] });
    const peers = await Promise.all(Array.from({ length: clients }, () => server.connect()));
    for (const peer of peers) await peer.fence();

    const byes = Promise.all(peers.map(async (peer) => {
      const { errno, retryAfterMs } = await peer.expectBye();
      const at = performance.now();
      await peer[Symbol.asyncDispose]();
      return { errno, retryAfterMs, at };
    }));
    const exit = await server.stop();

    const told = await byes;
    assertEquals([exit.code, new Set(told.map(({ errno }) => errno))], [0, new Set([9])]);
    assert(new Set(told.map(({ retryAfterMs }) => retryAfterMs)).size > clients / 4);
    const times = told.map(({ at }) => at);
    const spread = Math.max(...times) - Math.min(...times);
    assert(spread >= least && spread <= most, `${spread} ms with --drain-seconds ${seconds}`);
  }
});

Deno.test("--history-days: a node removes what is older and received, and nothing else", async () => {
  const data = await Deno.makeTempDir({ prefix: "chat-flags-" });
  try {
    const store = await openSqlite(`${data}/chat.db`);
    const from = await store.register("ann", "x") ?? 0;
    const toid = await store.register("bob", "x") ?? 0;
    const days = (count: number) => Date.now() - count * 24 * 3_600_000;
    const messages = [
      { ts: days(3), confirmed: [toid] },
      { ts: days(3), confirmed: [] },
      { ts: days(1), confirmed: [toid] },
    ].map(({ ts, confirmed }, i) => {
      const mid = new HybridClock(() => ts).next();
      const rest = { name: "ann", groupid: 0, msg: "x", extra: "", prev: "" };
      return { message: { mid, cid: `${i}`, from, ts, toid, ...rest }, confirmed };
    });
    await store.commit(messages, []);
    await store.close();
    {
      await using server = await TestServer.start({ data, flags: ["--history-days", "2"] });
      await until(async () => {
        const { text } = await server.get("/metrics");
        return /^chat_history_pruned_total\{.*\} 1$/m.test(text);
      });
    }

    const after = await openSqlite(`${data}/chat.db`);
    const left = messages.map(({ message }) => after.trace(message.mid));
    const isLeft = (await Promise.all(left)).map((trace) => trace !== undefined);
    await after.close();
    assertEquals(isLeft, [false, true, true]);
  } finally {
    await Deno.remove(data, { recursive: true });
  }
});

Deno.test("--log-level: what is less severe is not written", async () => {
  const levels = async (least: string) => {
    await using server = await TestServer.start({ flags: ["--log-level", least] });
    const peer = await server.connect();
    await peer.enter("alice");
    await peer[Symbol.asyncDispose]();
    server.signal("SIGUSR2"); // a worker dies, which is worth a line at any level
    await server.line(/thread died/);
    await until(async () => (await server.get("/readyz")).status === 200);
    const next = await server.connect();
    await next.ask({ msgid: MSGID.LOGIN, v: 2, name: "alice", password: "wrong" });
    await next[Symbol.asyncDispose]();
    await server.stop();
    const lines = server.lines.filter((line) => line.startsWith("{"));
    return new Set(lines.map((line) => String(JSON.parse(line).level)));
  };

  assertMatch([...await levels("debug")].sort().join(" "), /debug.*error/);
  assertEquals(await levels("error"), new Set(["error"]));
});
