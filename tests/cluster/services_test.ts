/** Private services: they start, take faults, keep their data, and never outlive us. */

import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { fromFileUrl, join } from "@std/path";
import { createConnection } from "mysql2/promise";
import { findBinaries, NotInstalled } from "../../server/cluster/install.ts";
import { fillTemplate } from "../../server/cluster/nginx.ts";
import {
  ensureServices,
  freePort,
  isFree,
  startMariaDb,
  startNginx,
  startRedis,
} from "../../server/cluster/services.ts";

const TEMPLATE = fromFileUrl(new URL("../../nginx/chat.conf", import.meta.url));

Deno.test.beforeAll(async () => {
  await ensureServices({ install: true });
});

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "chat-services-" });
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Sends one Redis command on a connection of its own and reads the answer. */
async function redisAnswer(port: number, command: string): Promise<string> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(new TextEncoder().encode(`${command}\r\n`));
  return await readText(conn);
}

async function readText(conn: Deno.Conn): Promise<string> {
  const bytes = new Uint8Array(1024);
  const count = await deadline(conn.read(bytes), 5_000);
  return new TextDecoder().decode(bytes.subarray(0, count ?? 0));
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function until(condition: () => boolean, limitMs: number, what: string): Promise<void> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    assert(performance.now() < end, `${what}: not after ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

Deno.test("a private MariaDB keeps what was committed through kill -9, on the same port", () =>
  withDir(async (dir) => {
    const db = await startMariaDb({ dir });
    try {
      const before = await createConnection(db.url);
      before.on("error", () => {}); // the kill below ends it
      await before.query("CREATE TABLE t (v VARCHAR(10)) ENGINE=InnoDB");
      await before.query("INSERT INTO t VALUES ('漢😀')");
      const { pid, port } = db;

      await db.kill9();
      before.destroy();
      assert(!db.running);
      await db.restart();

      assertEquals(db.port, port);
      assert(db.pid !== pid);
      const after = await createConnection(db.url);
      const [rows] = await after.query("SELECT v FROM t");
      const [flush] = await after.query("SELECT @@innodb_flush_log_at_trx_commit AS f");
      await after.end();
      assertEquals(JSON.stringify(rows), '[{"v":"漢😀"}]');
      assertEquals(JSON.stringify(flush), '[{"f":1}]');
    } finally {
      await db.stop();
    }
  }));

Deno.test("a private Redis answers, is silent while paused, and is empty after a restart", () =>
  withDir(async (dir) => {
    const redis = await startRedis({ dir });
    try {
      assertEquals(await redisAnswer(redis.port, "SET k v"), "+OK\r\n");

      redis.pause();
      using conn = await Deno.connect({ hostname: "127.0.0.1", port: redis.port });
      await conn.write(new TextEncoder().encode("GET k\r\n"));
      const answer = readText(conn);
      const first = await Promise.race([
        answer.then(() => "answer"),
        new Promise<string>((resolve) => setTimeout(resolve, 200, "silence")),
      ]);
      assertEquals(first, "silence");
      redis.resume();
      assertEquals(await answer, "$1\r\nv\r\n");

      await redis.restart();
      assertEquals(await redisAnswer(redis.port, "GET k"), "$-1\r\n");
    } finally {
      await redis.stop();
    }
  }));

Deno.test("a paused service can be stopped", () =>
  withDir(async (dir) => {
    const redis = await startRedis({ dir });
    redis.pause();
    await deadline(redis.stop(), 5_000);
    assert(!redis.running);
    await redis.stop(); // a second time is no error
  }));

Deno.test("a service that cannot start says why", () =>
  withDir(async (dir) => {
    using taken = Deno.listen({ hostname: "127.0.0.1", port: freePort() });
    const { port } = taken.addr;

    await assertRejects(() => startRedis({ dir, port }), Error, "Address already in use");
    await assertRejects(() => startMariaDb({ dir, port }), Error, "Address already in use");
    await assertRejects(() => startNginx({ dir, backends: ["no address"] }), Error, "[emerg]");
  }));

Deno.test("missing programs are named together with the packages that bring them", async () => {
  const packages = "apt-get install mariadb-server redis-server nginx libnginx-mod-stream";

  await assertRejects(
    () => findBinaries(["/nonexistent"]),
    NotInstalled,
    `MariaDB, Redis and nginx are not installed: ${packages}`,
  );
  const only = await Deno.makeTempDir({ prefix: "chat-services-" });
  for (const name of ["redis-server", "nginx"]) await Deno.writeTextFile(join(only, name), "");
  await assertRejects(
    () => findBinaries([only], []),
    NotInstalled,
    `MariaDB and nginx's stream module are not installed: ${packages}`,
  );
  await Deno.remove(only, { recursive: true });
});

/** A node's stand-in: greets with its name, then shows the first line it was sent. */
function backend(name: string): { port: number; address: string; close(): void } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: freePort() });
  const conns: Deno.Conn[] = [];
  const serve = async () => {
    for await (const conn of listener) {
      conns.push(conn);
      await conn.write(new TextEncoder().encode(`${name} ${await readText(conn)}`));
    }
  };
  serve().catch((error: unknown) => {
    if (!(error instanceof Deno.errors.BadResource)) throw error; // closed while it waited
  });
  return {
    port: listener.addr.port,
    address: `127.0.0.1:${listener.addr.port}`,
    close() {
      listener.close();
      for (const conn of conns) conn.close();
    },
  };
}

