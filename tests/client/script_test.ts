import { assert, assertEquals, assertNotMatch } from "@std/assert";
import { join } from "@std/path";
import { connect } from "../../client/mod.ts";
import { MSGID } from "@chat/wire/messages.ts";
import { ScriptAnswers } from "../../client/script/script_answers.ts";
import { Profile } from "../../client/profile/profile.ts";
import { PeerListener } from "../support/client_peer.ts";
import { ClientProcess } from "../support/client_process.ts";
import { TestServer } from "../support/server_harness.ts";

const PASSWORD = "correct-horse-battery";

/** Starts a client that is logged in, with an account made for it. */
function start(server: TestServer, name: string, ...args: string[]): ClientProcess {
  return new ClientProcess({
    args: ["--port", String(server.port), "--name", name, "--register", ...args],
    password: PASSWORD,
  });
}

Deno.test("two client processes chat, one is away meanwhile, and a restart of the server loses nothing", async () => {
  await using server = await TestServer.start();
  await using alice = start(server, "alice");
  const me = await alice.event((e) => e.event === "session");
  {
    await using bob = start(server, "bob");
    await bob.event((e) => e.event === "session");
    await alice.send("/add bob");
    await alice.send("/msg bob hello 漢字");
    await bob.message("hello 漢字");
    await bob.send(`chat:${me.id}:hi alice`);
    await alice.message("hi alice");
    assertEquals((await bob.end()).code, 0);
  }

  await alice.send("/msg bob while you were out");
  assertEquals((await alice.answer(3)).event, "ok");
  await server.kill9();
  await server.restart();
  await alice.send("/msg bob after the restart");
  assertEquals((await alice.answer(4)).event, "ok");
  await using again = start(server, "bob");
  await again.message("after the restart");
  const { code } = await alice.end();

  const texts = again.events.filter((e) => e.event === "message").map((e) => e.text);
  assertEquals(texts, ["while you were out", "after the restart"]);
  assertEquals(code, 0);
});

Deno.test("the classic grammar does what the slash commands do", async () => {
  await using server = await TestServer.start();
  await using alice = start(server, "alice");
  await using bob = start(server, "bob");
  const { id } = await bob.event((e) => e.event === "session");

  await alice.send(`addfriend:${id}`);
  await alice.send("creategroup:devs:people: all of them");
  const made = await alice.answer(2);
  await bob.send("addgroup:1");
  await bob.answer(1);
  await alice.send("groupchat:1:hello: all");
  const message = await bob.message("hello: all");
  await alice.send("help");
  const help = await alice.answer(4);
  await alice.send("loginout");
  await alice.send("/create other");
  const out = await alice.answer(6);

  assertEquals(message.groupid, 1);
  assertEquals(message.group, "devs");
  assert(JSON.stringify(made).includes("people: all of them"));
  assert(JSON.stringify(help).includes("/msg WHO TEXT"));
  assertEquals([out.event, out.errno], ["error", 3]);
});

Deno.test("the exit status tells whether every command succeeded", async () => {
  await using server = await TestServer.start();
  await using good = start(server, "alice");
  await good.send("/create devs");
  const fine = await good.end();
  await using bad = start(server, "alice");
  await bad.send("/msg nobody hello");
  await bad.send("/nonsense");
  await bad.send('{"cmd":"msg"}');
  await bad.send('{"cmd":');
  await bad.send("/join 99");
  const failed = await bad.end();

  assertEquals(fine.code, 0);
  assertEquals(failed.code, 1);
  const errors = bad.events.filter((e) => e.event === "error").map((e) => [e.line, e.errno]);
  assertEquals(errors, [[1, 5], [2, 4], [3, 4], [4, 4], [5, 5]]);
});

