/** The PROXY header parser and the networks that are believed. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  type Endpoint,
  formatAddress,
  NetworkSet,
  parseAddress,
} from "../../server/settings/ip_address.ts";
import {
  MAX_V1_BYTES,
  MAX_V2_BYTES,
  type ProxyHeader,
  ProxyHeaderParser,
} from "../../server/sockets/proxy_protocol.ts";

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function concat(...parts: ArrayLike<number>[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)));
}

/** A version 2 header: version and command, family and transport, then the body. */
function v2(command: number, family: number, body: ArrayLike<number>): Uint8Array {
  return concat(SIGNATURE, [command, family, body.length >> 8, body.length & 0xff], body);
}

/** One address for TCP4 or TCP6, as bytes. */
const addresses = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);
const ports = fc.integer({ min: 0, max: 0xffff });

/** A valid header of either version, and what it says. */
const headers: fc.Arbitrary<{ header: Uint8Array; source: Endpoint | undefined }> = fc.oneof(
  fc.record({ source: addresses, port: ports }).map(({ source, port }) => {
    const text = v6Text(source);
    const [family, other] = source.length === 4 ? ["TCP4", "192.0.2.1"] : ["TCP6", "2001:db8::1"];
    return {
      header: bytes(`PROXY ${family} ${text} ${other} ${port} 8000\r\n`),
      source: { hostname: formatAddress(source), port },
    };
  }),
  fc.record({ source: addresses, port: ports, tlv: fc.uint8Array({ maxLength: 200 }) }).map(
    ({ source, port, tlv }) => ({
      header: v2(
        0x21,
        source.length === 4 ? 0x11 : 0x21,
        concat(source, new Uint8Array(source.length), [port >> 8, port & 0xff, 0x1f, 0x40], tlv),
      ),
      source: { hostname: formatAddress(source), port },
    }),
  ),
  fc.constantFrom("PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n").map(
    (text) => ({ header: bytes(text), source: undefined }),
  ),
  fc.uint8Array({ maxLength: 300 }).map((body) => ({
    header: v2(0x20, 0, body),
    source: undefined,
  })),
);

/** Eight full groups for 16 bytes: version 1 allows every valid spelling. */
function v6Text(address: Uint8Array): string {
  if (address.length === 4) return address.join(".");
  return Array.from(
    { length: 8 },
    (_, i) => new DataView(address.buffer, address.byteOffset).getUint16(2 * i).toString(16),
  ).join(":");
}

/** Feeds a stream in chunks until there is a verdict; what follows counts as the client's. */
function feedAll(chunks: readonly Uint8Array[]): ProxyHeader {
  const parser = new ProxyHeaderParser();
  for (const [i, chunk] of chunks.entries()) {
    const result = parser.feed(chunk);
    if (result.status === "partial") continue;
    if (result.status === "malformed") return result;
    return { ...result, rest: concat(result.rest, ...chunks.slice(i + 1)) };
  }
  return { status: "partial" };
}

Deno.test("a header says the same wherever the stream is cut, and loses no byte after it", () => {
  fc.assert(fc.property(headers, fc.uint8Array({ maxLength: 20 }), ({ header, source }, rest) => {
    const stream = concat(header, rest);
    for (let at = 0; at <= stream.length; at++) {
      assertEquals<ProxyHeader>(feedAll([stream.subarray(0, at), stream.subarray(at)]), {
        status: "done",
        source,
        rest,
      });
    }
    const single = Array.from(stream, (byte) => Uint8Array.of(byte));
    assertEquals<ProxyHeader>(feedAll(single), { status: "done", source, rest });
  }));
});

Deno.test("a header that is cut short is partial, never done", () => {
  fc.assert(fc.property(headers, ({ header }) => {
    for (let at = 0; at < header.length; at++) {
      assertEquals(feedAll([header.subarray(0, at)]).status, "partial");
    }
  }));
});

