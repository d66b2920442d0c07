import { assertEquals } from "@std/assert";
import fc from "fast-check";
import * as places from "../../client/terminal/input/text_motion.ts";
import { graphemes } from "../../client/chat/safe_text.ts";

/** Places between graphemes, and around newlines. */
function edges(text: string): Set<number> {
  const all = new Set([0]);
  let at = 0;
  for (const line of text.split("\n")) {
    for (const grapheme of graphemes(line)) all.add(at += grapheme.length);
    all.add(++at);
  }
  all.delete(text.length + 1);
  return all;
}

Deno.test("from between two graphemes every way leads to between two graphemes", () => {
  const part = fc.constantFrom("a", " ", "\n", "é", "👨‍👩‍👧", "漢", "e\u0301", "🇩🇪", ".");
  fc.assert(fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
    const text = parts.join("");
    const all = edges(text);
    for (const from of all) {
      for (const [name, way] of Object.entries(places)) {
        const to = way(text, from);
        assertEquals(to === undefined || all.has(to), true, `${name} from ${from} to ${to}`);
      }
    }
  }));
});

Deno.test("up and down keep the column as far as the line goes", () => {
  const text = "long line\nab\nlonger line";
  const third = text.length;

  assertEquals(places.above(text, 5), undefined);
  assertEquals(places.below(text, 5), "long line\nab".length);
  assertEquals(places.above(text, third), "long line\nab".length);
  assertEquals(places.below(text, third), undefined);
});