Deno.test("--exec runs its commands, also without anything on stdin", async () => {
  await using server = await TestServer.start();
  await using bob = start(server, "bob");
  await bob.event((e) => e.event === "session");
  await using alice = start(
    server,
    "alice",
    "--exec",
    "/add bob\n/msg bob from cron",
    "--exec",
    "/sync",
  );

  await bob.message("from cron");
  const { code } = await alice.ended();

  assertEquals(code, 0);
});

Deno.test("/wait counts messages and fails when they do not come in time", async () => {
  await using server = await TestServer.start();
  await using alice = start(server, "alice");
  await using bob = start(server, "bob");
  const { id } = await alice.event((e) => e.event === "session");

  await alice.send("/wait 3 10");
  for (const text of ["one", "two", "three", "four"]) await bob.send(`/msg ${id} ${text}`);
  const waited = await alice.answer(1);
  await alice.send("/waitfor 10 our");
  await alice.send("/wait 1 10");
  await alice.send("/wait 1 0.1");

  assertEquals(waited.event, "ok");
  assertEquals([(await alice.answer(2)).event, (await alice.answer(3)).event], ["ok", "ok"]);
  assertEquals((await alice.answer(4)).event, "error");
});

Deno.test("JSON commands carry texts of any shape, and the caller's mark comes back", async () => {
  await using server = await TestServer.start();
  await using alice = start(server, "alice");
  const text = 'two\nlines with "quotes", /slashes and chat:2:colons';

  await alice.send({ cmd: "msg", who: 1, text, ref: "my-1" });
  const sent = await alice.answer(1);
  await alice.send({ cmd: "history", who: 1, count: 5 });
  const history = await alice.answer(2);

  assertEquals([sent.event, sent.ref], ["ok", "my-1"]);
  assert(JSON.stringify(history.messages).includes(JSON.stringify(text)));
});

Deno.test("a wrong password and a server that is not there end with status 1 and say why", async () => {
  await using server = await TestServer.start();
  await using first = start(server, "alice");
  await first.end();
  await using wrong = new ClientProcess({
    args: ["--port", String(server.port), "--name", "alice"],
    password: "not it",
  });
  const refused = await wrong.ended();
  await using nobody = new ClientProcess({
    args: ["--port", "1", "--name", "alice"],
    password: "x",
  });
  const unreachable = await nobody.ended();

  assertEquals([refused.code, unreachable.code], [1, 1]);
  assertEquals(wrong.events.at(-2)?.errno ?? wrong.events.at(-1)?.errno, 1);
  assert(String(nobody.events.at(-1)?.error).includes("cannot reach 127.0.0.1:1"));
});

Deno.test("a wrong flag is named, and the status is 2", async () => {
  for (
    const [args, words] of [
      [["--port", "many"], "--port many: a port is a number from 1 to 65535"],
      [["--colour"], "--colour is no flag"],
      [["--host"], "--host needs a value"],
      [["--exec"], "--exec needs a value"],
      [["--profile", "../etc", "--json"], '--profile "../etc"'],
    ] as const
  ) {
    await using client = new ClientProcess({ args });
    const { code, stderr } = await client.ended();

    assertEquals(code, 2, stderr);
    assert(stderr.includes(words), stderr);
  }
});

Deno.test("who is not logged in is told to, whatever the command", async () => {
  await using server = await TestServer.start();
  await using nobody = new ClientProcess({ args: ["--port", String(server.port)] });
  for (const command of ["/msg bob hello", "/who", "/who bob", "/open bob"]) {
    await nobody.send(command);
  }
  const { code } = await nobody.end();

  const errors = nobody.events.filter((e) => e.event === "error").map((e) => [e.errno, e.error]);
  assertEquals(errors, Array.from({ length: 4 }, () => [3, "log in first"]));
  assertEquals(code, 1);
});

