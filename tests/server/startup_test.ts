/**
 * A node that cannot start: one sentence with the remedy, exit status 1, nothing damaged. And one
 * whose disk is full. Wrong flags and ports in use are lifecycle_test.ts.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { MSGID } from "@chat/wire/messages.ts";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import { Child } from "../../server/cluster/child.ts";
import {
  cleanEnv,
  type Received,
  ROOT,
  taskCommand,
  TestPeer,
  TestServer,
} from "../support/server_harness.ts";
import { until } from "../support/until.ts";

const SECRET = "hunter2";

/** Runs the server until it ends, as it has to; what it says on stderr, and how long it took. */
async function refused(...flags: string[]): Promise<{ code: number; text: string; ms: number }> {
  const { command, args } = taskCommand("serve");
  const lines: string[] = [];
  const began = performance.now();
  const child = new Child({
    name: "server",
    command,
    args: [...args, "--port", "0", "--http-port", "0", "--password-cost", "64,1", ...flags],
    cwd: ROOT,
    env: cleanEnv(),
    output: (line) => lines.push(line),
  });
  const { code } = await child.ended;
  return { code: code ?? -1, text: lines.join("\n"), ms: performance.now() - began };
}

/** One sentence for people: its beginning, a remedy, no stack, no secret. */
function assertSentence(text: string, ...parts: string[]): void {
  assertMatch(text, /^chat server: [^\n]+$/);
  for (const part of parts) assertStringIncludes(text, part);
  assert(!text.includes(SECRET), text);
}

/** A directory of its own. */
async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "chat-startup-" });
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("a second node on one data directory does not start, and the first goes on", async () => {
  await using server = await TestServer.start();

  const { code, text } = await refused("--data", server.data);

  assertEquals(code, 1);
  assertSentence(text, server.data, "in use by another node", "stop that one");
  await using alice = await server.connect();
  await alice.enter("alice");
  await server.kill9();
  await server.restart(); // whoever is killed holds nothing
});

Deno.test("a data directory from a newer version is refused and left as it is", async () => {
  await withDir(async (dir) => {
    {
      await using _server = await TestServer.start({ data: dir });
    }
    const db = new DatabaseSync(`${dir}/chat.db`);
    db.exec("INSERT INTO migration VALUES (9999, '9999_future', 'x')");
    db.close();
    const before = await Deno.readFile(`${dir}/chat.db`);

    const { code, text } = await refused("--data", dir);

    assertEquals(code, 1);
    assertSentence(text, "newer version", "9999_future", "run the newer version or restore");
    assertEquals(await Deno.readFile(`${dir}/chat.db`), before);
  });
});

Deno.test("a damaged database is refused and left as it is", async () => {
  await withDir(async (dir) => {
    const path = `${dir}/chat.db`;
    await (await openSqlite(path)).close();
    const good = await Deno.readFile(path);
    const cases = [
      [crypto.getRandomValues(new Uint8Array(8_192)), "not a database"],
      [good.slice(0, good.length / 2), "malformed"],
      [good.map((byte, at) => at < 4_096 ? byte : 0x5a), "malformed"], // all but the first page
      [good.map((byte, at) => at < 8_192 ? byte : 0x5a), "malformed"],
    ] as const;
    for (const [damaged, why] of cases) {
      await Deno.writeFile(path, damaged);

      const { code, text } = await refused("--data", dir);

      assertEquals(code, 1);
      assertSentence(text, path, why, "restore a backup");
      assertEquals(await Deno.readFile(path), Uint8Array.from(damaged));
    }
  });
});

