/** `deno task admin` against a real node: every command, as a process, with the task's permissions. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { adminHelp, COMMANDS } from "../../server/admin/commands.ts";
import { admin } from "../support/admin_process.ts";
import { TestServer } from "../support/server_harness.ts";
import { until } from "../support/until.ts";

type Row = Record<string, unknown>;

/** The rows of a command that succeeds. */
async function rows(server: TestServer, ...args: string[]): Promise<Row[]> {
  const { code, out, err } = await admin(["--data", server.data, "--json", ...args]);
  assertEquals([code, err], [0, ""], args.join(" "));
  return JSON.parse(out);
}

/** The sentence of one that does not. */
async function refusal(server: TestServer, ...args: string[]): Promise<string> {
  const { code, out, err } = await admin(["--data", server.data, ...args]);
  assertEquals([code, out], [1, ""], args.join(" "));
  return err;
}

for (const workers of [0, 1]) {
  Deno.test(`deno task admin shows and changes a running node, --workers ${workers}`, async (t) => {
    await using server = await TestServer.start({ workers });
    await using alice = await server.connect();
    const bob = await server.connect();
    const a = await alice.enter("alice");
    const b = await bob.enter("bob");
    const made = await alice.ask({ msgid: MSGID.CREATE_GROUP, groupname: "club" });

    await t.step("status and sessions", async () => {
      const [status] = await rows(server, "status");
      assertEquals([status?.ready, status?.connections, status?.sessions], ["yes", 2, 2]);
      const sessions = await rows(server, "sessions");
      assertEquals(sessions.map((row) => row.name).sort(), ["alice", "bob"]);
      const [own] = await rows(server, "sessions", "alice");
      assertEquals([own?.user, own?.v, own?.remote], [a, 2, "127.0.0.1"]);
    });

    await t.step("a user, a group, and where a message waits", async () => {
      await bob[Symbol.asyncDispose]();
      const { mid } = await alice.chat(b, "while bob is away");
      const [user] = await rows(server, "user", "bob");
      assertEquals(user, { id: b, name: "bob", node: "", conn: 0, waiting: 1 });
      const [member] = await rows(server, "group", String(made.groupid));
      assertEquals([member?.name, member?.role], ["alice", "creator"]);
      const [path] = await rows(server, "message", String(mid));
      assertEquals([path?.from, path?.to, path?.waitsFor, path?.node], [a, `user ${b}`, b, ""]);

      await using again = await server.connect();
      await again.login(b);
      await again.take(MSGID.ONE_CHAT);
      await again.fence();
      // Receipts wait a moment for a commit.
      await until(async () =>
        (await rows(server, "message", String(mid)))[0]?.waitsFor === "nobody"
      );
    });

    await t.step("a disconnected client is told when to come back, and can", async () => {
      const [own] = await rows(server, "sessions", String(a));
      await rows(server, "disconnect", String(own?.conn));
      const bye = await alice.expectBye();
      assertEquals([bye.errno, bye.retryAfterMs], [9, 1_000]);
      await using again = await server.connect();
      assertEquals((await again.login(a)).errno, 0);
      await rows(server, "disconnect-user", "alice");
      assertEquals((await again.expectBye()).errno, 9);
      assertStringIncludes(await refusal(server, "disconnect-user", "alice"), "is offline");
    });

    await t.step("a new password ends every log-in and is the only one that works", async () => {
      const peer = await server.connect();
      const { token } = await peer.login(b);
      const [row] = await rows(server, "reset-password", "bob");
      assertEquals((await peer.expectBye()).errno, 1);
      await peer[Symbol.asyncDispose]();
      await using again = await server.connect();
      assertEquals((await again.ask({ msgid: MSGID.RESUME, token, v: 2 })).errno, 1);
      assertEquals((await again.login(b)).errno, 1);
      assertEquals((await again.login(b, String(row?.password))).errno, 0);

      const given = ["--data", server.data, "--stdin", "reset-password", "name:bob"];
      const { code, out } = await admin(given, "from a pipe\n");
      assertEquals(code, 0);
      assert(!out.includes("from a pipe"), out);
      await again.expectBye();
      await using last = await server.connect();
      assertEquals((await last.login(b, "from a pipe")).errno, 0);
      for (const secret of ["from a pipe", String(row?.password)]) {
        for (const line of server.lines) assert(!line.includes(secret), line);
      }
    });

    await t.step("a restarted worker costs no connection", async () => {
      if (workers === 0) {
        assertStringIncludes(await refusal(server, "restart-worker", "0"), "no session worker");
        return;
      }
      await using peer = await server.connect();
      await peer.login(a);
      assertEquals(await rows(server, "restart-worker", "0"), [{ worker: 0, restarted: true }]);
      await server.line(/thread died/);
      await peer.fence();
      assertStringIncludes(await refusal(server, "restart-worker", "x"), "no session worker x");
    });

    await t.step("what does not exist is said in one line", async () => {
      for (
        const args of [["user", "nobody"], ["group", "99"], ["message", "x"], ["disconnect", "1"]]
      ) {
        assertMatch(await refusal(server, ...args), /^admin: no [^\n]+\n$/);
      }
    });
  });
}

