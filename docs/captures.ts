/**
 * Takes the screens shown in docs/client.md from the real program in a real terminal, and puts them
 * there: `deno task captures`.
 *
 * A screen stands in the document between `<!-- screen NAME -->` and the end of the code block that
 * follows. Times, days and ports differ from run to run; everything else is the same.
 */

import { type Client, connect } from "../client/mod.ts";
import { ClientTerminal, type TerminalOptions } from "../tests/support/client_terminal.ts";
import { TestServer } from "../tests/support/server_harness.ts";

const PASSWORD = "not on any screen";
/** Alice is the third to register. */
const ALICE_ID = 3;
const DOCUMENT = new URL("./client.md", import.meta.url);

/** A screen, by its name in the document. */
export type Screens = Readonly<Record<string, string>>;

/** Takes every screen. Takes some seconds. */
export async function takeScreens(): Promise<Screens> {
  await using server = await TestServer.start();
  const bob = await connect({ port: server.port });
  const carol = await connect({ port: server.port });
  try {
    await bob.register("bob", PASSWORD);
    await bob.register("carol", PASSWORD);
    await bob.login({ name: "bob", password: PASSWORD });
    await carol.login({ name: "carol", password: PASSWORD });
    return await screens(server, bob, carol);
  } finally {
    await bob.close();
    await carol.close();
  }
}

async function screens(server: TestServer, bob: Client, carol: Client): Promise<Screens> {
  const taken: Record<string, string> = {};
  const garden = await bob.createGroup("garden", "what grows where");
  await carol.joinGroup(garden.id);

  const size = { columns: 78, rows: 18 };
  await using alice = await ClientTerminal.start(size);
  await answer(alice, /^Server/, `127.0.0.1:${server.port}`);
  await answer(alice, /^Your name/, "alice");
  await answer(alice, /^Password for/, PASSWORD);
  await answer(alice, /^Make a new account/, "y");
  await alice.sees(/^The password once more/);
  taken["first run"] = shown(await alice.rows());
  await alice.enter(PASSWORD);
  await alice.sees(/^ online/);

  for (const line of ["/add bob", "/add carol", "/join garden"]) await alice.enter(line);
  await alice.sees(/^ #garden · 3 members, 3 online/);
  await bob.sendToGroup(garden.id, "The tomatoes are in. Who waters them on Thursday?");
  await alice.sees(/tomatoes/);
  await carol.sendToGroup(garden.id, "I can, after six. 木曜日は大丈夫です 🍅");
  await alice.sees(/大丈夫/);
  await alice.enter("Thank you! I take Friday, and the weekend if nobody else wants it.");
  await alice.sees(/weekend if nobody/);
  await alice.sees(/it\. ✓$/);
  await carol.sendTo(ALICE_ID, "Can I borrow your ladder?");
  await alice.sees(/carol\(1!\)/);
  bob.typing({ kind: "group", id: garden.id });
  await alice.type("And who has seen the");
  await alice.sees(/bob is typing/);
  await alice.input("#garden> And who has seen the");
  taken["a group"] = shown(await alice.rows());
  await alice.press("C-u");
  await alice.enter("/unread");
  await alice.until(
    (rows) => rows[0]?.startsWith(" carol") === true && rows.some((row) => /begins$/.test(row)),
    "the conversation with carol",
  );
  taken["unread"] = shown(await alice.rows());
  await alice.enter("/open");
  await alice.sees(/^ Home/);
  await alice.enter("/clear");
  await alice.until((rows) => !rows.some((row) => row.includes("is a friend")), "no notices");
  taken["home"] = shown(await alice.rows());
  await alice.resize(80, 24);
  await alice.enter("/help");
  await alice.sees(/Ctrl-D leaves$/);
  taken["help"] = shown(await alice.rows());

  await alice.resize(size.columns, size.rows);
  await using narrow = await second(server, { columns: 36, rows: 14 }, "dave", bob);
  taken["narrow"] = shown(await narrow.rows());

  await alice.enter("/open carol");
  await server.kill9();
  await alice.sees(/offline, next try/);
  await alice.enter("Of course, it stands behind the shed.");
  await alice.until((rows) => rows.some((row) => /⋯$/.test(row)), "a queued message");
  taken["offline"] = shown(await alice.rows());
  await server.restart();
  await alice.sees(/shed\. ✓/);
  return taken;
}

/** Dave in a window of his own, who reads what Bob writes to him. */
async function second(
  server: TestServer,
  size: TerminalOptions,
  name: string,
  bob: Client,
): Promise<ClientTerminal> {
  const id = await bob.register(name, PASSWORD);
  const terminal = await ClientTerminal.start({
    ...size,
    args: ["--port", String(server.port), "--name", name],
    env: { CHAT_PASSWORD: PASSWORD },
  });
  await terminal.sees(/^ online/);
  await bob.sendTo(id, "春眠暁を覚えず。処処啼鳥を聞く。夜来風雨の声、花落つること知る多少。");
  await bob.sendTo(id, "Even a window this narrow keeps words whole.");
  await terminal.sees(/1:bob/);
  await terminal.press("M-1");
  await terminal.sees(/this is where it begins/);
  return terminal;
}

async function answer(terminal: ClientTerminal, question: RegExp, text: string): Promise<void> {
  await terminal.sees(question);
  await terminal.enter(text);
}

function shown(rows: readonly string[]): string {
  return rows.map((row) => row.replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1:6000")).join("\n")
    .trimEnd();
}

/** The document with these screens in it. Fails when it lacks the place for one. */
export function withScreens(document: string, screens: Screens): string {
  return Object.entries(screens).reduce((text, [name, screen]) => {
    const place = new RegExp(`(<!-- screen ${name} -->\\n\\n\`\`\`text\\n)(?:[^]*?\\n)??(\`\`\`)`);
    if (!place.test(text)) throw new Error(`docs/client.md has no place for the screen ${name}`);
    return text.replace(
      place,
      (_, before: string, after: string) => `${before}${screen}\n${after}`,
    );
  }, document);
}

/** A text without what differs from run to run. */
export function steady(text: string): string {
  return text.replaceAll(/\b\d\d:\d\d\b/g, "hh:mm")
    .replaceAll(/\b\w+day \d{4}-\d\d-\d\d\b ─*/g, "day")
    .replaceAll(/next try in \d+ s.*/g, "next try in n s");
}

if (import.meta.main) {
  const before = await Deno.readTextFile(DOCUMENT);
  await Deno.writeTextFile(DOCUMENT, withScreens(before, await takeScreens()));
}
