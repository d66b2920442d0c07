import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  cleared,
  type Editor,
  insert,
  newEditor,
  press,
  submitted,
} from "../../client/terminal/input/editor.ts";
import { type Input, type Key, KeyDecoder } from "../../client/terminal/input/keys.ts";
import { graphemes } from "../../client/chat/safe_text.ts";

/** A key by the name that the editor's table has: `C-a`, `M-f`, `left`; or a character. */
function key(name: string): Key {
  const match = /^(C-)?(M-)?([^]+)$/.exec(name);
  const bare = match?.[3] ?? "";
  const isText = match?.[1] === undefined && match?.[2] === undefined &&
    graphemes(bare).length === 1;
  return {
    kind: "key",
    name: bare,
    ctrl: match?.[1] !== undefined,
    meta: match?.[2] !== undefined,
    shift: false,
    text: isText ? bare : "",
  };
}

/** The editor after keys; the text with `|` at the cursor. */
function after(keys: readonly string[], from = newEditor([])): { editor: Editor; shown: string } {
  let editor = from;
  for (const name of keys) editor = press(editor, key(name))?.editor ?? editor;
  return {
    editor,
    shown: `${editor.text.slice(0, editor.cursor)}|${editor.text.slice(editor.cursor)}`,
  };
}

const typed = (text: string) => graphemes(text);

Deno.test("the cursor moves by what readers take for characters", () => {
  const from = insert(newEditor([]), "a👨‍👩‍👧é漢");

  const places: string[] = [];
  let editor = from;
  for (let step = 0; step < 4; step++) {
    ({ editor } = after(["left"], editor));
    places.push(editor.text.slice(editor.cursor));
  }

  assertEquals(places, ["漢", "é漢", "👨‍👩‍👧é漢", "a👨‍👩‍👧é漢"]);
  assertEquals(after(["backspace", "backspace", "backspace"], from).shown, "a|");
});

Deno.test("the keys of readline move, cut and bring back", () => {
  const text = "one two.three";

  for (
    const [keys, shown] of [
      [["C-a"], "|one two.three"],
      [["C-a", "M-f"], "one| two.three"],
      [["M-b", "M-b"], "one |two.three"],
      [["C-w"], "one |"],
      [["M-backspace"], "one two.|"],
      [["C-u"], "|"],
      [["C-u", "C-y", "C-y"], "one two.threeone two.three|"],
      [["C-a", "C-f", "C-k"], "o|"],
      [["C-a", "M-d"], "| two.three"],
      [["left", "left", "C-t"], "one two.ther|e"],
      [["C-w", "C-_"], "one two.three|"],
      [["C-a", "C-d"], "|ne two.three"],
      [["C-b", "X"], "one two.threX|e"],
    ] as const
  ) assertEquals(after(keys, insert(newEditor([]), text)).shown, shown, keys.join(" "));
});

Deno.test("up and down go through several lines, then through the history, and back to the draft", () => {
  const editor = insert(newEditor(["first", "second"]), "draft a\ndraft b");

  assertEquals(after(["up"], editor).shown, "draft a|\ndraft b");
  assertEquals(after(["up", "up"], editor).shown, "second|");
  assertEquals(after(["up", "up", "up", "up"], editor).shown, "first|");
  assertEquals(after(["up", "up", "up", "down", "down"], editor).shown, "draft a\ndraft b|");
});

Deno.test("a search finds backwards, ignores case, and can be given up", () => {
  const editor = insert(newEditor(["Alpha", "beta", "alphabet"]), "draft");

  assertEquals(after(["C-r", ...typed("ALP")], editor).editor.text, "alphabet");
  assertEquals(after(["C-r", ...typed("alp"), "C-r"], editor).editor.text, "Alpha");
  const failed = after(["C-r", ...typed("alp"), "C-r", "C-r"], editor).editor;
  assertEquals([failed.text, failed.search?.found], ["Alpha", false]);
  assertEquals(after(["C-r", ...typed("bet"), "C-g"], editor).shown, "draft|");
  assertEquals(after(["C-r", ...typed("eta"), "left"], editor).editor.text, "beta");
  assertEquals(
    press(after(["C-r", ...typed("eta")], editor).editor, key("return"))?.submit,
    "beta",
  );
  assertEquals(after(["C-r", ...typed("eta"), "escape", "down"], editor).editor.text, "alphabet");
});

Deno.test("what was sent joins the history once; what was cleared can be brought back", () => {
  const sent = submitted(insert(newEditor(["a"]), "b"));

  assertEquals([sent.text, sent.history], ["", ["a", "b"]]);
  assertEquals(submitted(insert(sent, "b")).history, ["a", "b"]);
  assertEquals(submitted(insert(sent, "  ")).history, ["a", "b"]);
  assertEquals(after(["C-y"], cleared(insert(sent, "draft"))).shown, "draft|");
});

Deno.test("whatever is pressed, the cursor stands between characters of the text", () => {
  const names = [
    ..."ab 漢😀\n",
    ..."👨‍👩‍👧 é 🇩🇪".split(" "),
    ..."left right up down home end backspace delete M-return".split(" "),
    ..."C-a C-e C-k C-u C-w C-y C-t C-_ C-r C-g C-d M-b M-f M-d M-backspace return".split(" "),
  ];
  fc.assert(fc.property(fc.array(fc.constantFrom(...names), { maxLength: 80 }), (keys) => {
    const { editor } = after(keys, newEditor(["old 漢字", "two\nlines", "👍🏽"]));

    const places = new Set([0]);
    let at = 0;
    for (const part of graphemes(editor.text)) places.add(at += part.length);
    assert(places.has(editor.cursor), JSON.stringify(editor));
  }));
});

// ── the keyboard ────────────────────────────────────────────────────────────────────────────

/** What the bytes mean, however they are cut. */
function decoded(text: string, cut = Infinity): Input[] {
  const inputs: Input[] = [];
  const decoder = new KeyDecoder((input) => inputs.push(input));
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += cut) decoder.feed(bytes.subarray(at, at + cut));
  decoder.close();
  return inputs;
}

Deno.test("keys, pastes and focus are told apart wherever the bytes are cut", () => {
  const text = "a漢\x1b[200~x\r\ny\x1b[A\x03\x1b[201~\x1b1\x1b[I\x1b[O\x1b[5~\x1b\r\x1f\x7fz";

  const whole = decoded(text);
  for (let cut = 1; cut < 12; cut++) assertEquals(decoded(text, cut), whole, `cut at ${cut}`);

  assertEquals(
    whole.map((input) =>
      input.kind === "key"
        ? `${input.ctrl ? "C-" : ""}${input.meta ? "M-" : ""}${input.name || input.text}`
        : input
    ),
    [
      "a",
      "漢",
      { kind: "paste", text: "x\ny\x1b[A\x03" },
      "M-1",
      { kind: "focus", focused: true },
      { kind: "focus", focused: false },
      "pageup",
      "M-return",
      "C-_",
      "backspace",
      "z",
    ],
  );
});

Deno.test("an Esc that stands alone becomes a key", async () => {
  const { promise, resolve } = Promise.withResolvers<Input>();
  const decoder = new KeyDecoder(resolve);
  decoder.feed(new Uint8Array([0x1b]));

  const input = await promise;
  decoder.close();

  assertEquals(input.kind === "key" ? input.name : "", "escape");
});
