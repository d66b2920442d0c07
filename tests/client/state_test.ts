import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { helpLines, parseLine, parseObject } from "../../client/chat/commands/commands.ts";
import { complete } from "../../client/terminal/input/complete.ts";
import type { Conversation } from "../../client/chat/conversation.ts";
import { resolve } from "../../client/chat/directory.ts";
import { insert, newEditor } from "../../client/terminal/input/editor.ts";
import { columnOf, layout, type View } from "../../client/terminal/screen/layout.ts";
import type { ClientEvent, Message, Session, Target } from "../../client/mod.ts";
import { titleRow } from "../../client/terminal/screen/status_bar.ts";
import { type Action, reduce } from "../../client/chat/reducer.ts";
import { moved, windowAt } from "../../client/terminal/screen/scroll.ts";
import { firstUnread, INITIAL, type State } from "../../client/chat/state.ts";
import { plainText } from "../../client/terminal/screen/style.ts";
import { width } from "../../client/terminal/text.ts";

const ME = 1;
const BOB: Target = { kind: "user", id: 2 };
const DEVS: Target = { kind: "group", id: 7 };

const session: Session = {
  id: ME,
  name: "alice",
  friends: [{ id: 2, name: "bob", state: "online" }],
  groups: [{
    id: 7,
    groupname: "devs",
    groupdesc: "code",
    users: [
      { id: ME, name: "alice", state: "online", role: "creator" },
      { id: 2, name: "bob", state: "online", role: "normal" },
      { id: 3, name: "carol smith", state: "offline", role: "normal" },
    ],
  }],
  token: "t",
  node: "n",
};

const event = (e: ClientEvent, now = 0): Action => ({ type: "event", event: e, now });
const mid = (n: number) => String(n).padStart(26, "0");

function message(n: number, from = 2, more: Partial<Message> = {}): Message {
  const name = from === ME ? "alice" : from === 2 ? "bob" : "carol smith";
  const place = from === ME ? { toid: 2 } : { toid: ME };
  return {
    mid: mid(n),
    cid: `c${n}`,
    id: from,
    name,
    ts: n * 1_000,
    msg: `m${n}`,
    ...place,
    ...more,
  };
}

const arrives = (m: Message) => event({ type: "message", message: m });

function run(...actions: readonly Action[]): State {
  return actions.reduce(
    reduce,
    reduce(INITIAL, event({ type: "session", session, resumed: false })),
  );
}

function lines(state: State, key = "u2"): string[] {
  return state.conversations.get(key)?.lines.map((line) => line.text) ?? [];
}

function marks(state: State, key = "u2"): (string | undefined)[] {
  const all = state.conversations.get(key)?.lines ?? [];
  return all.map((line) => line.kind === "message" ? line.mark : undefined);
}

const queued = (cid: string, target: Target = BOB): Action => ({
  type: "queued",
  cid,
  target,
  msg: cid,
  now: 1,
});

const sent = (cid: string, n: number, target: Target = BOB): Action =>
  event({ type: "sent", cid, mid: mid(n), ts: n * 1_000, target, msg: cid });

Deno.test("an own message is queued, then sent in its place, then delivered", () => {
  const written = run(arrives(message(1)), queued("a"), queued("b"));
  const acked = [arrives(message(5)), sent("a", 3)].reduce(reduce, written);
  const delivered = [
    sent("b", 6),
    event({ type: "delivered", id: 2, mids: [mid(3), mid(6)] }),
  ].reduce(reduce, acked);

  assertEquals([lines(written), marks(written)], [["m1", "a", "b"], [
    undefined,
    "queued",
    "queued",
  ]]);
  assertEquals([lines(acked), marks(acked)], [
    ["m1", "a", "m5", "b"],
    [undefined, "sent", undefined, "queued"],
  ]);
  assertEquals(marks(delivered), [undefined, "delivered", undefined, "delivered"]);
});

Deno.test("in a group a message is delivered when all others have it", () => {
  const one = run(
    queued("a", DEVS),
    sent("a", 1, DEVS),
    event({ type: "delivered", id: 2, mids: [mid(1)] }),
  );
  const both = reduce(one, event({ type: "delivered", id: 3, mids: [mid(1)] }));

  assertEquals([marks(one, "g7"), marks(both, "g7")], [["sent"], ["delivered"]]);
});

