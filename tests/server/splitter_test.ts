import { assertEquals } from "@std/assert";
import { FrameSplitter, type SplitError } from "@chat/wire/splitter.ts";
import fc from "fast-check";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function split(
  chunks: Uint8Array[],
  maxBytes?: number,
): { objects: string[]; error: SplitError | undefined; held: number } {
  const objects: string[] = [];
  const splitter = new FrameSplitter(
    (bytes, start, end) => objects.push(decoder.decode(bytes.slice(start, end))),
    maxBytes,
  );
  let error: SplitError | undefined;
  for (const chunk of chunks) error = splitter.feed(chunk);
  return { objects, error, held: splitter.heldBytes };
}

Deno.test("the splitter gives the same objects wherever the stream is cut", () => {
  const stream = encoder.encode('{"a":"}\\""}{"b":{}}\0 {"c":"\\\\"}\r\n\t{"d":"漢{"}');

  for (let at = 0; at <= stream.length; at++) {
    for (let to = at; to <= stream.length; to++) {
      const chunks = [stream.subarray(0, at), stream.subarray(at, to), stream.subarray(to)];

      assertEquals(split(chunks).objects, [
        '{"a":"}\\""}',
        '{"b":{}}',
        '{"c":"\\\\"}',
        '{"d":"漢{"}',
      ]);
    }
  }
});

Deno.test("the splitter takes one byte at a time", () => {
  const stream = encoder.encode('{"a":"\\"{"}\0{"b":[{}]}');

  const result = split(Array.from(stream, (byte) => Uint8Array.of(byte)));

  assertEquals(result, { objects: ['{"a":"\\"{"}', '{"b":[{}]}'], error: undefined, held: 0 });
});

Deno.test("an object of exactly the limit passes and one byte more is refused", () => {
  const object = (bytes: number) => encoder.encode(`{"a":"${"x".repeat(bytes - 8)}"}`);

  assertEquals(split([object(100)], 100).objects.length, 1);
  assertEquals(split([object(101)], 100), { objects: [], error: "too_large", held: 0 });
  const cut = object(101);
  assertEquals(split([cut.subarray(0, 50), cut.subarray(50)], 100).error, "too_large");
});

Deno.test("an endless object is refused at the limit without being held further", () => {
  const chunks = [encoder.encode('{"a":"')].concat(
    Array(50).fill(encoder.encode("x".repeat(4096))),
  );

  const result = split(chunks);

  assertEquals([result.error, result.held], ["too_large", 0]);
});

Deno.test("anything but separators between objects ends the stream", () => {
  for (const text of ["hello", "[1]", '"{}"', "}", "{}x{}", "{},{}"]) {
    assertEquals(split([encoder.encode(text)]).error, "garbage", text);
  }
});

Deno.test("random objects, separators and cuts always come out as they went in", () => {
  const separator = fc.constantFrom("", " ", "\n", "\0", "\r\n", "\t \0");
  const object = fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue()).map((o) =>
    JSON.stringify(o)
  );

  fc.assert(
    fc.property(
      fc.array(fc.tuple(object, separator), { maxLength: 12 }),
      fc.array(fc.nat(400), { maxLength: 12 }),
      (parts, cuts) => {
        const stream = encoder.encode(parts.map(([o, s]) => o + s).join(""));
        const points = [
          0,
          ...cuts.filter((c) => c < stream.length).sort((a, b) => a - b),
          stream.length,
        ];
        const chunks = points.slice(1).map((end, i) => stream.subarray(points[i], end));

        const wellFormed = parts.map(([o]) => decoder.decode(encoder.encode(o)));
        assertEquals(split(chunks), { objects: wellFormed, error: undefined, held: 0 });
      },
    ),
    { numRuns: 2000 },
  );
});
