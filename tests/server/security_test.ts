/** Who gets in, who stays in, and what nobody gets: against real nodes. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { MSGID } from "@chat/wire/messages.ts";
import { argon2 } from "../../actors/adapters/argon2.ts";
import { openSqlite } from "../../actors/adapters/sqlite/store.ts";
import { Guard } from "../../actors/accounts/guard.ts";
import { newTokenKey, TokenSigner } from "../../actors/accounts/tokens.ts";
import { readConfig } from "../../server/settings/config.ts";
import { permissions } from "../../server/settings/node_command.ts";
import { FakeClock } from "../support/fake_clock.ts";
import {
  BALANCED,
  type Received,
  ROOT,
  TestPeer,
  TestServer,
  WAIT_MS,
} from "../support/server_harness.ts";

const PASSWORD = "correct horse"; // TestPeer's own

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "chat-security-" });
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const NO_LIMITS = {
  ...{ registrationsPerMinute: 0, loginsPerMinute: 0, failures: 0 },
  exempt: () => true,
  network: String,
};

const refusal = ({ msgid, errno, errmsg }: Received) => [msgid, errno, errmsg];
const resume = (peer: TestPeer, token: unknown, fields: object = {}) =>
  peer.ask({ msgid: MSGID.RESUME, v: 2, token, ...fields });
const loginAs = (peer: TestPeer, who: object, password = PASSWORD) =>
  peer.ask({ msgid: MSGID.LOGIN, v: 2, ...who, password });

// ── TLS ─────────────────────────────────────────────────────────────────────────────────────

/** A certificate for 127.0.0.1 that signs itself, and its key, in these files. */
async function makeCertificate(cert: string, key: string): Promise<void> {
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-days", "2", "-keyout", key, "-out", cert, ...subject],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
    ],
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** A TLS connection whose handshake is done. */
async function connectTls(port: number, ca: string): Promise<Deno.TlsConn> {
  const conn = await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [ca] });
  try {
    await conn.handshake();
    return conn;
  } catch (error) {
    conn.close();
    throw error;
  }
}

/** PING and its PONG. */
async function ping(conn: Deno.Conn): Promise<void> {
  await conn.write(new TextEncoder().encode(`{"msgid":${MSGID.PING}}\n`));
  const count = await deadline(conn.read(new Uint8Array(512)), WAIT_MS);
  assert(count !== null && count > 0);
}

Deno.test("--tls-cert and --tls-key: a client refuses a wrong certificate; SIGHUP takes a new one and no connection ends", async () => {
  await withDir(async (dir) => {
    const [cert, key] = [`${dir}/cert.pem`, `${dir}/key.pem`];
    await makeCertificate(cert, key);
    await makeCertificate(`${dir}/other.pem`, `${dir}/other-key.pem`);
    const [first, other] = [
      await Deno.readTextFile(cert),
      await Deno.readTextFile(`${dir}/other.pem`),
    ];
    await using server = await TestServer.start({
      flags: ["--tls-cert", cert, "--tls-key", key],
    });
    using early = await connectTls(server.port, first);
    await ping(early);
    await assertRejects(() => connectTls(server.port, other), Error, "certificate");
    {
      using plain = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
      await plain.write(new TextEncoder().encode(`{"msgid":${MSGID.PING}}\n`));
      const bytes = new Uint8Array(512);
      const count = await deadline(plain.read(bytes), WAIT_MS).catch(() => null);
      const alert = 21; // RFC 8446, section 5.1
      assert(count === null || bytes[0] === alert, new TextDecoder().decode(bytes));
    }

    await Deno.copyFile(`${dir}/other.pem`, cert); // the key is still the first one's
    server.signal("SIGHUP");
    await server.line(/the old certificate stays/);
    (await connectTls(server.port, first)).close();
    await Deno.copyFile(`${dir}/other-key.pem`, key);
    server.signal("SIGHUP");
    await server.line(/certificate read again/);

    (await connectTls(server.port, other)).close();
    await assertRejects(() => connectTls(server.port, first), Error, "certificate");
    await ping(early);
  });
});