Deno.test("a message whose delivery is told of before its acknowledgement is delivered all the same", () => {
  const delivered = (id: number, n: number) => event({ type: "delivered", id, mids: [mid(n)] });
  const one = run(queued("a"), queued("b"), delivered(2, 1), sent("a", 1), sent("b", 2));
  const group = run(queued("a", DEVS), delivered(2, 1), sent("a", 1, DEVS));
  const all = reduce(group, delivered(3, 1));
  const others = run(...Array.from({ length: 3_000 }, (_, n) => delivered(2, n)), queued("a"));
  const flooded = Array.from({ length: 3_000 }, (_, n) => delivered(2, n)).reduce(reduce, others);

  assertEquals(marks(one), ["delivered", "sent"]);
  assertEquals([marks(group, "g7"), marks(all, "g7")], [["sent"], ["delivered"]]);
  assertEquals(others.conversations.get("u2")?.early.size, 0);
  assertEquals(flooded.conversations.get("u2")?.early.size, 1_024);
  assertEquals(reduce(flooded, sent("a", 2_999)).conversations.get("u2")?.early.size, 0);
});

Deno.test("a refused message says why", () => {
  const state = run(
    queued("a"),
    event({ type: "failed", cid: "a", errno: 5, errmsg: "no such user", target: BOB, msg: "a" }),
  );

  const [line] = state.conversations.get("u2")?.lines ?? [];
  assertEquals(line?.kind === "message" ? [line.mark, line.why] : [], ["failed", "no such user"]);
});

Deno.test("unread counts what nobody looked at; looking ends it, the mark stays until one leaves", () => {
  const away = run(
    arrives(message(1)),
    arrives(message(2, 3, { groupid: 7, toid: undefined, msg: "for all" })),
    arrives(message(3, 3, { groupid: 7, toid: undefined, msg: "Alice: you" })),
  );
  const there = reduce(away, { type: "open", target: DEVS });
  const left = reduce(there, { type: "open", target: undefined });
  const counts = (s: State, key: string) => {
    const c = s.conversations.get(key);
    return [c?.unread, c?.mentions, c?.marker !== undefined];
  };

  assertEquals([counts(away, "u2"), counts(away, "g7")], [[1, 1, true], [2, 1, true]]);
  assertEquals([counts(there, "g7"), counts(left, "g7")], [[0, 0, true], [0, 0, false]]);
  assertEquals([firstUnread(away), firstUnread(there)], ["u2", "u2"]);
});

/** What is above and below the mark of what is new; undefined when there is no mark. */
function aroundMark(state: State, key = "u2"): [string, string] | undefined {
  const c = state.conversations.get(key);
  if (c === undefined) return undefined;
  const rows = windowAt(columnOf(state, c, 60), undefined, 1_000).rows.map(plainText);
  const at = rows.findIndex((row) => row.includes("── new ──"));
  const texts = (part: string[]) =>
    part.filter((row) => row.includes("│")).map((row) => row.split("│ ")[1] ?? "");
  return at < 0
    ? undefined
    : [texts(rows.slice(0, at)).at(-1) ?? "", texts(rows.slice(at))[0] ?? ""];
}

const page = (from: number, to: number, more: Partial<Extract<Action, { type: "page" }>> = {}) => ({
  type: "page" as const,
  target: BOB,
  older: false,
  messages: Array.from({ length: to - from + 1 }, (_, i) => message(from + i)),
  more: false,
  ...more,
});

const remembered = (unread: Record<string, number>): Action => ({
  type: "remembered",
  me: { id: ME, name: "alice" },
  friends: [{ id: 2, name: "bob" }],
  groups: [],
  open: Object.keys(unread),
  unread,
});

const open: Action = { type: "open", target: BOB };