Deno.test("a mutated header is refused or read alike wherever it is cut, and never throws", () => {
  const mutations = fc.record({ at: fc.nat(), to: fc.nat(255) });
  fc.assert(
    fc.property(headers, fc.array(mutations, { minLength: 1, maxLength: 4 }), (valid, changes) => {
      const stream = valid.header.slice();
      for (const { at, to } of changes) stream[at % stream.length] = to;

      const whole = feedAll([stream]);
      for (let at = 1; at < stream.length; at++) {
        assertEquals(feedAll([stream.subarray(0, at), stream.subarray(at)]), whole);
      }
      if (whole.status !== "done" || whole.source === undefined) return;
      const { hostname, port } = whole.source;
      const parsed = parseAddress(hostname);
      assert(parsed !== undefined && formatAddress(parsed) === hostname);
      assert(Number.isInteger(port) && port >= 0 && port <= 0xffff);
    }),
    { numRuns: 300 },
  );
});

Deno.test("any stream gets its verdict within the longest header", () => {
  const starts = fc.constantFrom(
    bytes(""),
    bytes("PROXY "),
    bytes("PROXY TCP4 "),
    concat(SIGNATURE),
  );
  const tails = fc.uint8Array({ minLength: MAX_V2_BYTES, maxLength: MAX_V2_BYTES });
  fc.assert(fc.property(starts, tails, (start, tail) => {
    assert(feedAll([concat(start, tail)]).status !== "partial");
  }));
  const spaces = bytes("PROXY " + "x".repeat(MAX_V1_BYTES));
  assertEquals(feedAll([spaces.subarray(0, MAX_V1_BYTES - 1)]).status, "partial");
  assertEquals(feedAll([spaces.subarray(0, MAX_V1_BYTES)]).status, "malformed");
});

Deno.test("wrong headers are refused with the reason", () => {
  const pair4 = [192, 0, 2, 7, 192, 0, 2, 1, 0xd9, 0x03, 0x1f, 0x40];
  const cases: [stream: Uint8Array, reason: string][] = [
    [bytes('{"msgid":1}'), "no PROXY header"],
    [bytes("PROXX TCP4"), "no PROXY header"],
    [concat(SIGNATURE.slice(0, 11), [0]), "no PROXY header"],
    [bytes("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n"), "unknown family"],
    [bytes("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n"), "unknown family"],
    [bytes("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n"), "unknown family"],
    [bytes("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n"), "wrong address"],
    [bytes("PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n"), "wrong address"],
    [bytes("PROXY TCP4 1.2.3.4 localhost 1 2\r\n"), "wrong address"],
    [bytes("PROXY TCP4 ::1 ::1 1 2\r\n"), "wrong address"],
    [bytes("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"), "wrong address"],
    [bytes("PROXY TCP6 ::1%lo ::1 1 2\r\n"), "wrong address"],
    [bytes("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"), "wrong port"],
    [bytes("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"), "wrong port"],
    [bytes("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n"), "wrong port"],
    [bytes("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"), "wrong port"],
    [bytes("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"), "wrong port"],
    [bytes("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"), "CRLF was expected"],
    [bytes("PROXY TCP4\r 1.2.3.4 1.2.3.4 1 2\r\n"), "CRLF was expected"],
    [bytes("PROXY UNKNOWN é\r\n"), "CRLF was expected"],
    [v2(0x11, 0x11, pair4), "unknown version"],
    [v2(0x31, 0x11, pair4), "unknown version"],
    [v2(0x22, 0x11, pair4), "unknown command"],
    [v2(0x21, 0x41, pair4), "unknown family or transport"],
    [v2(0x21, 0x13, pair4), "unknown family or transport"],
    [v2(0x21, 0x11, pair4.slice(1)), "addresses cut short"],
    [v2(0x21, 0x21, pair4), "addresses cut short"],
    [v2(0x21, 0x11, new Uint8Array(MAX_V2_BYTES)), "header too long"],
  ];
  for (const [stream, reason] of cases) {
    const result = feedAll([stream]);
    assertEquals(result.status, "malformed", `${reason}: ${new TextDecoder().decode(stream)}`);
    if (result.status === "malformed") assertStringIncludes(result.reason, reason);
  }
});

Deno.test("families without an IP address are taken without a source", () => {
  for (const family of [0x00, 0x12, 0x22, 0x31, 0x32, 0x01]) {
    const result = feedAll([v2(0x21, family, new Uint8Array(216))]);
    assertEquals<ProxyHeader>(result, {
      status: "done",
      source: undefined,
      rest: new Uint8Array(0),
    });
  }
});

