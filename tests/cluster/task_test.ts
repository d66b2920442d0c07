/** `deno task cluster` as a user runs it: flags, clients through nginx, a part that dies, Ctrl-C. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { fromFileUrl, join } from "@std/path";
import { Cluster } from "../../server/cluster/cluster.ts";
import { parseFlags } from "../../server/cluster/main.ts";
import { ensureServices, findBinaries } from "../../server/cluster/services.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));
/** Modules may have to be compiled first, on a machine that runs other tests too. */
const START_MS = 90_000;
const LIMIT_MS = 20_000;
const ANY_PORTS = ["--port", "0", "--node-port-base", "0", "--http-port-base", "0"];

Deno.test.beforeAll(async () => {
  await ensureServices({ install: true });
});

/** The running task, its lines, and its end. */
class Task implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  #news = Promise.withResolvers<void>();
  #isOver = false;

  constructor(args: readonly string[]) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["task", "cluster", ...args],
      cwd: ROOT,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#reading = Promise.all([
      this.#read(this.#process.stdout),
      this.#read(this.#process.stderr),
    ]).then(() => {
      this.#isOver = true;
      this.#news.resolve();
    });
  }

  /** The first line, from the start on, that matches; fails with all lines when there is none. */
  async line(pattern: RegExp, limitMs = LIMIT_MS): Promise<string> {
    const search = async () => {
      for (;;) {
        const found = this.lines.find((line) => pattern.test(line));
        if (found !== undefined || this.#isOver) return found;
        await this.#news.promise;
      }
    };
    const found = await deadline(search(), limitMs).catch(() => undefined);
    assert(found !== undefined, `no line like ${pattern} in:\n${this.lines.join("\n")}`);
    return found;
  }

  /** Nothing once it has ended. */
  signal(signal: Deno.Signal): void {
    if (!this.#isOver) this.#process.kill(signal);
  }

  /** Exit status, after all output has been read. */
  async status(limitMs = LIMIT_MS): Promise<number> {
    const { code } = await deadline(this.#process.status, limitMs);
    await deadline(this.#reading, limitMs);
    return code;
  }

  /** Ends it if a failed test left it running. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGTERM");
    await this.status(60_000);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.lines.push(...lines);
      this.#news.resolve();
      this.#news = Promise.withResolvers();
    }
  }
}

/** A directory for one test; it goes with the test, after all that `body` disposes of. */
async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "chat-cluster-task-" });
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** A client on a plain socket: one JSON object a line. */
class Client implements Disposable {
  readonly #conn: Deno.TcpConn;
  #rest = "";

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  static async connect(port: number): Promise<Client> {
    return new Client(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Sends a request and gives the first answer with this msgid. */
  async ask(request: Record<string, unknown>, msgid: number): Promise<Record<string, unknown>> {
    await this.#conn.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const answer: Record<string, unknown> = JSON.parse(this.#rest.slice(0, end));
        this.#rest = this.#rest.slice(end + 1);
        if (answer.msgid === msgid) return answer;
        continue;
      }
      const bytes = new Uint8Array(16 * 1024);
      const count = await deadline(this.#conn.read(bytes), LIMIT_MS);
      assert(count !== null, `the server closed; it had sent: ${this.#rest}`);
      this.#rest += new TextDecoder().decode(bytes.subarray(0, count));
    }
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }
}

/** Processes whose command line names `text`. */
function processesOf(text: string): string[] {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const command = Deno.readTextFileSync(`/proc/${name}/cmdline`).replaceAll("\0", " ");
      if (command.includes(text)) found.push(`${name} ${command}`);
    } catch (error) {
      // ESRCH, when it ends between the opening and the reading, has no class and no code of its own.
      const gone = error instanceof Deno.errors.NotFound ||
        (error instanceof Error && /^No such process\b/.test(error.message));
      if (!gone) throw error;
    }
  }
  return found;
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!condition()) {
    assert(performance.now() < end, `${condition} does not hold after ${LIMIT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Those that were just killed may take a moment to go. */
async function untilNoProcessOf(text: string): Promise<void> {
  try {
    await until(() => processesOf(text).length === 0);
  } catch {
    assertEquals(processesOf(text), []);
  }
}

function pidOf(task: Task, part: string): number {
  const row = task.lines.find((line) => new RegExp(`^cluster \\|   ${part} `).test(line)) ?? "";
  return Number(/pid (\d+)/.exec(row)?.[1]);
}

Deno.test("the cluster task serves users, replaces a killed node, and leaves nothing behind", () =>
  withDir(async (dir) => {
    await using task = new Task(["--nodes", "2", ...ANY_PORTS, "--data", dir]);
    const ready = await task.line(/clients connect to/, START_MS);
    const port = Number(/:(\d+)$/.exec(ready)?.[1]);
    await task.line(/Ctrl-C ends it/);
    for (const part of ["mariadb", "redis", "node1", "node2", "nginx"]) {
      assert(pidOf(task, part) > 0, `${part} is not in the summary`);
    }

    const [alice, node] = await registerAndLogin(port, "alice");
    assertEquals(alice.errno, 0);
    assertMatch(String(node), /./);

    // The same data directory must not be opened twice.
    await using second = new Task([...ANY_PORTS, "--data", dir]);
    assertEquals(await second.status(), 1);
    assertStringIncludes(second.lines.join("\n"), `another cluster runs in ${dir}`);

    Deno.kill(pidOf(task, "node1"), "SIGKILL");
    await task.line(/^cluster \| node1 \(pid \d+\) died with SIGKILL/);
    // Meanwhile the other node serves; afterwards both do.
    await registerAndLogin(port, "bob");
    await task.line(/^cluster \| node1 is ready again/, START_MS);
    await registerAndLogin(port, "carol");

    task.signal("SIGINT");
    assertEquals(await task.status(60_000), 0, task.lines.join("\n"));
    assertEquals(task.lines.at(-1), "cluster | everything has ended");
    await untilNoProcessOf(dir);
  }));

/** Through nginx, on a connection of its own. */
async function registerAndLogin(
  port: number,
  name: string,
): Promise<[ack: Record<string, unknown>, node: unknown]> {
  using client = await Client.connect(port);
  const password = `${name}'s password`;
  const registered = await client.ask({ msgid: 4, v: 2, name, password }, 5);
  assertEquals(registered.errno, 0, JSON.stringify(registered));
  const ack = await client.ask({ msgid: 1, v: 2, id: registered.id, password }, 2);
  assertEquals(ack.errno, 0, JSON.stringify(ack));
  return [ack, ack.node];
}

Deno.test("a signal while the cluster starts ends it with nothing left", () =>
  withDir(async (dir) => {
    await using task = new Task([...ANY_PORTS, "--data", dir]);
    await until(() => processesOf(dir).some((command) => command.includes("mariadbd")));

    task.signal("SIGTERM");

    assertEquals(await task.status(60_000), 0, task.lines.join("\n"));
    await untilNoProcessOf(dir);
  }));

Deno.test("a part that cannot be started again makes the cluster give up, and end in order", () =>
  withDir(async (dir) => {
    const binaries = await findBinaries();
    const redisServer = join(dir, "redis-server");
    await Deno.symlink(binaries.redisServer, redisServer);
    const lines: string[] = [];
    const cluster = await Cluster.start({
      nodes: 1,
      hostname: "127.0.0.1",
      port: 0,
      nodePortBase: 0,
      httpPortBase: 0,
      dir,
      nodeArgs: [],
      binaries: { ...binaries, redisServer },
      retry: { firstMs: 10, mostMs: 10, maxFailures: 3 },
      onLine: (part, line) => lines.push(`${part}: ${line}`),
    }, new AbortController().signal);
    try {
      const redis = cluster.parts.find(({ name }) => name === "redis");
      assert(redis !== undefined);

      await Deno.remove(redisServer);
      Deno.kill(redis.service.pid, "SIGKILL");

      assertEquals(await deadline(cluster.gaveUp, LIMIT_MS), "redis failed 3 times in a row");
      const says = lines.filter((line) => line.startsWith("cluster: ")).join("\n");
      assertMatch(says, /redis \(pid \d+\) died with SIGKILL/);
      assertEquals(says.match(/starting redis again/g)?.length, 3);
      assertMatch(says, /redis-server: (not found|No such file)/);
      assertEquals(await cluster.stop(), []);
      await untilNoProcessOf(dir);
    } finally {
      await cluster.stop();
    }
  }));

Deno.test("the cluster task's flags have the documented defaults", () => {
  const settings = parseFlags([]);

  assert(typeof settings !== "string");
  const { nodes, hostname, port, nodePortBase, httpPortBase, nodeArgs, install } = settings;
  assertEquals({ nodes, hostname, port, nodePortBase, httpPortBase, nodeArgs, install }, {
    nodes: 2,
    hostname: "127.0.0.1",
    port: 8000,
    nodePortBase: 6000,
    httpPortBase: 6080,
    nodeArgs: [],
    install: false,
  });
  assertStringIncludes(settings.dir, "data/cluster");
});

Deno.test("flags after -- go to every node", () => {
  const settings = parseFlags(["--nodes", "3", "--install", "--", "--workers", "0"]);

  assert(typeof settings !== "string");
  assertEquals([settings.nodes, settings.install], [3, true]);
  assertEquals(settings.nodeArgs, ["--workers", "0"]);
});

Deno.test("a wrong flag of the cluster task is named", () => {
  const cases = [
    [["--nodes", "0"], '--nodes must be a number from 1 to 64, not "0"'],
    [["--nodes", "65"], '--nodes must be a number from 1 to 64, not "65"'],
    [["--port", "http"], '--port must be a number from 0 to 65535, not "http"'],
    [["--port", "65536"], '--port must be a number from 0 to 65535, not "65536"'],
    [["--node-port-base=-1"], '--node-port-base must be a number from 0 to 65000, not "-1"'],
    [["--data="], "--data and --host need a value"],
    [["--verbose"], "unknown argument --verbose"],
    [["serve"], "unknown argument serve"],
  ] as const;
  for (const [args, sentence] of cases) assertEquals(parseFlags(args), sentence);
});