Deno.test("the mark stands above what came first while nobody looked, also when older pages are loaded", () => {
  const fresh = run(arrives(message(4)), arrives(message(5)), open);
  const loaded = reduce(fresh, page(1, 5));
  const early = reduce(run(arrives(message(5)), arrives(message(4)), open), page(1, 5));
  const known = run(
    open,
    page(1, 3),
    { type: "open", target: undefined },
    arrives(message(4)),
    open,
  );

  assertEquals(aroundMark(fresh), ["", "m4"]);
  assertEquals([aroundMark(loaded), aroundMark(early)], [["m3", "m4"], ["m3", "m4"]]);
  assertEquals(aroundMark(known), ["m3", "m4"]);
});

Deno.test("the mark stands above what an earlier run counted as unread, once that is loaded", () => {
  const restarted = run(remembered({ u2: 2 }), open);
  const withNews = run(remembered({ u2: 2 }), arrives(message(9)), open, arrives(message(10)));
  const own = page(1, 5);
  const answered = { ...own, messages: [...own.messages, message(6, ME)] };
  const long = [remembered({ u2: 4 }), open, page(7, 9, { more: true })].reduce(reduce, run());

  assertEquals(aroundMark(restarted), undefined);
  assertEquals(aroundMark(reduce(restarted, page(1, 8))), ["m6", "m7"]);
  assertEquals(aroundMark(reduce(restarted, answered)), ["m3", "m4"]);
  assertEquals(aroundMark(reduce(withNews, page(1, 10))), ["m6", "m7"]);
  assertEquals(aroundMark(long), undefined);
  assertEquals(aroundMark(reduce(long, page(1, 6, { older: true }))), ["m5", "m6"]);
  assertEquals(aroundMark(reduce(restarted, page(8, 8))), ["", "m8"]);
});

Deno.test("without focus, or scrolled up, what comes is unread; coming back reads it", () => {
  const unread = (s: State) => s.conversations.get("u2")?.unread;

  const blurred = run(open, { type: "focus", focused: false }, arrives(message(1)));
  const scrolled = run(open, { type: "scrolled", atBottom: false }, arrives(message(1)));

  assertEquals([unread(blurred), unread(scrolled)], [1, 1]);
  assertEquals(unread(reduce(blurred, { type: "focus", focused: true })), 0);
  assertEquals(unread(reduce(scrolled, { type: "scrolled", atBottom: true })), 0);
  assertEquals(unread(run(open, arrives(message(1)))), 0);
});

Deno.test("whatever comes twice is there once, and all of it in order", () => {
  const action = fc.oneof(
    fc.integer({ min: 1, max: 40 }).map((n) => arrives(message(n))),
    fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 12 })).map((
      [from, count],
    ): Action => ({
      type: "page",
      target: BOB,
      older: false,
      // The latest page always ends with the newest message.
      messages: Array.from(
        { length: 41 - Math.max(from, 41 - count) },
        (_, i) => message(Math.max(from, 41 - count) + i),
      ),
      more: true,
    })),
    fc.constant<Action>({ type: "notice", text: "note", tone: "info", now: 5 }),
    fc.constant<Action>({ type: "open", target: BOB }),
  );
  fc.assert(fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
    const state = run({ type: "open", target: BOB }, ...actions);

    const all = state.conversations.get("u2")?.lines ?? [];
    const mids = all.flatMap((line) => line.kind === "message" ? line.mid ?? [] : []);
    assertEquals(mids, [...new Set(mids)].sort());
    assertEquals(new Set(all.map((line) => line.seq)).size, all.length);
  }));
});

Deno.test("a page that does not reach what is known replaces it, and more can be loaded", () => {
  const state = run(
    arrives(message(1)),
    arrives(message(2)),
    { type: "page", target: BOB, older: false, messages: [message(8), message(9)], more: true },
  );

  assertEquals(lines(state), ["m8", "m9"]);
  assertEquals(state.conversations.get("u2")?.more, true);
});

Deno.test("lists are bounded, however much arrives", () => {
  let state = run();
  for (let n = 0; n < 5_000; n++) state = reduce(state, arrives(message(n)));

  const c = state.conversations.get("u2");
  assert((c?.lines.length ?? 0) <= 800);
  assertEquals([c?.unread, c?.more], [5_000, true]);
});