Deno.test("one client has one address however it is spelled", () => {
  const sameV4 = "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n";
  const sameV6 = "PROXY TCP6 2001:DB8:0:0:0:0:0:1 ::1 1 2\r\n";
  const sources = [sameV4, sameV6].map((text) => {
    const result = feedAll([bytes(text)]);
    return result.status === "done" ? result.source?.hostname : result.status;
  });
  assertEquals(sources, ["192.0.2.7", "2001:db8::1"]);
});

Deno.test("bytes after the verdict are not taken for a header", () => {
  const parser = new ProxyHeaderParser();
  parser.feed(bytes("PROXY UNKNOWN\r\n"));
  assertThrows(() => parser.feed(bytes("x")), Error, "complete before");
});

Deno.test("an address survives its text, and text is canonical", () => {
  fc.assert(fc.property(addresses, (address) => {
    const text = formatAddress(address);
    const again = parseAddress(text);
    assert(again !== undefined);
    assertEquals(formatAddress(again), text);
    assertEquals(parseAddress(v6Text(address)), again);
    // The URL parser of the platform is a second opinion on canonical IPv6.
    if (text.includes(":")) assertEquals(new URL(`http://[${text}]/`).hostname, `[${text}]`);
  }));
  for (
    const wrong of ["", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::"]
  ) {
    assertEquals(parseAddress(wrong), undefined, wrong);
  }
  for (const wrong of ["1.2.3", "1.2.3.4.5", "1.2.3.4 ", "::1.2.3.4:1", "1:2:3:4:5:6:7:1.2.3.4"]) {
    assertEquals(parseAddress(wrong), undefined, wrong);
  }
  assertEquals(parseAddress("1:2:3:4:5:6:7::"), parseAddress("1:2:3:4:5:6:7:0"));
});

Deno.test("a network holds exactly the addresses that share its prefix", () => {
  fc.assert(fc.property(addresses, fc.nat(128), fc.nat(), (address, width, flip) => {
    const total = (parseAddress(formatAddress(address)) ?? address).length * 8;
    const bits = width % (total + 1);
    const set = NetworkSet.parse(`${formatAddress(address)}/${bits}`);
    assert(set instanceof NetworkSet);
    assert(set.has(formatAddress(address)));

    const at = flip % total;
    const other = parseAddress(formatAddress(address))?.slice() ?? address;
    other[at >> 3] = (other[at >> 3] ?? 0) ^ (0x80 >> (at & 7));
    // Turning a bit can make an IPv6 address an IPv4 one in IPv6 dress, which is another family.
    const sameFamily = parseAddress(formatAddress(other))?.length === other.length;
    assertEquals(set.has(formatAddress(other)), sameFamily && at >= bits);
  }));
});

Deno.test("lists of networks take both families, either spelling and single addresses", () => {
  const set = NetworkSet.parse("127.0.0.1/32, 10.0.0.0/8,::1  fd00::/8,::ffff:192.0.2.0/120");
  assert(set instanceof NetworkSet);
  for (const inside of ["127.0.0.1", "::ffff:127.0.0.1", "10.255.0.1", "::1", "fd12::3%eth0"]) {
    assert(set.has(inside), inside);
  }
  assert(set.has("192.0.2.200"));
  for (const outside of ["127.0.0.2", "11.0.0.1", "::2", "fe80::1", "192.0.3.1", "", "localhost"]) {
    assert(!set.has(outside), outside);
  }
  const none = NetworkSet.parse(" ");
  assert(none instanceof NetworkSet && none.isEmpty && !none.has("127.0.0.1"));
});

Deno.test("a wrong network is named", () => {
  const cases = [
    ["10.0.0.0/33", '"10.0.0.0/33" needs a prefix length from 0 to 32'],
    ["::/129", '"::/129" needs a prefix length from 0 to 128'],
    ["::ffff:10.0.0.0/8", '"::ffff:10.0.0.0/8" needs a prefix length from 96 to 128'],
    ["127.0.0.1,example.org", '"example.org" is no IP address or network'],
    ["10.0.0.0/8/8", '"10.0.0.0/8/8" is no IP address or network'],
    ["10.0.0.0/", '"10.0.0.0/" needs a prefix length from 0 to 32'],
    ["10.0.0.0/0x8", '"10.0.0.0/0x8" needs a prefix length from 0 to 32'],
  ];
  for (const [list = "", sentence = ""] of cases) {
    assertEquals(NetworkSet.parse(list), sentence);
  }
});