Deno.test("--password-threads: so many hash passwords, on Linux behind everything else a node does", async () => {
  const threads = 3;
  // Half a second of work: whatever thread does that stands out.
  const passwordCost = "262144,2";
  const flags = ["--password-threads", `${threads}`];
  await using server = await TestServer.start({ flags, passwordCost });
  await using peer = await server.connect();
  const main = String(server.pid);
  const fieldsOf = (task: string) => {
    const stat = Deno.readTextFileSync(`/proc/${server.pid}/task/${task}/stat`);
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number); // proc(5), from field 3
  };
  const tasks = () => Array.from(Deno.readDirSync(`/proc/${server.pid}/task`), ({ name }) => name);
  const ticksOf = (task: string) => (fieldsOf(task)[11] ?? 0) + (fieldsOf(task)[12] ?? 0);
  const niceOf = (task: string) => fieldsOf(task)[16] ?? 0;
  const behind = Math.max(niceOf(main), 10);

  const before = new Map(tasks().map((task) => [task, ticksOf(task)]));
  await peer.register("alice");
  const spent = tasks().map((task) => ({ task, ticks: ticksOf(task) - (before.get(task) ?? 0) }));

  const [busiest] = spent.toSorted((a, b) => b.ticks - a.ticks);
  assert(busiest !== undefined && busiest.ticks > 10, JSON.stringify(spent));
  assertEquals(niceOf(busiest.task), behind);
  // Each has a thread for its questions and one that starts the runtime's own.
  if (niceOf(main) < behind) {
    const many = tasks().filter((task) => niceOf(task) === behind).length;
    assert(many >= 2 * threads, `${many}`);
  }
});

// ── permissions ─────────────────────────────────────────────────────────────────────────────

Deno.test("a node of a cluster may reach its listeners, MySQL and Redis, and no other host", () => {
  const flags = ["--mysql", "mysql://u:p@db:3307/chat", "--redis", "redis://r", "--data", "/d"];
  const invocation = readConfig(flags, () => undefined, 1);
  assert(!invocation.help);

  const granted = permissions(invocation.config);

  const net = "127.0.0.1:6000,127.0.0.1:6080,unix:/d/admin-6000.sock,db:3307,r:6379";
  assertEquals(granted.filter((flag) => flag.startsWith("--allow-net")), [`--allow-net=${net}`]);
  assertEquals(granted.filter((flag) => /run|ffi|all$|import/.test(flag)), []);
});

Deno.test("a node reads and writes its data directory, talks where it has to, and nothing else", async () => {
  await withDir(async (dir) => {
    const outside = `${dir}/outside`;
    await Deno.mkdir(`${dir}/data`);
    await Deno.writeTextFile(outside, "secret");
    await using server = await TestServer.start({ data: `${dir}/data` });
    // What the node's process was started with, with another program in the place of the node.
    const words = Deno.readTextFileSync(`/proc/${server.pid}/cmdline`).split("\0");
    const main = words.findIndex((word) => word.endsWith("server/main.ts"));
    assert(main > 0, words.join(" "));

    const { stdout, stderr } = await new Deno.Command(words[0] ?? "", {
      args: [
        ...words.slice(1, main),
        `${ROOT}tests/fixtures/permissions_probe.ts`,
        ...[`${dir}/data`, outside, `${server.port}`],
      ],
      stdout: "piped",
      stderr: "piped",
    }).output();

    const output = new TextDecoder().decode(stdout);
    assertEquals(
      output === "" ? new TextDecoder().decode(stderr) : JSON.parse(output),
      [
        "write in the data directory",
        "read in the data directory",
        "database in the data directory",
      ],
    );
    assertEquals(await Deno.readTextFile(outside), "secret");
  });
});

// ── passwords ───────────────────────────────────────────────────────────────────────────────