Deno.test("a script that logs out forgets the token, one that leaves keeps it", async () => {
  await using server = await TestServer.start();
  const config = await Deno.makeTempDir({ prefix: "chat-client-" });
  const run = async (command: string) => {
    await using script = new ClientProcess({
      args: [
        ...["--port", String(server.port), "--profile", "p", "--name", "alice", "--register"],
        ...["--exec", command],
      ],
      password: PASSWORD,
      env: { XDG_CONFIG_HOME: config },
    });
    assertEquals((await script.ended()).code, 0);
    const profile = await Profile.open(join(config, "chat-client"), "p");
    return typeof (await profile.load()).data?.token;
  };

  assertEquals([await run("/quit"), await run("/logout")], ["string", "undefined"]);
  await Deno.remove(config, { recursive: true });
});

Deno.test("a name is the same name however its accents are typed", async () => {
  await using server = await TestServer.start();
  const client = await connect({ port: server.port });
  const id = await client.register("Ame\u0301lie", PASSWORD);

  const session = await client.login({ name: "Am\u00e9lie", password: PASSWORD });
  const again = await client.addFriend("Ame\u0301lie");
  await client.close();

  assertEquals([session.id, again.id, session.name], [id, id, "Am\u00e9lie"]);
});

Deno.test("no password and no token is ever printed", async () => {
  await using server = await TestServer.start();
  const config = await Deno.makeTempDir({ prefix: "chat-client-" });
  const env = { XDG_CONFIG_HOME: config };
  const args = ["--port", String(server.port), "--profile", "bot"];
  await using first = new ClientProcess({
    args: [...args, "--name", "bot", "--register"],
    password: PASSWORD,
    env,
  });
  await first.send('{"cmd":"login","name":"bot","password":"another-secret"}');
  await first.send("/who");
  const { stderr } = await first.end();
  const file = join(config, "chat-client", "bot", "profile.json");
  const saved = await Deno.readTextFile(file);
  const { mode } = await Deno.stat(file);
  const { token } = JSON.parse(saved);
  // The token alone is enough next time.
  await using second = new ClientProcess({ args, env });
  await second.send("/who");
  const again = await second.end();
  const output = [...first.events, ...second.events].map((e) => JSON.stringify(e)).join("\n");
  await Deno.remove(config, { recursive: true });

  assertEquals(again.code, 0);
  assertEquals((mode ?? 0) & 0o777, 0o600);
  for (const secret of [PASSWORD, "another-secret", token]) {
    assert(!output.includes(secret) && !stderr.includes(secret));
  }
  assertNotMatch(saved, /correct-horse/);
});

Deno.test("a client killed with SIGKILL loses nothing that it was told is queued", async () => {
  await using server = await TestServer.start();
  const config = await Deno.makeTempDir({ prefix: "chat-client-" });
  const outboxFile = join(config, "outbox");
  const alice = await connect({ port: server.port });
  const aliceId = await alice.register("alice", PASSWORD);
  await alice.register("bob", PASSWORD);
  const bob = await connect({ port: server.port });
  const session = await bob.login({ name: "bob", password: PASSWORD });
  await bob.close();
  // The program queues while the server is away, tells how much is queued, and is killed.
  await server.kill9();
  const program = `
    import { connect } from ${JSON.stringify(new URL("../../client/mod.ts", import.meta.url).href)};
    const client = await connect(JSON.parse(Deno.args[0]));
    for (let n = 0; ; n++) {
      await client.sendTo(${aliceId}, "queued " + n);
      await Deno.stdout.write(new TextEncoder().encode(n + "\\n"));
    }`;
  const options = {
    port: server.port,
    outboxFile,
    resume: { token: session.token, id: session.id, name: "bob" },
  };
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", `--config=${new URL("../../deno.json", import.meta.url).pathname}`, program]
      .concat("--", JSON.stringify(options)),
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let told = "";
  for await (const chunk of child.stdout) {
    told += new TextDecoder().decode(chunk);
    if (told.split("\n").length > 200) break;
  }
  child.kill("SIGKILL");
  await child.status;
  const queued = told.split("\n").length - 1;

  await server.restart();
  const restarted = await connect({ ...options });
  assert(await restarted.drained(15_000));
  await restarted.close();
  const received: string[] = [];
  await alice.login({ name: "alice", password: PASSWORD });
  for await (const event of alice) {
    if (event.type === "message") received.push(event.message.msg);
    if (received.length >= queued) break;
  }
  await alice.close();
  await Deno.remove(config, { recursive: true });

  assert(queued >= 200);
  assertEquals(received.slice(0, queued), Array.from({ length: queued }, (_, n) => `queued ${n}`));
});

