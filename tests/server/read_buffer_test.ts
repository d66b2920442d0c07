/** Where a socket's bytes are read to. */

import { assertEquals } from "@std/assert";
import { ReadBuffer } from "../../server/sockets/read_buffer.ts";

Deno.test("a buffer grows after a full read, keeps its size while reads fill it, and shrinks", () => {
  const buffer = new ReadBuffer();
  const small = buffer.bytes;
  const sizes = [300, 512, 65_536, 65_536, 65_535, 10].map((count) => {
    buffer.adapt(count);
    return buffer.bytes.length;
  });

  assertEquals(sizes, [512, 65_536, 65_536, 65_536, 512, 512]);
  assertEquals(buffer.bytes === small, true);
  assertEquals([buffer.filled(3).length, buffer.filled(512) === small], [3, true]);
});

Deno.test("only so many large buffers are lent; one that is given back, once, is lent again", () => {
  const buffers = Array.from({ length: 65 }, () => new ReadBuffer());
  for (const buffer of buffers) buffer.adapt(512);
  const [first, last] = [buffers[0], buffers[64]];
  const large = first?.bytes;
  assertEquals([large?.length, last?.bytes.length], [65_536, 512]);

  first?.release();
  first?.release();
  for (const buffer of [last, first]) buffer?.adapt(512);

  assertEquals([last?.bytes === large, first?.bytes.length], [true, 512]);
  for (const buffer of buffers) buffer.release();
});