Deno.test("a wrong password, an unknown user and a deleted one get the same answer", async () => {
  await using server = await TestServer.start();
  await using peer = await server.connect();
  await using gone = await server.connect();
  const id = await peer.register("alice");
  const deleted = await gone.enter("gone");
  await gone.ask({ msgid: MSGID.DELETE_ACCOUNT, password: PASSWORD });

  const answers = [];
  for (
    const who of [
      { id },
      { name: "alice" },
      { id: 4_000_000 },
      { name: "nobody" },
      {
        id: deleted,
      },
      { name: "gone" },
      { name: "deleted user" },
    ]
  ) {
    const { req: _, ...answer } = await loginAs(peer, who, "wrong");
    answers.push(JSON.stringify(answer));
  }

  assertEquals(new Set(answers).size, 1, answers.join("\n"));
  assertMatch(answers[0] ?? "", /"errno":1/);
});

Deno.test("to check the password of nobody takes as long as that of somebody", async () => {
  const port = argon2({ memoryKib: 4_096, passes: 2 });
  const hash = await port.hash(PASSWORD);
  const best = { known: Infinity, unknown: Infinity };
  await port.verify("wrong", undefined);
  for (let round = 0; round < 10; round++) {
    for (const [kind, against] of [["known", hash], ["unknown", undefined]] as const) {
      const began = performance.now();
      assertEquals(await port.verify("wrong", against), false);
      best[kind] = Math.min(best[kind], performance.now() - began);
    }
  }

  const ratio = best.unknown / best.known;

  assert(ratio > 0.7 && ratio < 1.4, `${best.unknown} ms and ${best.known} ms`);
});

Deno.test("--max-failures counts an account's failures together, by id and by name; the wait grows; others do not wait", async () => {
  await using server = await TestServer.start({ flags: ["--max-failures", "3"] });
  await using peer = await server.connect();
  const id = await peer.register("alice");
  const bob = await peer.register("bob");
  for (const who of [{ id }, { name: "Alice" }, { name: "alice" }]) {
    assertEquals((await loginAs(peer, who, "wrong")).errno, 1);
  }

  const waits: number[] = [];
  for (const who of [{ id }, { name: "alice" }]) {
    const { errno, retryAfterMs } = await loginAs(peer, who); // with the right password
    assertEquals(errno, 7);
    waits.push(Number(retryAfterMs));
  }
  assert(waits.every((ms) => ms > 0 && ms <= 1_000), `${waits}`);
  await server.line(/held back.*127\.0\.0\.1.*too many attempts/);
  for (let i = 0; i < 3; i++) assertEquals((await loginAs(peer, { name: "x" }, "y")).errno, 1);
  assertEquals((await loginAs(peer, { name: "X" }, "y")).errno, 7, "nobody waits as well");

  assertEquals((await loginAs(peer, { id: bob })).errno, 0);
});

Deno.test("--max-failures: an address that tries many accounts waits, a right password does not clear it", async () => {
  const flags = ["--max-failures", "1", "--unlimited", "10.0.0.0/8"];
  await using server = await TestServer.start({ flags });
  await using peer = await server.connect();
  const id = await peer.register("alice");
  const answers = [];
  for (let i = 0; i < 9; i++) {
    answers.push((await loginAs(peer, { name: `account ${i}` }, "wrong")).errno);
  }
  await using other = await server.connect();
  await other.login(id);
  for (let i = 9; i < 12; i++) {
    answers.push((await loginAs(peer, { name: `account ${i}` }, "wrong")).errno);
  }

  assertEquals(answers, [...Array<number>(10).fill(1), 7, 7]);
});

Deno.test("the wait after failed log-ins doubles up to a bound, and is forgotten in time", async () => {
  const clock = new FakeClock();
  const guard = new Guard(clock, { ...NO_LIMITS, failures: 3 });
  const guess = () =>
    guard.receive({ type: "login", remote: "192.0.2.1", account: "alice" })?.waitMs ?? -1;
  assertEquals([guess(), guess(), guess()], [0, 0, 0]);

  const waits: number[] = [];
  for (let i = 0; i < 10; i++) {
    const wait = guess();
    waits.push(wait);
    await clock.advance(wait - 1);
    assertEquals(guess(), 1);
    await clock.advance(1);
    assertEquals(guess(), 0);
  }

  assertEquals(waits.slice(0, 4), [1_000, 2_000, 4_000, 8_000]);
  assertEquals(waits.slice(-2), [60_000, 60_000]);
  await clock.advance(24 * 3_600_000);
  assertEquals([guess(), guess(), guess(), guess()], [0, 0, 0, 1_000]);
});