Deno.test("a person is found by name, a group with #, a number is an id whatever people call themselves", () => {
  const { directory } = run(arrives(message(1, 9, { name: "2" })));

  assertEquals(resolve(directory, "bob"), BOB);
  assertEquals(resolve(directory, "BOB"), BOB);
  assertEquals(resolve(directory, "#devs"), DEVS);
  assertEquals(resolve(directory, "devs"), DEVS);
  assertEquals(resolve(directory, "#7"), DEVS);
  assertEquals(resolve(directory, "2"), BOB);
  assertEquals(resolve(directory, "@2"), { kind: "user", id: 9 });
  assertEquals(resolve(directory, "nobody"), undefined);
});

Deno.test("lines are read as slash commands, classic commands, or text", () => {
  const read = (line: string, talking = false) => {
    const parsed = parseLine(line, { mode: "interactive", talking });
    if (parsed === undefined) return undefined;
    return parsed.ok ? [parsed.invocation.command, parsed.invocation.args] : parsed.error;
  };

  assertEquals(read("/msg bob hi  there"), ["msg", { who: "bob", text: "hi  there" }]);
  assertEquals(read('/msg "carol smith" hi'), ["msg", { who: "carol smith", text: "hi" }]);
  assertEquals(read('/open #"two words"'), ["open", { who: "#two words" }]);
  assertEquals(read("chat:2:a:b"), ["chat", { id: "2", text: "a:b" }]);
  assertEquals(read("creategroup:devs:the desc"), ["create", { name: "devs", desc: "the desc" }]);
  assertEquals(read("addgroup:3"), ["join", { group: "3" }]);
  assertEquals(read("loginout", true), ["logout", {}]);
  assertEquals(read("help"), ["help", { command: undefined }]);
  assertEquals(read("help", true), ["say", { text: "help" }]);
  assertEquals(read("//etc"), ["say", { text: "/etc" }]);
  assertEquals(read("hello: you"), ["say", { text: "hello: you" }]);
  assertEquals(read("   "), undefined);
  assertEquals(read("/msg bob"), "usage: /msg WHO TEXT");
  assertEquals(read("/bogus"), "/bogus is no command; /help lists them");
  assertEquals(read("/wait 3"), "/wait works in scripts only");
  assertEquals(read("/history bob many"), "COUNT must be a number: /history [WHO] [COUNT]");
});

Deno.test("/help fits on a screen of 24 rows", () => {
  const lines = helpLines("interactive");

  assert(lines.length <= 21, `${lines.length} lines`);
  for (const line of lines) assert(line.length <= 78, line);
  assertEquals(helpLines("script", "/msg"), [
    "/msg WHO TEXT: send a message; WHO is a name, #group or id",
    "also: /m /send",
  ]);
});

Deno.test("a JSON command has its arguments by name and nothing else", () => {
  const parsed = parseObject({ cmd: "msg", who: 2, text: "a\nb", ref: 1 });

  assertEquals(parsed, {
    ok: true,
    invocation: { command: "msg", args: { who: "2", text: "a\nb" } },
  });
  for (const wrong of [{}, { cmd: 1 }, { cmd: "x" }, { cmd: "msg", who: ["2"], text: "a" }]) {
    assertEquals(parseObject(wrong).ok, false);
  }
});

Deno.test("names with spaces are completed in quotes", () => {
  const state = run();
  const tab = (text: string) =>
    complete(state, insert(newEditor([]), text), undefined, 1).editor.text;

  assertEquals(tab("/open car"), '/open "carol smith" ');
  assertEquals(tab("/msg bo"), "/msg bob ");
  assertEquals(tab("/join #d"), "/join #devs ");
  assertEquals(tab("/set be"), "/set bell ");
  assertEquals(tab("/unr"), "/unread ");
  assertEquals(tab("nothing like this"), "nothing like this");
});

