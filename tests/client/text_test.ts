import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { graphemes, safe } from "../../client/chat/safe_text.ts";
import { padEnd, padStart, truncate, width, wrap } from "../../client/terminal/text.ts";

/** Text as people write it, and as they should not. */
const anyText = fc.array(
  fc.oneof(
    fc.constantFrom(..."ab zoé漢字、。「」한국😀"),
    fc.constantFrom("👨‍👩‍👧", "🇩🇪", "❤️", "👍🏽", "e\u0301", "नि", "\n", " ", "  "),
    fc.constantFrom("\x1b[31m", "\x07", "\u202e", "\u2066", "\u200b", "\x00", "\u009b", "\ud800"),
  ),
  { maxLength: 60 },
).map((parts) => parts.join(""));

Deno.test("what is safe to print moves no cursor and reverses nothing", () => {
  fc.assert(fc.property(fc.oneof(anyText, fc.string({ unit: "binary" })), (text) => {
    const shown = safe(text);

    assert(
      // deno-lint-ignore no-control-regex -- none of them may be left
      !/[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069]/.test(shown),
    );
    assert(shown.isWellFormed());
    assertEquals(safe(shown), shown);
  }));
});

Deno.test("control characters are shown as pictures, tabs as spaces", () => {
  assertEquals(safe("a\x1b[2Jb\x07\tc\x7f"), "a␛[2Jb␇    c␡");
  assertEquals(safe("x\u202ey\u200bz\r\nw"), "x\ufffdyz\nw");
  assertEquals(safe("👨‍👩‍👧 漢 é"), "👨‍👩‍👧 漢 é");
  assertEquals(safe("a\u00adb\u3164c\u115f\u1160d\uffa0e"), "abcde");
});

Deno.test("a tower of combining marks is cut", () => {
  assert(safe("e" + "\u0301".repeat(1_000)).length < 30);
});

Deno.test("wrapped lines fit, and lose nothing but the spaces where they were broken", () => {
  fc.assert(fc.property(anyText.map(safe), fc.integer({ min: 2, max: 30 }), (text, columns) => {
    const lines = wrap(text, columns);

    const squeezed = (s: string) => s.replaceAll(/[ \n]/g, "");
    assertEquals(squeezed(lines.join("")), squeezed(text));
    for (const line of lines) {
      assert(width(line) <= columns || graphemes(line).length === 1, `${line}: ${width(line)}`);
    }
  }));
});

Deno.test("lines break at spaces and between wide characters, as their punctuation allows", () => {
  assertEquals(wrap("the quick brown fox", 10), ["the quick", "brown fox"]);
  assertEquals(wrap("averyverylongword x", 6), ["averyv", "erylon", "gword", "x"]);
  assertEquals(wrap("日本語です。はい「そう」です", 12), ["日本語です。", "はい「そう」", "です"]);
  assertEquals(wrap("日本語で。す", 8), ["日本語", "で。す"]);
  assertEquals(wrap("one\n\ntwo", 10), ["one", "", "two"]);
  assertEquals(wrap("", 10), [""]);
  assertEquals(wrap("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", 4), ["👨‍👩‍👧👨‍👩‍👧", "👨‍👩‍👧"]);
});

Deno.test("truncating and padding go by columns", () => {
  assertEquals(truncate("漢字漢字", 5), "漢字…");
  assertEquals(truncate("abc", 3), "abc");
  assertEquals([padEnd("漢", 4), padStart("漢", 4)], ["漢  ", "  漢"]);
});