Deno.test("--max-failures holds for guesses that come all at once", async () => {
  await using server = await TestServer.start({ flags: ["--max-failures", "3"], workers: 2 });
  await using peer = await server.connect();
  const id = await peer.register("alice");
  const peers = await Promise.all(Array.from({ length: 20 }, () => server.connect()));

  const answers = await Promise.all(peers.map((each) => loginAs(each, { id }, "wrong")));

  const count = (errno: number) => answers.filter((answer) => answer.errno === errno).length;
  assertEquals([count(1), count(7)], [3, 17]);
  for (const each of peers) await each[Symbol.asyncDispose]();
});

Deno.test("a stranger's guesses keep nobody else out; the owner of the account gets in from anywhere else", async () => {
  await using server = await TestServer.start({ flags: [...BALANCED, "--max-failures", "3"] });
  await using alice = await server.connect(2, "192.0.2.1");
  const id = await alice.register("alice");
  await using stranger = await server.connect(2, "198.51.100.7");
  const answers = [];
  for (let i = 0; i < 6; i++) answers.push((await stranger.login(id, "wrong")).errno);
  assertEquals(answers, [1, 1, 1, 7, 7, 7]);

  assertEquals((await alice.login(id)).errno, 0);

  // Nor do they where it is proved again, in a session.
  const changed = { msgid: MSGID.CHANGE_PASSWORD, old: PASSWORD, new: "other horse" };
  assertEquals((await alice.ask(changed)).msgid, MSGID.OK);
  const gone = { msgid: MSGID.DELETE_ACCOUNT, password: "other horse" };
  assertEquals((await alice.ask(gone)).msgid, MSGID.OK);
});

Deno.test("guesses from many addresses slow down who comes from a new one; not the owner, from an address or a device of before", async () => {
  const flags = [...BALANCED, "--max-failures", "1", "--max-logins", "0"];
  await using server = await TestServer.start({ flags });
  const at = (from: string) => server.connect(2, from);
  await using home = await at("192.0.2.1");
  const id = await home.register("alice");
  assertEquals((await home.login(id, PASSWORD, { device: "phone" })).errno, 0);
  await home.ask({ msgid: MSGID.LOGOUT });
  const errnos = new Map<unknown, number>();
  for (let i = 1; i <= 40; i++) {
    await using stranger = await at(`198.51.100.${i}`);
    const { errno } = await stranger.login(id, "wrong");
    errnos.set(errno, (errnos.get(errno) ?? 0) + 1);
  }
  const tried = errnos.get(1) ?? 0; // one more for each second that it took
  assert(tried >= 20 && tried < 25 && tried + (errnos.get(7) ?? 0) === 40, `${[...errnos]}`);

  await using away = await at("203.0.113.1");
  assertEquals((await away.login(id)).errno, 7, "from an address of nobody");
  assertEquals((await away.login(id, PASSWORD, { device: "guessed" })).errno, 7);
  assertEquals((await away.login(id, PASSWORD, { device: "phone" })).errno, 0);
  await away.ask({ msgid: MSGID.LOGOUT });
  await using again = await at("192.0.2.1");
  assertEquals((await again.login(id)).errno, 0);
});

Deno.test("IPv6 addresses of one network are one for failed log-ins", async () => {
  await using server = await TestServer.start({ flags: [...BALANCED, "--max-failures", "2"] });
  await using alice = await server.connect(2, "192.0.2.1");
  const id = await alice.register("alice");
  const errnos = [];
  for (let i = 1; i <= 4; i++) {
    await using stranger = await server.connect(2, `2001:db8:0:7::${i}`);
    errnos.push((await stranger.login(id, "wrong")).errno);
  }
  assertEquals(errnos, [1, 1, 7, 7]);
});

