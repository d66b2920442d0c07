/** Frames cut out of a block: whatever shares the block, each has its own text. */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { eachFrame } from "../../actors/runtime/lane.ts";
import { IN_COLUMNS, type InLane } from "../../actors/runtime/lane.ts";

/** A frame's bytes and the text it is to have. */
type Part = readonly [Uint8Array, string];

function lane(parts: readonly Part[]): InLane {
  const frames = new Float64Array(parts.length * IN_COLUMNS);
  const bytes = new Uint8Array(parts.reduce((sum, [part]) => sum + part.length, 0));
  let offset = 0;
  for (const [i, [part]] of parts.entries()) {
    frames.set([i + 1, 100 + i, offset, part.length], i * IN_COLUMNS);
    bytes.set(part, offset);
    offset += part.length;
  }
  const none = new Float64Array();
  return { opened: [], bytes, frames, readAt: 0, written: none, closed: [], time: 0 };
}

function texts(parts: readonly Part[]): [number, number, string][] {
  const found: [number, number, string][] = [];
  eachFrame(lane(parts), (conn, seq, text) => found.push([conn, seq, text]));
  return found;
}

const encoder = new TextEncoder();
const ascii = fc.string({ unit: "grapheme-ascii" });
const wide = fc.string({ unit: "grapheme" });
const good = fc.oneof(ascii, wide).map((text): Part => [encoder.encode(text), text]);
/** Ends inside a character, so that the next frame must not complete it. */
const cut = ascii.map((text): Part => [Uint8Array.of(...encoder.encode(text), 0xe4, 0xbd), ""]);

Deno.test("every frame of a block has its own text, one that is not UTF-8 has none", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof({ weight: 5, arbitrary: good }, cut)), (parts) => {
      assertEquals(texts(parts), parts.map(([, text], i) => [i + 1, 100 + i, text]));
    }),
  );
});

Deno.test("a byte order mark at the start of a block is no reason to shift what follows", () => {
  const parts: Part[] = [[encoder.encode("\ufeff{}"), "{}"], [encoder.encode("{}"), "{}"]];
  assertEquals(texts(parts).map(([, , text]) => text), ["{}", "{}"]);
});
