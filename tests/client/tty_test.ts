import { assert, assertEquals, assertMatch } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { join } from "@std/path";
import { delay } from "@std/async/delay";
import { type Client, type ClientEvent, connect } from "../../client/mod.ts";
import { PeerListener } from "../support/client_peer.ts";
import { ClientTerminal, type TerminalOptions } from "../support/client_terminal.ts";
import { TestServer } from "../support/server_harness.ts";

const PASSWORD = "correct-horse-battery";
/** Exit statuses after signals. */
const STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** A server, alice in a terminal talking to her friend bob, and bob as a program. */
interface Scene extends AsyncDisposable {
  readonly server: TestServer;
  readonly terminal: ClientTerminal;
  readonly bob: Client;
  readonly bobEvents: AsyncIterator<ClientEvent>;
  readonly aliceId: number;
  readonly bobId: number;
}

async function scene(options: TerminalOptions = {}): Promise<Scene> {
  const server = await TestServer.start();
  const bob = await connect({ port: server.port });
  const bobId = await bob.register("bob", PASSWORD);
  const aliceId = await bob.register("alice", PASSWORD);
  // Whom alice knows is set up before she comes.
  const alice = await connect({ port: server.port });
  await alice.login({ name: "alice", password: PASSWORD });
  await alice.addFriend(bobId);
  await alice.logout();
  await alice.close();
  await bob.login({ name: "bob", password: PASSWORD });
  const terminal = await start(server, options);
  await terminal.sees(/Friends, 1 of 1 online/);
  await terminal.enter("/open bob");
  await terminal.sees(/^ bob · online/);
  return {
    server,
    terminal,
    bob,
    bobEvents: bob[Symbol.asyncIterator](),
    aliceId,
    bobId,
    async [Symbol.asyncDispose]() {
      await terminal[Symbol.asyncDispose]();
      await bob.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Alice's terminal. */
function start(server: TestServer, options: TerminalOptions = {}): Promise<ClientTerminal> {
  return ClientTerminal.start({
    ...options,
    args: ["--port", String(server.port), "--name", "alice", ...options.args ?? []],
    env: { CHAT_PASSWORD: PASSWORD, ...options.env },
  });
}

/** The texts of the next messages that bob gets. */
async function received(events: AsyncIterator<ClientEvent>, count: number): Promise<string[]> {
  const texts: string[] = [];
  while (texts.length < count) {
    const { value, done } = await events.next();
    if (done) break;
    if (value.type === "message") texts.push(value.message.msg);
  }
  return texts;
}

Deno.test("at the first run a newcomer gets an account by answering questions, then is in at once", async () => {
  await using server = await TestServer.start();
  const config = await Deno.makeTempDir({ prefix: "chat-client-" });
  {
    await using terminal = await ClientTerminal.start({ config });
    await terminal.sees(/^Server \[127\.0\.0\.1:6000\]:/);
    await terminal.enter(`127.0.0.1:${server.port}`);
    await terminal.sees(/^Your name:/);
    await terminal.enter("alice");
    await terminal.sees(/^Password for alice:/);
    await terminal.enter(PASSWORD);
    await terminal.sees(/^Make a new account "alice"\? \[y\/N\]/);
    await terminal.enter("y");
    await terminal.sees(/^The password once more:/);
    const dialogue = await terminal.rows();
    await terminal.enter(PASSWORD);
    await terminal.sees(/^ Home · alice on 127\.0\.0\.1:\d+/);

    assert(!dialogue.join("\n").includes(PASSWORD));
    await terminal.press("C-d");
    await terminal.sees(/^STATUS 0$/);
  }
  {
    await using terminal = await ClientTerminal.start({ config });
    await terminal.sees(/^ Home · alice on/);
    await terminal.sees(/^ online/);
  }

  const directory = join(config, "chat-client", "default");
  for await (const file of Deno.readDir(directory)) {
    const { mode } = await Deno.stat(join(directory, file.name));
    assertEquals((mode ?? 0) & 0o777, 0o600, file.name);
    assert(!(await Deno.readTextFile(join(directory, file.name))).includes(PASSWORD), file.name);
  }
  await Deno.remove(config, { recursive: true });
});

Deno.test("a login after a connection that failed is shown, not ended", async () => {
  await using server = await TestServer.start();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await using terminal = await ClientTerminal.start({ args: ["--port", String(port)] });
  await terminal.sees(/^cannot reach 127\.0\.0\.1:\d+/);
  await terminal.enter(`127.0.0.1:${server.port}`);
  await terminal.sees(/^Your name:/);
  await terminal.enter("alice");
  await terminal.sees(/^Password for alice:/);
  await terminal.enter(PASSWORD);
  await terminal.sees(/^Make a new account/);
  await terminal.enter("y");
  await terminal.sees(/^The password once more:/);
  await terminal.enter(PASSWORD);

  await terminal.sees(/^ Home · alice on 127\.0\.0\.1:\d+/);
  await terminal.sees(/^ online/);
  await terminal.enter("/help reconnect");
  await terminal.sees(/\/reconnect: /);

  assert(!(await terminal.output("/reconnect: ")).includes("no longer valid"));
});

Deno.test("typing while 50 messages a second arrive leaves the input intact", async () => {
  await using at = await scene({ columns: 60, rows: 15 });
  const text = "this line is typed while others talk, 漢字 and 😀 in it, and it wraps";
  let stop = false;
  let sent = 0;
  const talking = (async () => {
    while (!stop) {
      await at.bob.sendTo(at.aliceId, `message number ${sent++}`);
      await delay(20);
    }
  })();

  await at.terminal.sees(/message number 20/);
  for (const part of text.match(/.{1,3}/gu) ?? []) await at.terminal.type(part);
  await at.terminal.until(
    (rows) => rows.slice(-2).join("").includes("and it wraps"),
    "the whole input",
  );
  const before = sent;
  await at.terminal.until(
    (rows) => rows.some((row) => row.includes(`number ${before + 30}`)),
    "30 more messages",
  );
  const rows = await at.terminal.rows();
  stop = true;
  await talking;
  await at.terminal.press("Enter");

  // Wrapped at the window's edge, without a character lost or doubled.
  const input = rows.slice(rows.findIndex((row) => row.startsWith("bob> "))).join("");
  assertEquals(input.replace("bob> ", "").replaceAll(" ", ""), text.replaceAll(" ", ""));
  assertEquals(await received(at.bobEvents, 1), [text]);
});

Deno.test("CJK and emoji wrap by their width, and again after a resize", async () => {
  await using at = await scene({ columns: 60, rows: 20 });
  const text = "春眠暁を覚えず。処処啼鳥を聞く。夜来風雨の声、花落つること知る多少。😀😀😀 "
    .repeat(2).trim();

  await at.bob.sendTo(at.aliceId, text);
  const squeezed = (parts: readonly string[]) => parts.join("").replaceAll(" ", "");
  const partsOf = (rows: readonly string[]) =>
    rows.filter((row) => row.includes("│")).map((row) => row.split("│ ")[1] ?? "");
  /** The message's lines, once all of it is shown: a resize first cuts what was there. */
  const shown = async () =>
    partsOf(
      await at.terminal.until(
        (rows) => squeezed(partsOf(rows)) === squeezed([text]),
        "the whole message",
      ),
    );
  const wide = await shown();
  await at.terminal.type("input 漢字漢字漢字");
  await at.terminal.resize(57, 12);
  await at.terminal.input("bob> input 漢字漢字漢字");
  const narrow = await shown();

  // No line begins with what may not begin one.
  for (const part of [...wide, ...narrow]) assert(!/^[。、]/.test(part), part);
  assert(narrow.length > wide.length || narrow[0] !== wide[0], narrow.join("\n"));
  await at.terminal.resize(24, 8);
  await at.terminal.input("bob> input 漢字漢字漢字");
  const tiny = await at.terminal.rows();
  assertEquals(tiny.length, 8);
});

Deno.test("several pasted lines are one message, after looking at them", async () => {
  await using at = await scene();
  const text = "first line\nsecond 漢字\n\tthird with \x1b[31mcolour\x07";

  await at.terminal.paste(text);
  await at.terminal.sees(/third with/);
  await at.terminal.type(" and typed");
  await at.terminal.press("Enter");
  const [message] = await received(at.bobEvents, 1);
  const rows = await at.terminal.sees(/✓/);

  assertEquals(message, `${text} and typed`);
  assertMatch(rows.join("\n"), /│ first line\n\s+│ second 漢字\n\s+│ {5}third with ␛\[31mcolour␇/);
});

Deno.test("a paste that fits no message is refused in words, one that just fits is taken", async () => {
  await using at = await scene();
  await at.terminal.type("see: ");
  await at.terminal.input("bob> see:");
  await at.terminal.paste("x".repeat(16_384));
  await at.terminal.sees(/^ not pasted: with it the message has more than 16384 characters/);
  await at.terminal.input("bob> see:");
  await at.terminal.paste("y".repeat(16_384 - "see: ".length));
  await at.terminal.sees(/^y{79}$/);
  await at.terminal.press("Enter");

  const [message] = await received(at.bobEvents, 1);
  assertEquals(message?.length, 16_384);
});

Deno.test("Tab completes commands, people and groups, and goes through what is possible", async () => {
  await using at = await scene();
  await at.bob.createGroup("developers");
  await at.terminal.enter("/join developers");
  await at.terminal.sees(/^ #developers/);

  await at.terminal.type("/op");
  await at.terminal.press("Tab");
  await at.terminal.input("#developers> /open");
  await at.terminal.type("#d");
  await at.terminal.press("Tab");
  await at.terminal.input("#developers> /open #developers");
  await at.terminal.press("C-u");
  await at.terminal.type("bo");
  await at.terminal.press("Tab");
  await at.terminal.input("#developers> bob:");
  await at.terminal.press("C-u");
  await at.terminal.type("/c");
  await at.terminal.press("Tab");
  await at.terminal.sees(/^ \/create {2}\/close {2}\/clear/);
  await at.terminal.press("Tab");
  await at.terminal.press("Tab");
  await at.terminal.input("#developers> /close");
  await at.terminal.press("BTab");

  await at.terminal.input("#developers> /create");
});

Deno.test("the input history is searched backwards, also that of an earlier run", async () => {
  await using at = await scene();
  for (const text of ["alpha one", "beta two", "alpha three"]) {
    await at.terminal.enter(text);
    await at.terminal.sees(new RegExp(`${text} ✓`));
  }
  await at.terminal.press("Up", "Up");
  await at.terminal.input("bob> beta two");
  await at.terminal.press("Down", "Down");
  await at.terminal.input("bob>");

  await at.terminal.press("C-r");
  await at.terminal.type("alp");
  await at.terminal.input("(search) alp: alpha three");
  await at.terminal.press("C-r");
  await at.terminal.input("(search) alp: alpha one");
  await at.terminal.press("C-g");
  await at.terminal.input("bob>");
  await at.terminal.press("C-d");
  await at.terminal.sees(/^STATUS 0$/);
  await using again = await start(at.server, { config: at.terminal.config });
  await again.sees(/^ online/);
  await again.press("C-r");
  await again.type("BETA");

  await again.input("(search) BETA: beta two");
});

Deno.test("the server is killed and comes back while one types: the line stays, queued messages arrive once", async () => {
  await using at = await scene();
  await at.terminal.enter("before");
  await at.terminal.sees(/before ✓/);

  await at.server.kill9();
  await at.terminal.sees(/offline, next try in \d+ s/);
  await at.terminal.enter("while away 1");
  await at.terminal.enter("while away 2");
  await at.terminal.sees(/while away 2 ⋯/);
  await at.terminal.sees(/2 queued/);
  await at.terminal.type("half a sent");
  await at.server.restart();
  await at.terminal.sees(/while away 2 ✓/);
  await at.terminal.input("bob> half a sent");
  await at.terminal.type("ence");
  await at.terminal.press("Enter");

  const texts = await received(at.bobEvents, 4);
  const rows = await at.terminal.sees(/half a sentence ✓/);
  assertEquals(texts, ["before", "while away 1", "while away 2", "half a sentence"]);
  assertEquals(rows.filter((row) => row.includes("while away 1")).length, 1);
});

Deno.test("while the server is away nobody is said to be there, and /logout takes no time", async () => {
  await using at = await scene();
  await at.server.kill9();
  await at.terminal.sees(/offline, next try/);
  await at.terminal.enter("/who");
  await at.terminal.sees(/^· bob \(\d+\)$/);
  const sentMs = performance.now();
  await at.terminal.enter("/logout");
  await at.terminal.sees(/^You are logged out\./);
  const tookMs = performance.now() - sentMs;
  await at.terminal.sees(/^cannot reach/);

  assert(tookMs < 10_000, `${tookMs} ms`);
});

Deno.test("a second client with the same profile is refused in words", async () => {
  await using at = await scene();
  await using second = await start(at.server, { config: at.terminal.config });

  await second.sees(/^chat: another client uses this profile; --profile NAME uses another$/);
  await second.sees(/^STATUS 1$/);
  await at.terminal.enter("still here");

  assertEquals(await received(at.bobEvents, 1), ["still here"]);
});

Deno.test("messages queued while offline survive the end of the client", async () => {
  await using at = await scene();
  await at.server.kill9();
  await at.terminal.sees(/offline, next try/);
  await at.terminal.enter("for later");
  await at.terminal.sees(/for later ⋯/);
  Deno.kill(await at.terminal.pid(), "SIGKILL");
  await at.terminal.sees(/^STATUS 137$/);

  await using again = await start(at.server, { config: at.terminal.config });
  await again.sees(/1 queued/);
  await again.enter("/open bob");
  await again.sees(/for later ⋯/);
  await again.enter("and one more");
  await again.sees(/and one more ⋯/);
  await at.server.restart();
  await again.sees(/and one more ✓/);

  assertEquals(await received(at.bobEvents, 2), ["for later", "and one more"]);
});

Deno.test("Ctrl-C clears, then asks, then leaves; Ctrl-D leaves; the terminal is as before", async () => {
  await using at = await scene();
  await at.terminal.type("something");
  await at.terminal.input("bob> something");
  await at.terminal.press("C-c");
  await at.terminal.input("bob>");
  await at.terminal.press("C-c");
  await at.terminal.sees(/Ctrl-C again to leave/);
  await at.terminal.type("x");
  await at.terminal.input("bob> x");
  assert(await at.terminal.isAlternate());
  await at.terminal.press("C-c", "C-c", "C-c");
  const afterC = await at.terminal.sees(/^icanon echo$/);
  const wasAlternate = await at.terminal.isAlternate();

  await using again = await start(at.server, { config: at.terminal.config });
  await again.sees(/^ online/);
  await again.press("C-d");
  const afterD = await again.sees(/^icanon echo$/);

  assert(afterC.includes("STATUS 0") && afterD.includes("STATUS 0"));
  assertEquals([wasAlternate, await again.isAlternate()], [false, false]);
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"] as const) {
    await using killed = await start(at.server, { config: at.terminal.config });
    await killed.sees(/^ online/);
    Deno.kill(await killed.pid(), signal);
    const rows = await killed.sees(/^icanon echo$/);
    assert(rows.includes(`STATUS ${STATUS[signal]}`), rows.join("\n"));
    assertEquals(await killed.isAlternate(), false);
  }
});

Deno.test("a signal during the questions of a login gives the terminal back, and its status is told", async () => {
  await using server = await TestServer.start();
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"] as const) {
    await using terminal = await ClientTerminal.start({
      args: ["--port", String(server.port), "--name", "alice"],
    });
    await terminal.sees(/^Password for alice:/);
    Deno.kill(await terminal.pid(), signal);
    const rows = await terminal.sees(/icanon echo$/);

    assert(rows.some((row) => row.endsWith(`STATUS ${STATUS[signal]}`)), rows.join("\n"));
  }
});

Deno.test("a message that is refused is told of wherever one looks", async () => {
  await using at = await scene();
  await at.terminal.enter("/msg 99999 to nobody");
  await at.terminal.sees(/^! not sent to user 99999: no such user or group: to nobody/);
  await at.terminal.enter("/open 99999");
  await at.terminal.sees(/│ to nobody ✗ not sent: no such user or group/);
  await at.terminal.enter("once more");
  const rows = await at.terminal.sees(/│ once more ✗ not sent/);

  assertEquals(rows.filter((row) => row.includes("not sent to")), []);
});

Deno.test("escape sequences, overrides and control characters of others do nothing to the screen", async () => {
  await using at = await scene();
  const evil = "a\x1b[2J\x1b]0;title\x07b\u202ereversed\u202c\u009b31m\b\b\x7f" +
    "e" + "\u0301".repeat(500) + "\r\nnext";

  await at.bob.sendTo(at.aliceId, evil);
  const rows = await at.terminal.sees(/│ next/);
  await at.terminal.type("fine");
  await at.terminal.input("bob> fine");

  const text = rows.join("\n");
  assert(text.includes("a␛[2J␛]0;title␇b�reversed��31m␈␈␡"), text);
  assert(text.length < 3_000);
});

Deno.test("unread counts, jumps between conversations, and the line above what is new", async () => {
  await using at = await scene();
  const group = await at.bob.createGroup("developers", "who write code");
  await at.terminal.enter("/join developers");
  await at.terminal.sees(/^ #developers · 2 members, 2 online · who write code/);
  await at.bob.sendTo(at.aliceId, "to you");
  await at.terminal.sees(/1:bob\(1!\)/);
  await at.terminal.press("M-1");
  await at.terminal.sees(/──── new ─/);
  await at.bob.sendToGroup(group.id, "to all");
  await at.bob.sendToGroup(group.id, "Alice, you in particular");
  await at.terminal.sees(/2:#developers\(2!\)/);

  await at.terminal.press("M-a");
  const rows = await at.terminal.sees(/Alice, you in particular/);
  await at.terminal.press("M-Right");
  await at.terminal.sees(/^ Home/);
  await at.terminal.press("M-Left");
  await at.terminal.sees(/^ #developers/);
  await at.terminal.enter("/unread");
  await at.terminal.sees(/Nothing is unread/);
  await at.terminal.enter("/next");
  await at.terminal.sees(/^ Home/);

  assertEquals(rows.filter((row) => /\(\d+!?\)/.test(row)), []);
});

Deno.test("one sees how far a message has come, and that the other types", async () => {
  await using at = await scene();
  at.bob.typing({ kind: "user", id: at.aliceId });
  await at.terminal.sees(/bob is typing/);
  await at.terminal.enter("hello");

  // Bob's program has not taken it: it is durable, but not delivered.
  await at.terminal.sees(/│ hello ✓$/);
  const typing = await (async () => {
    while (true) {
      const { value, done } = await at.bobEvents.next();
      if (done || value.type === "typing") return value;
    }
  })();
  assertEquals(await received(at.bobEvents, 1), ["hello"]);
  const more = at.bobEvents.next(); // coming back for more confirms it
  await at.terminal.sees(/│ hello ✓✓$/);
  await at.bob.close();
  await more;
  await at.terminal.sees(/^ bob · offline/);

  assertEquals(typing?.type === "typing" ? typing.id : undefined, at.aliceId);
});

Deno.test("what is asked for at home is shown also to one who had scrolled up there", async () => {
  await using at = await scene({ rows: 14 });
  await at.terminal.enter("/open");
  await at.terminal.sees(/^ Home/);
  await at.terminal.enter("/help");
  const end = (await at.terminal.sees(/\/help/)).join("\n");
  await at.terminal.press("PPage");
  await at.terminal.until((rows) => rows.join("\n") !== end, "a page further up");

  await at.terminal.enter("/who nobody");
  await at.terminal.sees(/nobody is no friend/);
});

Deno.test("PageUp goes back through all of the history, and what is read does not move", async () => {
  await using at = await scene({ rows: 14 });
  for (let n = 0; n < 130; n++) await at.bob.sendTo(at.aliceId, `line ${n}.`);
  await at.terminal.sees(/line 129\./);
  await at.terminal.press("C-d");
  await at.terminal.sees(/^STATUS 0$/);
  await using again = await start(at.server, { config: at.terminal.config, rows: 14 });
  await again.sees(/^ online/);
  await again.enter("/open bob");
  await again.sees(/line 129\./);

  const seen = new Set<number>();
  const look = (rows: string[]) => {
    for (const row of rows) {
      const match = /line (\d+)\./.exec(row);
      if (match !== null) seen.add(Number(match[1]));
    }
  };
  const body = (rows: string[]) => rows.filter((row) => row.includes("│")).join("\n");
  look(await again.rows());
  for (let pages = 0; pages < 40 && !seen.has(0); pages++) {
    // At the top of what is loaded nothing moves until more has come.
    await again.until((rows) => !rows.some((row) => row.includes("loading")), "what was asked for");
    const before = body(await again.rows());
    await again.press("PPage");
    look(
      await again.until(
        (rows) => body(rows) !== before || rows.some((row) => row.includes("loading")),
        "another page",
      ),
    );
  }
  const top = body(await again.rows());
  await at.bob.sendTo(at.aliceId, "news below");
  await again.sees(/↓PageDown/);
  await again.sees(/1:bob\(1!\)/);
  const still = body(await again.rows());
  for (let pages = 0; pages < 40; pages++) await again.press("NPage");
  await again.sees(/news below/);

  assertEquals([...seen].sort((a, b) => a - b), Array.from({ length: 130 }, (_, n) => n));
  assertEquals(still, top);
});

Deno.test("the bell rings for what is meant for the user while they look elsewhere, unless set off", async () => {
  await using at = await scene();
  await at.bob.sendTo(at.aliceId, "looked at");
  await at.terminal.sees(/looked at/);
  await at.terminal.enter("/open");
  await at.terminal.sees(/^ Home/);
  const before = await at.terminal.output(" Home");
  await at.bob.sendTo(at.aliceId, "looked away from");
  const rung = await at.terminal.output("1:bob(1!)");
  await at.terminal.enter("/set bell off");
  await at.terminal.sees(/bell is off now/);
  await at.bob.sendTo(at.aliceId, "once more");
  const after = await at.terminal.output("1:bob(2!)");

  const bells = (text: string) => text.split("\x07").length - 1;
  assertEquals([bells(before), bells(rung), bells(after)], [0, 1, 1]);
});

Deno.test("without focus a desktop notification is asked for, with harmless text", async () => {
  await using at = await scene();
  await at.terminal.focus(false);
  await at.terminal.type("x"); // a fence: what was before it has been read
  await at.terminal.input("bob> x");
  await at.bob.sendTo(at.aliceId, "look \x1b]0;here\x07 please");
  await at.terminal.sees(/1:bob\(1!\)/);
  await at.terminal.focus(true);
  await at.terminal.until((rows) => !rows.some((row) => row.includes("1:bob(1!)")), "all read");

  await at.terminal.output("\x1b]9;bob: look ␛]0;here␇ please\x07");
});

Deno.test("a password is changed, and an account deleted, without showing a password", async () => {
  await using at = await scene();
  const next = "another-long-password";
  await at.terminal.enter("/passwd");
  await at.terminal.input("The old password:");
  await at.terminal.enter("wrong");
  await at.terminal.input("The new password:");
  await at.terminal.enter(next);
  await at.terminal.input("The new password once more:");
  await at.terminal.enter(next);
  await at.terminal.sees(/^! id or password is invalid/);
  await at.terminal.enter("/passwd");
  await at.terminal.input("The old password:");
  await at.terminal.enter(PASSWORD);
  await at.terminal.input("The new password:");
  await at.terminal.press("Enter");
  await at.terminal.sees(/^! The new password is empty\.$/);
  await at.terminal.enter("/passwd");
  const prompts = [
    ["The old password:", PASSWORD],
    ["The new password:", next],
    ["The new password once more:", next],
  ] as const;
  for (const [prompt, text] of prompts) {
    await at.terminal.input(prompt);
    await at.terminal.enter(text);
  }
  await at.terminal.sees(/The password is changed/);
  await at.terminal.enter("/deleteaccount");
  await at.terminal.input("Delete the account alice for ever? Its password:");
  await at.terminal.press("Escape");
  await at.terminal.input("bob>");
  await at.terminal.enter("/deleteaccount");
  await at.terminal.input("Delete the account alice for ever? Its password:");
  await at.terminal.enter(next);
  await at.terminal.sees(/^The account is deleted\.$/);
  await at.terminal.sees(/^STATUS 0$/);

  const output = await at.terminal.output("STATUS 0");
  const history = await Deno.readTextFile(
    join(at.terminal.config, "chat-client", "default", "history"),
  );
  for (const text of [output, history]) {
    assert(!text.includes(PASSWORD) && !text.includes(next));
  }
});

Deno.test("NO_COLOR leaves out colours and nothing else", async () => {
  await using plain = await scene({ env: { NO_COLOR: "1" } });
  await plain.bob.sendTo(plain.aliceId, "hello");
  await plain.terminal.sees(/hello/);
  const without = await plain.terminal.styled();
  await plain.terminal.press("C-d");
  await plain.terminal.sees(/^STATUS 0$/);
  await using again = await start(plain.server, { config: plain.terminal.config });
  await again.sees(/Friends/);
  await again.enter("/open bob");
  await again.sees(/hello/);
  const withColor = await again.styled();

  // deno-lint-ignore no-control-regex -- escape sequences are what is looked for
  const colours = /\x1b\[[\d;]*(?:3[0-7]|9[0-7])m/;
  assert(!colours.test(without) && colours.test(withColor));
  // deno-lint-ignore no-control-regex -- as above
  assertMatch(without, /\x1b\[[\d;]*7m/);
});

Deno.test("--plain says everything in lines, without moving the cursor", async () => {
  await using at = await scene();
  await at.terminal.press("C-d");
  await at.terminal.sees(/^STATUS 0$/);
  await using plain = await start(at.server, { args: ["--plain"] });
  await plain.sees(/Type \/help for commands/);
  await plain.enter("/open bob");
  await plain.sees(/^talking to bob, online$/);
  await plain.enter("hello from plain");
  assertEquals(await received(at.bobEvents, 1), ["hello from plain"]);
  await at.bob.sendTo(at.aliceId, "hello \x1b[2J to plain");
  await plain.sees(/^\d\d:\d\d bob: hello ␛\[2J to plain$/);
  await plain.press("C-c");
  await plain.sees(/Ctrl-C again to leave/);
  const output = await plain.output("Ctrl-C again");
  await plain.press("C-c");

  await plain.sees(/^STATUS 0$/);
  assert(!(await plain.output("STATUS 0")).includes("offline: "));
  // deno-lint-ignore no-control-regex -- escape sequences are what is looked for
  assert(!/\x1b/.test(output), JSON.stringify(output));
});

Deno.test("a session that is revoked while one types costs no line, and asks no password of what is being typed", async () => {
  using listener = new PeerListener();
  const starting = ClientTerminal.start({
    args: ["--port", String(listener.port), "--name", "alice"],
    env: { CHAT_PASSWORD: PASSWORD },
  });
  await using peer = await listener.accept();
  await peer.logIn();
  await using terminal = await starting;
  await terminal.sees(/^ online/);
  await terminal.type("half a sent");
  await terminal.input("> half a sent");

  await peer.send({ msgid: MSGID.BYE, errno: 1, errmsg: "the password was changed" });
  await peer[Symbol.asyncDispose]();
  await terminal.sees(/^The saved login is no longer valid\. Press Enter to log in:$/);
  await terminal.enter("ence");
  const asked = (rows: string[]) => rows.filter((row) => row.includes("Press Enter")).length;
  await terminal.until((rows) => asked(rows) === 2, "the question once more");
  await terminal.press("Enter");
  await using again = await listener.accept();
  await terminal.sees(/^Password for alice:/);
  await terminal.enter("another-long-password");
  const login = await again.logIn();
  await terminal.sees(/^ online/);
  await terminal.input("> half a sent");

  assertEquals([login.msgid, login.password], [MSGID.LOGIN, "another-long-password"]);
});

Deno.test("whoever has logged out is asked for the password, also with CHAT_PASSWORD; five wrong ones are enough", async () => {
  await using at = await scene();
  await at.terminal.enter("/logout");
  await at.terminal.sees(/^You are logged out\./);
  for (let n = 1; n <= 5; n++) {
    const asks = (rows: string[]) => rows.filter((row) => row.startsWith("Password for")).length;
    await at.terminal.until((rows) => asks(rows) === n, `question ${n}`);
    await at.terminal.enter("wrong");
    const offers = (rows: string[]) => rows.filter((row) => row.startsWith("Make a new")).length;
    await at.terminal.until((rows) => offers(rows) === n, `offer ${n}`);
    await at.terminal.enter("n");
  }

  await at.terminal.sees(/^Too many failed attempts\.$/);
  await at.terminal.sees(/^STATUS 1$/);
});

Deno.test("a reader of the output that has gone ends the client without a word, and the terminal is as before", async () => {
  await using at = await scene();
  await at.terminal.press("C-d");
  await at.terminal.sees(/^STATUS 0$/);
  await using piped = await start(at.server, { pipe: "head -2" });
  await piped.sees(/^Type \/help for commands/);
  await piped.enter("/help");
  const rows = await piped.sees(/icanon echo$/);

  assert(!rows.join("\n").includes("BrokenPipe"), rows.join("\n"));
});

Deno.test("a script on a terminal that has asked for a password runs every line, also those typed with it", async () => {
  await using server = await TestServer.start();
  const alice = await connect({ port: server.port });
  await alice.register("alice", PASSWORD);
  await alice.close();
  await using terminal = await ClientTerminal.start({
    columns: 300,
    args: ["--port", String(server.port), "--json", "--name", "alice"],
  });
  await terminal.sees(/^Password for alice:/);
  await terminal.paste(`${PASSWORD}\n/create one\n/create two\n`);
  await terminal.sees(/"event":"ok","line":2,/);
  for (const [at, name] of ["three", "four", "five", "six"].entries()) {
    await terminal.enter(`/create ${name}`);
    await terminal.sees(new RegExp(`"event":"ok","line":${at + 3},.*"groupname":"${name}"`));
  }
  await terminal.press("C-d");
  await terminal.sees(/^STATUS 0$/);

  assert(!(await terminal.output("STATUS 0")).includes(PASSWORD));
});