Deno.test("--max-logins: an address logs in so often a minute, with right passwords too", async () => {
  await using server = await TestServer.start({ flags: [...BALANCED, "--max-logins", "3"] });
  await using alice = await server.connect(2, "192.0.2.1");
  const id = await alice.register("alice");
  const errnos = [];
  for (let i = 0; i < 4; i++) {
    errnos.push((await alice.login(id)).errno);
    await alice.ask({ msgid: MSGID.LOGOUT });
  }
  assertEquals(errnos, [0, 0, 0, 7]);
  await using other = await server.connect(2, "192.0.2.2");
  assertEquals((await other.login(id)).errno, 0);
});

Deno.test("--max-tokens: the oldest login of a user can be resumed no more", async () => {
  await using server = await TestServer.start({ flags: ["--max-tokens", "2"] });
  await using alice = await server.connect();
  const id = await alice.register("alice");
  const tokens: string[] = [];
  for (let i = 0; i < 3; i++) {
    await using peer = await server.connect();
    let ack = await peer.login(id);
    while (ack.errno === 2) ack = await peer.login(id); // until the server has seen the end
    tokens.push(String(ack.token));
  }
  const errnos = [];
  for (const token of tokens) {
    await using peer = await server.connect();
    errnos.push((await resume(peer, token)).errno);
  }
  assertEquals(errnos, [1, 0, 0]);
});

Deno.test("after a change of the password the token of before is void, and the new one is in the answer", async () => {
  await using server = await TestServer.start();
  await using alice = await server.connect();
  const id = await alice.register("alice");
  const { token: stolen } = await alice.login(id, PASSWORD, { device: "phone" });
  const changed = { msgid: MSGID.CHANGE_PASSWORD, old: PASSWORD, new: "other horse" };

  const { token } = await alice.ask(changed);

  await using thief = await server.connect();
  assertEquals((await resume(thief, String(stolen), { device: "phone" })).errno, 1);
  assertEquals((await resume(thief, String(token), { device: "phone" })).errno, 0);
});

Deno.test("--password-cost: a stored hash of another cost is replaced at the next log-in", async () => {
  await withDir(async (data) => {
    const hashOf = async () => {
      const store = await openSqlite(`${data}/chat.db`);
      const hash = (await store.userById(1))?.hash ?? "";
      await store.close();
      return hash;
    };
    {
      await using server = await TestServer.start({ data });
      await using peer = await server.connect();
      await peer.enter("alice");
    }
    assertMatch(await hashOf(), /^\$argon2id\$v=19\$m=64,t=1,p=1\$/);
    {
      await using server = await TestServer.start({ data, passwordCost: "128,2" });
      await using peer = await server.connect();
      assertEquals((await peer.login(1, "wrong")).errno, 1);
      assertEquals((await peer.login(1)).errno, 0);
      const began = performance.now();
      while (!(await hashOf()).includes("m=128,t=2,")) {
        assert(performance.now() - began < WAIT_MS, "the hash stays as it was");
      }
      await peer.ask({ msgid: MSGID.LOGOUT });
      assertEquals((await peer.login(1)).errno, 0);
    }
  });
});

// ── tokens ──────────────────────────────────────────────────────────────────────────────────

