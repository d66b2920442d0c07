/** What the load generator finds wrong must be wrong, and what is wrong it must find. */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import fc from "fast-check";
import { Histogram } from "../../bench/load/histogram.ts";
import { readNumber, Scanner } from "../../bench/load/scanner.ts";
import { Tracker } from "../../bench/load/tracker.ts";

Deno.test("the tracker counts exactly what is lost, late and doubled", () => {
  const arrivals = fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 40 });

  fc.assert(fc.property(arrivals, fc.integer({ min: 0, max: 5 }), (seqs, never) => {
    const sent = Math.max(0, ...seqs) + never;
    const tracker = new Tracker();

    const firsts = seqs.filter((seq) => tracker.see(seq));

    const late = firsts.filter((seq, i) => firsts.slice(0, i).some((before) => before > seq));
    assertEquals(firsts, [...new Set(seqs)]);
    assertEquals(tracker.duplicates, seqs.length - firsts.length);
    assertEquals(tracker.outOfOrder, late.length);
    assertEquals(tracker.lost(sent), sent - firsts.length);
  }));
});

Deno.test("the scanner finds an object's fields wherever the stream is cut", () => {
  const encoder = new TextEncoder();
  const first =
    '{"a":{"msg":"}"},"msgid":6,"x":"\\"msg\\":\\"no","msg":"42 {","mid":"AB","cid":"7-8"}';
  const stream = encoder.encode(`${first}\n\0 {"msgid":12,"errno":3}`);

  for (let cut = 0; cut <= stream.length; cut++) {
    const scanner = new Scanner();
    const found = scanner.next(stream, 0, cut);

    assertEquals(found, cut >= first.length, `cut at ${cut}`);
    if (!found) continue;
    assertEquals([scanner.start, scanner.end, scanner.msgid], [0, first.length, 6]);
    assertEquals(readNumber(stream, scanner.msgAt), 42);
    assertEquals(stream[scanner.midAt + 1], "A".charCodeAt(0));
    assertEquals(readNumber(stream, scanner.cidAt), 7);
    assertEquals(scanner.errno, -1);
    if (!scanner.next(stream, scanner.end, cut)) continue;
    assertEquals([scanner.msgid, scanner.errno, scanner.msgAt], [12, 3, -1]);
  }
});

Deno.test("a percentile is within a thousandth of the sorted samples' own", () => {
  const durations = fc.array(fc.integer({ min: 0, max: 2 ** 31 }), { minLength: 1 });

  fc.assert(fc.property(durations, fc.double({ min: 0, max: 1, noNaN: true }), (all, share) => {
    const histogram = new Histogram();

    for (const us of all) histogram.add(us);

    const sorted = [...all].sort((a, b) => a - b);
    const exact = sorted[Math.max(1, Math.ceil(all.length * share)) - 1] ?? -1;
    const got = histogram.percentile(share);
    assert(got <= exact && exact - got <= exact / 1000, `${got} for ${exact}`);
  }));
});

/** A relay of v1 chat that lets `meddle` decide how often each message goes out. */
async function relay(
  listener: Deno.TcpListener,
  meddle: (count: number) => number,
): Promise<void> {
  const online = new Map<number, Deno.TcpConn>();
  const serving: Promise<void>[] = [];
  let users = 0;
  let messages = 0;
  const serve = async (conn: Deno.TcpConn): Promise<void> => {
    const encoder = new TextEncoder();
    let rest = "";
    try {
      for await (const text of conn.readable.pipeThrough(new TextDecoderStream())) {
        const objects = (rest + text).split("\0");
        rest = objects.pop() ?? "";
        for (const object of objects) {
          const { msgid, id, to } = JSON.parse(object);
          let out = "";
          if (msgid === 4) out = `{"msgid":5,"errno":0,"id":${++users}}`;
          if (msgid === 1) {
            online.set(id, conn);
            out = `{"msgid":2,"errno":0,"id":${id}}`;
          }
          if (msgid === 6) out = object.repeat(meddle(++messages));
          const target = msgid === 6 ? online.get(to) : conn;
          if (out !== "") await target?.write(encoder.encode(out));
        }
      }
    } catch (error) {
      // The generator leaves without a word; a write to it may still be under way.
      if (
        !(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe)
      ) {
        throw error;
      }
    }
  };
  for await (const conn of listener) serving.push(serve(conn));
  await Promise.all(serving);
}

async function generate(meddle: (count: number) => number): Promise<Record<string, unknown>> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = relay(listener, meddle);
  const main = fromFileUrl(new URL("../../bench/load/main.ts", import.meta.url));
  const port = String(listener.addr.port);
  const flags = ["--port", port, "--n", "2", "--rate", "500", "--secs", "0.4", "--warm", "0"];
  flags.push("--drain", "0.3");
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--cached-only", "--allow-all", main, "open", ...flags],
  }).output();
  listener.close();
  await serving;
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const last = new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1) ?? "";
  return JSON.parse(last);
}

Deno.test("the generator notices a relay that drops and doubles messages", async () => {
  const result = await generate((count) => count === 20 ? 0 : count === 50 ? 2 : 1);

  const { lost, duplicates, outOfOrder, errors } = result;
  assertEquals({ lost, duplicates, outOfOrder, errors }, {
    lost: 1,
    duplicates: 1,
    outOfOrder: 0,
    errors: 0,
  });
});