Deno.test("a completed name means the one whose it is, whatever it looks like", () => {
  const names = ["@bob", "#devs", "42", 'a"q"b', "@two words"];
  const people = names.map((name, n) => arrives(message(n + 1, n + 10, { name })));
  const group = { id: 9, groupname: "7", groupdesc: "", users: [] };
  const state = run(
    ...people,
    event({ type: "session_changed", session: { ...session, groups: [...session.groups, group] } }),
  );
  const meant = (typed: string) => {
    const { text } = complete(state, insert(newEditor([]), typed), undefined, 1).editor;
    const parsed = parseLine(text, { mode: "interactive", talking: false });
    if (!parsed?.ok || parsed.invocation.command !== "open") return text;
    return resolve(state.directory, parsed.invocation.args.who ?? "");
  };
  const user = (n: number): Target => ({ kind: "user", id: n + 10 });

  assertEquals(
    ["/open @b", "/open @#d", "/open 4", "/open a", '/open @"@t'].map(meant),
    names.map((_, n) => user(n)),
  );
  assertEquals(meant("/open #9"), { kind: "group", id: 9 });
});

// ── the window ──────────────────────────────────────────────────────────────────────────────

const view: View = {
  editor: newEditor([]),
  anchor: undefined,
  homeUp: 0,
  hint: undefined,
  question: undefined,
  server: "h:1",
};

Deno.test("a frame fits its window, whatever its size and whatever is in it", () => {
  const texts = fc.constantFrom(
    "short",
    "漢字".repeat(40),
    "a very long line of words that wraps ".repeat(6),
    "👨‍👩‍👧".repeat(20),
    "two\nlines",
    "nospaces".repeat(30),
  );
  fc.assert(
    fc.property(
      fc.array(texts, { maxLength: 12 }),
      fc.integer({ min: 1, max: 120 }),
      fc.integer({ min: 1, max: 40 }),
      fc.option(texts, { nil: "" }),
      fc.boolean(),
      (all, columns, rows, input, home) => {
        const state = run(
          { type: "open", target: home ? undefined : BOB },
          ...all.map((msg, n) => arrives(message(n + 1, 2, { msg }))),
        );
        const editor = insert(newEditor([]), input);

        const frame = layout(state, { ...view, editor }, { columns, rows }, 0);

        assertEquals(frame.rows.length, rows);
        assert(frame.cursor.row >= 0 && frame.cursor.row < rows);
        assert(frame.cursor.column >= 0 && frame.cursor.column < Math.max(4, columns));
        if (columns < 20) return; // the screen cuts what does not fit a window as small as this
        for (const row of frame.rows) assert(width(plainText(row)) <= columns, plainText(row));
      },
    ),
    { numRuns: 300 },
  );
});

function conversation(count: number): { state: State; c: Conversation } {
  const state = run(
    { type: "open", target: BOB },
    ...Array.from(
      { length: count },
      (_, n) => arrives(message(n, 2, { msg: "x ".repeat(n % 150) })),
    ),
  );
  const c = state.conversations.get("u2");
  if (c === undefined) throw new Error("no conversation");
  return { state, c };
}

Deno.test("scrolling up and down again shows every row once, from the first to the last", () => {
  const { state, c } = conversation(200);
  const column = columnOf(state, c, 60);
  const whole = windowAt(column, undefined, 100_000).rows.map(plainText);
  const height = 17;

  let anchor = moved(column, undefined, 0, height);
  const up: string[] = [...windowAt(column, anchor, height).rows.map(plainText)];
  for (let steps = 0; steps < 1_000 && !windowAt(column, anchor, height).atTop; steps++) {
    anchor = moved(column, anchor, 1, height);
    up.unshift(plainText(windowAt(column, anchor, height).rows[0] ?? []));
  }
  const top = windowAt(column, moved(column, anchor, 1_000, height), height).rows.map(plainText);
  const bottom = moved(column, anchor, -100_000, height);

  assertEquals(up, whole);
  assertEquals(top, whole.slice(0, height));
  assertEquals(bottom, undefined);
});

Deno.test("a title tells how somebody stands whom the server tells of, and nothing of a stranger", () => {
  const online = event({ type: "connection", state: "online", reason: "" });
  const stranger = arrives(message(1, 9, { name: "zoe" }));
  const title = (id: number) => {
    const opened = run(online, stranger, { type: "open", target: { kind: "user", id } });
    return titleRow(opened, "server", 60).map((span) => span.text).join("").trimEnd();
  };

  assertEquals([title(2), title(3), title(9)], [
    " bob · online",
    " carol smith · offline",
    " zoe",
  ]);
});