Deno.test("a resume token is good for its user and device until LOGOUT, and cannot be made up", async () => {
  await using server = await TestServer.start();
  await using peer = await server.connect();
  const id = await peer.register("alice");
  const { token } = await peer.login(id, PASSWORD, { device: "phone" });
  await using other = await server.connect();

  const forged = [
    String(token).replace(/^\d+/, `${id + 1}`),
    String(token).replace(/\.(\d+)\./, (_, expires) => `.${Number(expires) + 1}.`),
    `${String(token).slice(0, -2)}AA`,
    new TokenSigner(newTokenKey()).issue(id, Date.now() + 1e6).token,
    "",
    "....",
  ];
  for (const each of forged) {
    const { errno } = await resume(other, each, { device: "phone" });
    assert(errno === 1 || errno === 4, `${each}: ${errno}`);
  }
  for (const device of [{}, { device: "tablet" }]) {
    assertEquals((await resume(other, token, device)).errno, 1);
  }
  assertEquals((await resume(other, token, { device: "phone" })).errno, 0);
  assertEquals((await peer.expectBye()).errno, 2);
  await other.ask({ msgid: MSGID.LOGOUT });
  assertEquals((await resume(other, token, { device: "phone" })).errno, 1);
});

Deno.test("a token is void the moment it expires", () => {
  const signer = new TokenSigner(newTokenKey());
  const { token, tokenId } = signer.issue(7, 1_000);

  assertEquals(signer.check(token, 999), { user: 7, tokenId, expires: 1_000 });
  assertEquals(signer.check(token, 1_000), undefined);
});

Deno.test("CHANGE_PASSWORD needs the old one and ends all tokens; the session goes on with a new one", async () => {
  await using server = await TestServer.start();
  await using peer = await server.connect();
  await using other = await server.connect();
  const id = await peer.register("alice");
  const stolen = (await peer.login(id)).token;
  assertEquals((await resume(other, stolen)).errno, 0);
  await peer.expectBye();
  await other.send({ msgid: MSGID.PING }); // its session ends with the connection, its token stays
  await other[Symbol.asyncDispose]();
  await using own = await server.connect();
  let login = await own.login(id);
  while (login.errno === 2) login = await own.login(id); // until the server has seen the end
  const { token } = login;
  const change = { msgid: MSGID.CHANGE_PASSWORD, old: PASSWORD, new: "battery staple" };

  assertEquals(refusal(await own.ask({ ...change, old: "wrong" })).slice(0, 2), [MSGID.ERROR, 1]);
  const changed = await own.ask(change);
  assertEquals(changed.msgid, MSGID.OK);

  await using thief = await server.connect();
  assertEquals((await resume(thief, stolen)).errno, 1);
  assertEquals((await loginAs(thief, { id })).errno, 1);
  assertEquals((await resume(thief, token)).errno, 1, "it may be stolen as well");
  assertEquals((await resume(thief, changed.token)).errno, 0);
  await thief.ask({ msgid: MSGID.LOGOUT });
  assertEquals((await loginAs(thief, { id }, "battery staple")).errno, 0);
});

Deno.test("DELETE_ACCOUNT says OK and BYE; what was sent stays without the name, which is free", async () => {
  await using server = await TestServer.start({ workers: 2 });
  await using alice = await server.connect();
  await using gone = await server.connect();
  const a = await alice.enter("alice");
  const g = await gone.register("gone");
  const { token } = await gone.login(g);
  await alice.ask({ msgid: MSGID.ADD_FRIEND, friendid: g });
  const { groupid } = await gone.ask({ msgid: MSGID.CREATE_GROUP, groupname: "ours" });
  await alice.ask({ msgid: MSGID.JOIN_GROUP, groupid });
  const { mid } = await gone.chat(a, "last words");
  const deletion = { msgid: MSGID.DELETE_ACCOUNT, password: "wrong" };
  assertEquals((await gone.ask(deletion)).errno, 1);
  await gone.fence();

  assertEquals((await gone.ask({ ...deletion, password: PASSWORD })).msgid, MSGID.OK);
  assertEquals((await gone.expectBye()).errno, 1);

  await alice.expect(MSGID.PRESENCE, (m) => m.id === g && m.state === "offline");
  const { messages } = await alice.ask({ msgid: MSGID.HISTORY, userid: g });
  const rows = (messages as Received[]).map((m) => [m.mid, m.name, m.msg]);
  assertEquals(rows, [[mid, "deleted user", "last words"]]);
  const late = await alice.ask({ msgid: MSGID.ONE_CHAT, toid: g, cid: "late", msg: "?" });
  assertEquals(refusal(late).slice(0, 2), [MSGID.ERROR, 5]);
  await alice.ask({ msgid: MSGID.LOGOUT });
  const { friends, groups } = await alice.login(a);
  assertEquals(friends, []);
  const [group] = groups as { users: { id: number }[] }[];
  assertEquals(group?.users.map((user) => user.id), [a]);
  await using next = await server.connect();
  assertEquals((await resume(next, token)).errno, 1);
  assert((await next.enter("gone")) !== g);
});