Deno.test("what the library sends reaches the other across a server that is killed again and again", async () => {
  await using server = await TestServer.start();
  const alice = await connect({ port: server.port });
  const bob = await connect({ port: server.port });
  await alice.register("alice", PASSWORD);
  const bobId = await alice.register("bob", PASSWORD);
  await alice.login({ name: "alice", password: PASSWORD });
  await bob.login({ name: "bob", password: PASSWORD });
  const total = 300;

  const received: string[] = [];
  const reading = (async () => {
    for await (const event of bob) {
      if (event.type !== "message") continue;
      received.push(event.message.msg);
      if (received.length === total) return;
    }
  })();
  for (let n = 0; n < total; n++) {
    await alice.sendTo(bobId, `text ${n}`);
    if (n % 100 === 50) {
      await server.kill9();
      await server.restart();
    }
  }
  await reading;
  assert(await alice.drained(15_000));
  await alice.close();
  await bob.close();

  assertEquals(received, Array.from({ length: total }, (_, n) => `text ${n}`));
});

Deno.test("over TLS the client trusts the certificate it is given, and no other", async () => {
  const dir = await Deno.makeTempDir({ prefix: "chat-client-" });
  const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
  const made = await new Deno.Command("openssl", {
    args: ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
      .concat(["-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert])
      .concat(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
      .concat(["-addext", "basicConstraints=critical,CA:FALSE"]),
    stderr: "null",
  }).output();
  await using server = await TestServer.start({ flags: ["--tls-cert", cert, "--tls-key", key] });
  const args = ["--port", String(server.port), "--name", "alice", "--register"];
  await using trusting = new ClientProcess({ args: [...args, "--ca", cert], password: PASSWORD });
  await trusting.send("/who");
  const good = await trusting.end();
  await using doubting = new ClientProcess({ args: [...args, "--tls"], password: PASSWORD });
  const bad = await doubting.ended();
  await Deno.remove(dir, { recursive: true });

  assert(made.success);
  assertEquals([good.code, bad.code], [0, 1]);
  assert(/certificate/i.test(String(doubting.events.at(-1)?.error)), "the certificate is named");
});

Deno.test("whoever logs in after a logout talks to nobody yet", async () => {
  await using server = await TestServer.start();
  await using bob = start(server, "bob");
  await bob.event((e) => e.event === "session");
  await using alice = start(server, "alice");

  await alice.send("/add bob");
  await alice.send("/open bob");
  await alice.send("/logout");
  await alice.send({ cmd: "register", name: "carol", password: PASSWORD });
  await alice.send({ cmd: "login", name: "carol", password: PASSWORD });
  await alice.send("hello");
  const said = await alice.answer(6);

  assertEquals([said.event, said.errno], ["error", 4]);
});

Deno.test("whoever logs in after a logout waits for messages of their own", async () => {
  await using server = await TestServer.start();
  await using bob = start(server, "bob");
  await bob.event((e) => e.event === "session");
  await using alice = start(server, "alice");
  const { id } = await alice.event((e) => e.event === "session");
  await bob.send(`/msg ${id} for alice`);
  await alice.message("for alice");

  await alice.send("/logout");
  await alice.send({ cmd: "register", name: "carol", password: PASSWORD });
  await alice.send({ cmd: "login", name: "carol", password: PASSWORD });
  await alice.send("/wait 1 0.1");
  await alice.send("/waitfor 0.1 for alice");
  const answers = [await alice.answer(3), await alice.answer(4), await alice.answer(5)];

  assertEquals(answers.map((answer) => answer.event), ["ok", "error", "error"]);
});

Deno.test("a script whose login is refused does not wait for messages that nobody will send", async () => {
  await using server = await TestServer.start();
  const config = await Deno.makeTempDir({ prefix: "chat-client-" });
  const profile = await Profile.open(join(config, "chat-client"), "p");
  const chat = { cid: "c1", from: 1, toid: 2, groupid: 0, msg: "hi", at: 1 };
  await Deno.writeTextFile(profile.outboxFile, JSON.stringify({ q: chat }) + "\n");

  const began = performance.now();
  await using client = new ClientProcess({
    args: ["--port", String(server.port), "--profile", "p", "--name", "alice", "--json"],
    password: "not it",
    env: { XDG_CONFIG_HOME: config },
  });
  const { code } = await client.ended();
  await Deno.remove(config, { recursive: true });

  assertEquals(code, 1);
  assert(performance.now() - began < 15_000, `${performance.now() - began} ms`);
});

Deno.test("a script whose session another client has taken ends, and tells what it has not sent", async () => {
  using listener = new PeerListener();
  const count = 300; // more than may be open at once
  await using client = new ClientProcess({
    args: ["--port", String(listener.port), "--name", "alice"]
      .concat(["--exec", "/msg bob hi\n".repeat(count)]),
    password: PASSWORD,
  });
  const peer = await listener.accept();
  await peer.logIn({ friends: [{ id: 2, name: "bob", state: "online" }] });
  await peer.expect(MSGID.ONE_CHAT);
  await peer.send({ msgid: MSGID.BYE, errno: 2, errmsg: "logged in elsewhere" });
  await peer[Symbol.asyncDispose]();

  const { code } = await client.ended();

  assertEquals(code, 1);
  const answers = client.events.filter((e) => e.cmd === "msg").map((e) => e.event);
  assertEquals(answers, Array(count).fill("error"));
});

Deno.test("a script that has logged out does not wait for what an earlier run has not sent", async () => {
  using listener = new PeerListener();
  const config = await Deno.makeTempDir({ prefix: "chat-client-" });
  const profile = await Profile.open(join(config, "chat-client"), "p");
  const chat = { cid: "c1", from: 1, toid: 2, groupid: 0, msg: "hi", at: 1 };
  await Deno.writeTextFile(profile.outboxFile, JSON.stringify({ q: chat }) + "\n");
  await using client = new ClientProcess({
    args: ["--port", String(listener.port), "--profile", "p", "--name", "alice"]
      .concat(["--exec", "/logout"]),
    password: PASSWORD,
    env: { XDG_CONFIG_HOME: config },
  });
  await using peer = await listener.accept();
  await peer.logIn();
  const { cid } = await peer.expect(MSGID.ONE_CHAT);
  await peer.send({ msgid: MSGID.ERROR, errno: 9, errmsg: "later", retryAfterMs: 60_000, cid });
  const { req } = await peer.expect(MSGID.LOGOUT);
  await peer.send({ msgid: MSGID.OK, req });

  const { code } = await client.ended();
  const kept = await Deno.readTextFile(profile.outboxFile);
  await Deno.remove(config, { recursive: true });

  assertEquals(code, 1);
  assert(kept.includes('"c1"'), "the next run has it");
});

Deno.test("a line of output holds nothing that a terminal obeys or a reader takes for its end", () => {
  const lines: string[] = [];
  const answers = new ScriptAnswers((line) => lines.push(line));
  const text = "\u007f\u009b31m\u0085\u2028\u2029\u061c\u200e\u202e\u2066\u2069 日本 😀";
  answers.tell({ event: "message", text });

  assertNotMatch(lines.join(), /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/);
  assertEquals(JSON.parse(lines.join()), { event: "message", text });
});