Deno.test("nginx tells the client's address, spreads connections, reloads without cutting any", () =>
  withDir(async (dir) => {
    const [a, b] = [backend("a"), backend("b")];
    const nginx = await startNginx({ dir, backends: [a.address] });
    const open = async () => await Deno.connect({ hostname: "127.0.0.1", port: nginx.port });
    try {
      using first = await open();
      const header = await readText(first);
      assertEquals(
        header,
        `a PROXY TCP4 127.0.0.1 127.0.0.1 ${first.localAddr.port} ${nginx.port}\r\n`,
      );

      await nginx.reload([a.address, b.address]);
      using second = await open();
      using third = await open();
      const names = [await readText(second), await readText(third)].map((text) => text[0]).sort();
      assertEquals(names, ["a", "b"]);
      await first.write(new TextEncoder().encode("still open"));

      b.close();
      await until(() => isFree(b.port), 5_000, "the backend's port is closed");
      const rest = await Promise.all(Array.from({ length: 4 }, open));
      for (const conn of rest) assertMatch(await readText(conn), /^a PROXY /);
      for (const conn of rest) conn.close();
      await assertRejects(() => nginx.reload(["not an address"]), Error, "refuses");
      assert(nginx.running);
    } finally {
      await nginx.stop();
      a.close();
    }
  }));

Deno.test("workers of a killed nginx go with it, and its port is free again", () =>
  withDir(async (dir) => {
    const nginx = await startNginx({ dir, backends: ["127.0.0.1:1"] });
    let workers: number[] = [];
    await until(
      () => { // it listens before it has workers
        const children = Deno.readTextFileSync(`/proc/${nginx.pid}/task/${nginx.pid}/children`);
        workers = children.trim().split(" ").filter((pid) => pid !== "").map(Number);
        return workers.length > 0 && workers.every(isAlive);
      },
      5_000,
      "nginx has workers",
    );

    Deno.kill(nginx.pid, "SIGKILL");
    const exit = await deadline(nginx.ended, 5_000);

    assertEquals(exit.signal, "SIGKILL");
    await until(() => !workers.some(isAlive), 5_000, "the workers end");
    assert(isFree(nginx.port));
  }));

Deno.test("nginx takes the shipped configuration, with its TLS listener too", () =>
  withDir(async (dir) => {
    const { nginx, streamModule } = await ensureServices({ install: true });
    const plain = fillTemplate(await Deno.readTextFile(TEMPLATE), {
      listen: `127.0.0.1:${freePort()}`,
      backends: ["127.0.0.1:6000"],
      proxyProtocol: true,
      pidFile: join(dir, "nginx.pid"),
      streamModule,
    });
    const cert = fromFileUrl(new URL("../fixtures/tls-cert.pem", import.meta.url));
    const key = fromFileUrl(new URL("../fixtures/tls-key.pem", import.meta.url));
    const tls = plain
      .replace(/# (listen 8443 ssl|ssl_\w+ .*;)/g, "$1")
      .replace(/# (listen 8443 ssl .*;)/, "$1")
      .replace("/etc/ssl/chat/fullchain.pem", cert)
      .replace("/etc/ssl/chat/privkey.pem", key);
    assertMatch(tls, /^ +listen 8443 ssl/m);
    assertMatch(tls, /^ +ssl_certificate_key /m);

    for (const text of [plain, tls]) {
      const config = join(dir, "test.conf");
      await Deno.writeTextFile(config, text);
      const { code, stderr } = await new Deno.Command(nginx, {
        args: ["-t", "-p", dir, "-c", config, "-e", "stderr"],
      }).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
    }
    assertThrows(
      () =>
        fillTemplate("stream {}", {
          listen: "",
          backends: [],
          proxyProtocol: true,
          pidFile: "",
          streamModule,
        }),
      Error,
      "nginx/chat.conf has 0 places",
    );
  }));

Deno.test("no service outlives a parent that was killed with kill -9", () =>
  withDir(async (dir) => {
    const fixture = fromFileUrl(new URL("../fixtures/services_parent.ts", import.meta.url));
    const parent = new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", fixture, dir],
      stdin: "null",
      stdout: "piped",
    }).spawn();
    const lines = parent.stdout.pipeThrough(new TextDecoderStream());
    const reader = lines.getReader();
    let text = "";
    while (!text.includes("\n")) text += (await deadline(reader.read(), 60_000)).value ?? "";
    const pids = text.trim().split(" ").map(Number);
    assertEquals(pids.length, 4); // MariaDB, Redis (paused), nginx and its worker
    assert(pids.every(isAlive));

    parent.kill("SIGKILL");
    await parent.status;
    await reader.cancel();

    await until(() => !pids.some(isAlive), 10_000, `processes ${pids} end`);
  }));