Deno.test("the socket is its user's alone, replaced after a kill, and gone after a stop", async () => {
  await using server = await TestServer.start({ workers: 1 });
  const sockets = () =>
    [...Deno.readDirSync(server.data)].map(({ name }) => name).filter((n) => n.endsWith(".sock"));
  const [name] = sockets();
  const { mode } = Deno.statSync(`${server.data}/${name}`);
  assertEquals((mode ?? 0) & 0o777, 0o600);

  await server.kill9();
  assertEquals(sockets(), [name]);
  assertMatch(await refusal(server, "status"), /^admin: no node answers at /);
  await server.restart();
  assertEquals(sockets().length, 2); // the port was any free one; now it is given
  const { port } = server;
  for (const which of [["--port", String(port)], []]) {
    assertEquals((await rows(server, ...which, "status")).length, 1); // the other answers nobody
  }
  await server.stop();
  assertEquals(sockets(), [name]);
});

Deno.test("a node that stands still is given up, and what is too long is said to be", async () => {
  await using server = await TestServer.start({ workers: 1 });
  assertMatch(await refusal(server, "user", "x".repeat(257)), /argument is longer than 256/);
  server.signal("SIGSTOP");
  try {
    assertMatch(await refusal(server, "status"), /has not answered for 25 s/);
  } finally {
    server.signal("SIGCONT");
  }
});

Deno.test("a table for people escapes what a terminal would obey; a wrong command line says why", async () => {
  await using server = await TestServer.start({ workers: 1 });
  const { code, out } = await admin(["--data", server.data, "status"]);
  assertEquals(code, 0);
  assertMatch(out, /^node +ready +workers/);
  for (
    const [args, said] of [
      [["nonsense"], "nonsense is no command"],
      [["user"], "user needs USER"],
      [["status", "now"], "status takes nothing"],
      [["--verbose", "status"], "--verbose is no option"],
    ] as const
  ) {
    const wrong = await admin(args);
    assertEquals(wrong.code, 2, args.join(" "));
    assertStringIncludes(wrong.err, said);
  }
  const help = await admin(["--help"]);
  assertEquals([help.code, help.out.trim()], [0, adminHelp().trim()]);
  for (const command of COMMANDS) assertStringIncludes(help.out, command.name);
});

Deno.test("a log-in with the old password that is in hand during a reset is not in after it", async () => {
  // Hashes slow enough that log-ins wait for theirs while the reset is done.
  await using server = await TestServer.start({
    passwordCost: "65536,3",
    flags: ["--password-threads", "1", "--max-failures", "0"],
  });
  await using first = await server.connect();
  const id = await first.register("victim");
  const reset = { isDone: false };
  const done = admin(["--data", server.data, "--stdin", "reset-password", "victim"], "changed\n")
    .finally(() => reset.isDone = true);
  const tries = [];
  while (!reset.isDone && tries.length < 20) {
    const peer = await server.connect();
    tries.push({ peer, ack: peer.login(id) });
    // Spread over the reset, so that some are in each of its phases.
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const { code, err } = await done;
  assertEquals([code, err], [0, ""]);

  const acks = await Promise.allSettled(tries.map(({ ack }) => ack));
  const errnos = acks.map((ack) => ack.status === "fulfilled" ? ack.value.errno : "refused");
  assert(tries.length > 1, "the reset was over at once");
  for (const ack of acks) {
    if (ack.status === "rejected" || ack.value.errno !== 0) continue;
    await using other = await server.connect();
    const resumed = await other.ask({ msgid: MSGID.RESUME, v: 2, token: ack.value.token });
    assertEquals(resumed.errno, 1, `a token outlives the reset: ${errnos}`);
  }
  assertEquals(await rows(server, "sessions", "victim"), []);
  for (const { peer } of tries) await peer[Symbol.asyncDispose]();
});