Deno.test("a page that is damaged makes the node unready when it is read, and the others are served", async () => {
  await withDir(async (dir) => {
    const path = `${dir}/chat.db`;
    let alice = 0;
    {
      await using server = await TestServer.start({ data: dir });
      await using peer = await server.connect();
      alice = await peer.enter("alice");
      await peer.chat(alice, `NEEDLE ${"x".repeat(9_000)}`, "1");
    }
    const bytes = await Deno.readFile(path);
    const needle = new TextEncoder().encode("NEEDLE");
    const at = bytes.findIndex((_, i) => needle.every((byte, j) => bytes[i + j] === byte));
    assert(at > 0);
    const page = at - at % 4_096;
    await Deno.writeFile(path, bytes.fill(0x5a, page, page + 4_096));

    await using server = await TestServer.start({ data: dir });
    await using peer = await server.connect();
    const ready = async () => {
      const answer = await fetch(`http://127.0.0.1:${server.httpPort}/readyz`);
      return { status: answer.status, text: await answer.text() };
    };
    await peer.login(alice);
    await peer.send({ msgid: MSGID.HISTORY, userid: alice, req: 1 });
    assertEquals((await peer.expect(MSGID.ERROR)).errno, 9);

    await until(async () => (await ready()).status === 503, 5_000);
    assertMatch((await ready()).text, /the database is damaged.*restore a backup/);
    await using bob = await server.connect();
    assertEquals((await bob.login(await bob.register("bob"))).errno, 0);
  });
});

/** A port whose queue of connections is full: packets to it are dropped, connecting never ends. */
class BlackHole implements Disposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  readonly #queue: Deno.Conn[] = [];
  readonly port = this.#listener.addr.port;

  static async dig(): Promise<BlackHole> {
    const hole = new BlackHole();
    for (;;) {
      const signal = AbortSignal.timeout(500);
      try {
        hole.#queue.push(await Deno.connect({ hostname: "127.0.0.1", port: hole.port, signal }));
      } catch (error) {
        if (signal.aborted) return hole;
        throw error;
      }
    }
  }

  [Symbol.dispose](): void {
    for (const conn of this.#queue) conn.close();
    this.#listener.close();
  }
}

/** A port that answers whatever comes as a Redis without TLS answers it. */
function answeringPlainly(): Disposable & { readonly port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const answer = async (conn: Deno.Conn) => {
    try {
      await conn.read(new Uint8Array(1_024));
      await conn.write(new TextEncoder().encode("-ERR unknown command\r\n"));
      while (await conn.read(new Uint8Array(1_024)) !== null);
    } catch { // the node has gone
    }
    conn.close();
  };
  (async () => {
    for await (const conn of listener) void answer(conn);
  })();
  return { port: listener.addr.port, [Symbol.dispose]: () => listener.close() };
}

Deno.test("a locked database, and MySQL or Redis that refuse, keep silent or cannot be reached, are named in time", async () => {
  await withDir(async (dir) => {
    using hole = await BlackHole.dig();
    const silent = Deno.listen({ hostname: "127.0.0.1", port: 0 }); // connections wait in its queue
    const { port } = silent.addr;
    const mysql = (at: number) => ["--mysql", `mysql://chat:${SECRET}@127.0.0.1:${at}/chat`];
    const redis = (at: number) => [...mysql(1), "--redis", `redis://:${SECRET}@127.0.0.1:${at}`];
    using plain = answeringPlainly();
    const tlsTo = (at: number) => [...mysql(1), "--redis", `rediss://127.0.0.1:${at}`];
    const other = new DatabaseSync(`${dir}/chat.db`);
    other.exec("BEGIN EXCLUSIVE");
    try {
      const cases = [
        [["--data", dir], `${dir}/chat.db`, "another process uses it"],
        [mysql(1), "127.0.0.1:1", "MySQL", "check its URL"],
        [mysql(port), `127.0.0.1:${port}`, "MySQL", "check its URL"],
        [mysql(hole.port), `127.0.0.1:${hole.port}`, "MySQL", "check its URL"],
        [redis(1), "127.0.0.1:1", "Redis", "check its URL"],
        [redis(port), `127.0.0.1:${port}`, "Redis", "check its URL"],
        [redis(hole.port), `127.0.0.1:${hole.port}`, "Redis", "check its URL"],
        [tlsTo(plain.port), `127.0.0.1:${plain.port}`, "Redis", "no TLS there?"],
      ] as const;
      const results = await Promise.all(cases.map(([flags]) => refused(...flags)));
      for (const [i, { code, text, ms }] of results.entries()) {
        const [, ...parts] = cases[i] ?? [[]];
        assertEquals(code, 1, text);
        assertSentence(text, ...parts);
        assert(ms < 20_000, `${text}: ${ms} ms`);
      }
    } finally {
      other.close();
      silent.close();
    }
  });
});