// ── names and secrets ───────────────────────────────────────────────────────────────────────

Deno.test("a name has one form, and nothing in it that cannot be seen", async () => {
  await using server = await TestServer.start();
  await using peer = await server.connect();
  const register = (name: string) =>
    peer.ask({ msgid: MSGID.REGISTER, v: 2, name, password: PASSWORD });
  const visible = ["Zoë", "李 雷", "أمل", "x\u0301", "a b", "O'Neil <3", "😀"];
  for (const name of visible) {
    const { errno, id } = await register(name);
    assertEquals(errno, 0, JSON.stringify(name));
    assertEquals((await register(name.normalize("NFD"))).errno, 1, JSON.stringify(name));
    const ack = await loginAs(peer, { name: name.normalize("NFD") });
    assertEquals([ack.id, ack.name], [id, name.normalize("NFC")]);
    await peer.ask({ msgid: MSGID.LOGOUT });
  }
  const hidden = {
    "NUL": 0,
    "escape": 0x1b,
    "soft hyphen": 0xad,
    "no-break space": 0xa0,
    "combining grapheme joiner": 0x34f,
    "Arabic letter mark": 0x61c,
    "Hangul choseong filler": 0x115f,
    "Khmer inherent vowel": 0x17b4,
    "Mongolian vowel separator": 0x180e,
    "zero-width space": 0x200b,
    "zero-width joiner": 0x200d,
    "right-to-left override": 0x202e,
    "word joiner": 0x2060,
    "isolate": 0x2066,
    "blank Braille cell": 0x2800,
    "ideographic space": 0x3000,
    "Hangul filler": 0x3164,
    "private use": 0xe000,
    "variation selector": 0xfe0f,
    "byte order mark": 0xfeff,
    "half-width Hangul filler": 0xffa0,
    "musical begin beam": 0x1d173,
    "tag": 0xe0061,
    "variation selector 256": 0xe01ef,
  };
  for (const [what, code] of Object.entries(hidden)) {
    const char = String.fromCodePoint(code);
    for (const name of [char, `al${char}ice`]) {
      assertEquals((await register(name)).errno, 4, what);
    }
  }
  for (const name of [" a", "a ", " ", "\u0301x", "x".repeat(51)]) {
    assertEquals((await register(name)).errno, 4, JSON.stringify(name));
  }
});

Deno.test("neither passwords nor tokens nor hashes are ever logged", async () => {
  const secrets = ["open sesame", "guessed wrong", "new and better"];
  const [password = "", wrong = "", better = ""] = secrets;
  await using server = await TestServer.start({ flags: ["--log-level", "debug"] });
  await using peer = await server.connect();
  const id = await peer.register("alice", password);
  await peer.login(id, wrong);
  const { token } = await peer.login(id, password);
  await peer.ask({ msgid: MSGID.CHANGE_PASSWORD, old: password, new: better });
  await using other = await server.connect();
  await resume(other, token);
  await resume(other, `${token}x`);
  await other.sendText(
    `{"msgid":1,"v":2,"id":"x","password":"${better}"}\n{"password":"${better}",}\n`,
  );
  server.signal("SIGUSR2"); // a worker dies with its sessions in hand, and another rebuilds them
  await server.line(/thread died/);
  await other.fence();
  await server.stop();

  const text = server.lines.join("\n");
  for (const secret of [...secrets, String(token), "$argon2id"]) {
    assert(!text.includes(secret), `${secret} in:\n${text}`);
  }
  assertMatch(text, /"conn"/);
});
