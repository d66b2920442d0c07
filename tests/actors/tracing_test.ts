/** Traces as Deno's own exporter sends them, received by a sink over OTLP with JSON. */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { z } from "zod";
import { MSGID } from "@chat/wire/messages.ts";
import { HybridClock } from "../../actors/hlc.ts";
import { isTraced, traceIdOf } from "../../actors/observe/tracing.ts";
import { TestCluster } from "../support/cluster_harness.ts";
import { TestServer } from "../support/server_harness.ts";
import type { TestPeer } from "../support/test_peer.ts";
import { until } from "../support/until.ts";

const Attribute = z.object({
  key: z.string(),
  value: z.record(z.string(), z.union([z.string(), z.number()])),
});
const Span = z.object({ traceId: z.string(), name: z.string(), attributes: z.array(Attribute) });
type Span = z.infer<typeof Span>;
const Traces = z.object({
  resourceSpans: z.array(
    z.object({ scopeSpans: z.array(z.object({ spans: z.array(Span) })) }),
  ),
});

/** An OTLP collector that keeps spans. */
class Sink implements AsyncDisposable {
  readonly spans: Span[] = [];
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => this.#take(request),
  );

  /** What a process needs to send its spans here, soon. */
  get env(): Record<string, string> {
    return {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${this.#server.addr.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_DENO_CONSOLE: "ignore",
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
  }

  /** The spans of one message. */
  of(mid: unknown): Span[] {
    return this.spans.filter((span) => attribute(span, "mid") === mid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #take(request: Request): Promise<Response> {
    const text = await request.text();
    if (new URL(request.url).pathname === "/v1/traces") {
      const { resourceSpans } = Traces.parse(JSON.parse(text));
      for (const { scopeSpans } of resourceSpans) {
        for (const { spans } of scopeSpans) this.spans.push(...spans);
      }
    }
    return new Response("{}", { headers: { "content-type": "application/json" } });
  }
}

function attribute(span: Span, key: string): string | number | undefined {
  const found = span.attributes.find((each) => each.key === key);
  return found === undefined ? undefined : Object.values(found.value)[0];
}

/** One message; resolves when its spans have come. */
async function traced(sink: Sink, from: TestPeer, to: TestPeer): Promise<Span[]> {
  const { mid } = await from.chat(to.id, "follow me");
  await to.take(MSGID.ONE_CHAT);
  const steps = ["push", "receipt", "receive", "store", "write"];
  await until(() => sink.of(mid).length >= steps.length);
  const spans = sink.of(mid);
  assertEquals(spans.map((span) => span.name).sort(), steps);
  assertEquals(new Set(spans.map((span) => span.traceId)), new Set([traceIdOf(String(mid))]));
  return spans;
}

Deno.test("one message between two workers is one trace, from socket to socket and to its receipt", async () => {
  await using sink = new Sink();
  await using server = await TestServer.start({
    workers: 2,
    flags: ["--trace-one-in", "1"],
    env: sink.env,
  });
  await using alice = await server.connect();
  await using bob = await server.connect();
  await alice.enter("alice");
  await bob.enter("bob");

  const spans = await traced(sink, alice, bob);

  assertEquals(new Set(spans.map((span) => attribute(span, "worker"))).size, 2);
});

Deno.test("one message between two nodes is one trace", async () => {
  await using sink = new Sink();
  const before = Object.keys(sink.env).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(sink.env)) Deno.env.set(name, value);
  try {
    await using cluster = await TestCluster.start(2, ["--trace-one-in", "1"]);
    await using alice = await cluster.connect(0);
    await using bob = await cluster.connect(1);
    await alice.enter("alice");
    await bob.enter("bob");

    const spans = await traced(sink, alice, bob);

    const nodes = new Map(spans.map((span) => [span.name, attribute(span, "node")]));
    assertEquals(nodes.get("push"), nodes.get("receipt"));
    assertNotEquals(nodes.get("push"), nodes.get("store"));
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
});

Deno.test("one message in N is traced, the same ones everywhere, each under its own id", () => {
  const clock = new HybridClock(() => 1_700_000_000_000);
  const mids = Array.from({ length: 20_000 }, () => clock.next());

  const share = mids.filter((mid) => isTraced(mid, 100)).length / mids.length;

  assert(share > 0.005 && share < 0.02, `${share}`);
  assertEquals(mids.filter((mid) => isTraced(mid, 1)).length, mids.length);
  const ids = new Set(mids.map(traceIdOf));
  assertEquals(ids.size, mids.length);
  for (const id of ids) assertEquals(id.length, 32);
  assertEquals(traceIdOf("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), "f".repeat(32));
});