/** A directory on a disk of its own. */
async function withDisk(kib: number, body: (dir: string) => Promise<void>): Promise<void> {
  if (Deno.uid() !== 0) {
    throw new Error("this test mounts a small tmpfs: run it as root, for example in a container");
  }
  await withDir(async (dir) => {
    await command("mount", "-t", "tmpfs", "-o", `size=${kib}k`, "tmpfs", dir);
    try {
      await body(dir);
    } finally {
      await command("umount", dir);
    }
  });
}

async function command(program: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args, stderr: "piped" }).output();
  if (!success) throw new Error(`${program} ${args}: ${new TextDecoder().decode(stderr)}`);
}

/** Fills the disk to the last byte; returns what makes room again. */
async function fill(dir: string): Promise<() => Promise<void>> {
  const path = `${dir}/ballast`;
  const file = await Deno.open(path, { create: true, write: true });
  for (const bytes of [new Uint8Array(64 * 1024), new Uint8Array(1)]) {
    try {
      for (;;) await file.write(bytes);
    } catch { // no room for so many: go on with less
    }
  }
  file.close();
  return () => Deno.remove(path);
}

Deno.test("on a full disk a node does not start, and starts once there is room", async () => {
  await withDisk(1024, async (disk) => {
    const makeRoom = await fill(disk);

    const { code, text } = await refused("--data", disk);

    assertEquals(code, 1);
    assertSentence(text, disk, "full", "make room");
    await makeRoom();
    await using server = await TestServer.start({ data: `${disk}/data` });
    await using alice = await server.connect();
    await alice.enter("alice");
  });
});

Deno.test("when the disk fills up senders are put off, the node stays, nothing acknowledged is lost", async () => {
  await withDisk(8 * 1024, async (disk) => {
    await using server = await TestServer.start({ data: disk });
    await using alice = await server.connect();
    await alice.enter("alice");
    const bob = await alice.register("bob");
    const acked = [(await alice.chat(bob, "before")).mid];
    const makeRoom = await fill(disk);

    // Room that the database had already taken is used up first.
    let refusal: Received | undefined;
    const msg = "x".repeat(10_000);
    for (let i = 0; refusal === undefined; i++) {
      assert(i < 1_000, "never full");
      const message = { msgid: MSGID.ONE_CHAT, toid: bob, cid: `full ${i}`, msg };
      const answer = await alice.ask(message);
      if (answer.msgid === MSGID.CHAT_ACK) acked.push(answer.mid);
      else refusal = answer;
    }
    assertEquals([refusal.errno, typeof refusal.retryAfterMs], [9, "number"]);
    await alice.fence();

    await makeRoom();
    acked.push((await alice.chat(bob, "after", String(refusal.cid))).mid);

    await server.kill9();
    await server.restart();
    await using reader = await TestPeer.connect(server.port);
    await reader.login(bob);
    const got = [];
    for (const _ of acked) got.push((await reader.take(MSGID.ONE_CHAT)).mid);
    assertEquals(got, acked);
  });
});

Deno.test("a database is its user's alone, and whole in its file after an orderly stop", async () => {
  await withDir(async (dir) => {
    await Deno.chmod(dir, 0o755);
    const server = await TestServer.start({ data: dir });
    await using alice = await server.connect();
    await alice.enter("alice");
    const modes = [...Deno.readDirSync(dir)].map(({ name }) =>
      (Deno.statSync(`${dir}/${name}`).mode ?? 0) & 0o777
    );
    await server.stop();

    assertEquals(new Set(modes), new Set([0o600]));
    const files = [...Deno.readDirSync(dir)].map(({ name }) => name);
    assertEquals(files.filter((name) => name.startsWith("chat.db")), ["chat.db"]);
    const db = new DatabaseSync(`${dir}/chat.db`, { readOnly: true });
    const names = db.prepare("SELECT name FROM user").all().map(({ name }) => name);
    db.close();
    assertEquals(names, ["alice"]);
  });
});
