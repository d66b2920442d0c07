/** The HTTP port: what it answers, and that nobody who holds it open keeps others out for long. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { serveHttp } from "../../server/observe/http.ts";
import { until } from "../support/until.ts";

const parts = {
  problem: () => Promise.resolve<string | undefined>(undefined),
  metrics: () => Promise.resolve("chat_ready 1\n"),
};

async function get(port: number, request: string): Promise<string> {
  const conn = await Deno.connect({ port });
  const answer = new Response(conn.readable).text();
  const writer = conn.writable.getWriter();
  await writer.write(new TextEncoder().encode(request));
  return await answer;
}

Deno.test("the HTTP port answers health, readiness and metrics, however the request is cut", async () => {
  const http = serveHttp("127.0.0.1", 0, {
    ...parts,
    problem: () => Promise.resolve("the store does not answer"),
  });
  try {
    const metrics = await fetch(`http://127.0.0.1:${http.port}/metrics?x=1`);
    assertEquals([metrics.status, await metrics.text()], [200, "chat_ready 1\n"]);
    const ready = await fetch(`http://127.0.0.1:${http.port}/readyz`);
    assertEquals([ready.status, await ready.text()], [503, "the store does not answer\n"]);
    const other = await fetch(`http://127.0.0.1:${http.port}/secret`);
    assertEquals([other.status, (await other.text()).startsWith("not found")], [404, true]);

    const conn = await Deno.connect({ port: http.port });
    const answer = new Response(conn.readable).text();
    const writer = conn.writable.getWriter();
    for (const byte of new TextEncoder().encode("GET /healthz HTTP/1.1\r\n\r\n")) {
      await writer.write(Uint8Array.of(byte));
    }
    assertMatch(await answer, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok\n$/);
    assertMatch(await get(http.port, "BREW /pot HTTP/9\r\n\r\n"), /^HTTP\/1\.1 404 /);
    assertMatch(await get(http.port, "x".repeat(8 * 1024)), /^HTTP\/1\.1 400 /);
  } finally {
    await http.stop();
  }
});

Deno.test("beyond 64 connections that ask for nothing the HTTP port closes the oldest and serves the newcomer", async () => {
  const http = serveHttp("127.0.0.1", 0, parts);
  const silent: Deno.Conn[] = [];
  try {
    for (let i = 0; i < 64; i++) silent.push(await Deno.connect({ port: http.port }));

    assertMatch(await get(http.port, "GET /healthz HTTP/1.1\r\n\r\n"), /^HTTP\/1\.1 200 /);

    const ended = await silent[0]?.read(new Uint8Array(1)).catch(() => null);
    assertEquals(ended, null);
  } finally {
    for (const conn of silent) conn.close();
    await http.stop();
  }
});

Deno.test("beyond 64 connections that are being answered the HTTP port turns newcomers away, and serves again later", async () => {
  const answers = Promise.withResolvers<undefined>();
  let asked = 0;
  const problem = () => {
    asked++;
    return answers.promise;
  };
  const http = serveHttp("127.0.0.1", 0, { ...parts, problem });
  const asking: Promise<string>[] = [];
  const isServed = async () => {
    try {
      return (await get(http.port, "GET /healthz HTTP/1.1\r\n\r\n")).startsWith("HTTP/1.1 200 ");
    } catch {
      return false;
    }
  };
  try {
    for (let i = 1; i <= 64; i++) {
      asking.push(get(http.port, "GET /readyz HTTP/1.1\r\n\r\n"));
      await until(() => asked === i);
    }

    assertEquals(await isServed(), false);

    answers.resolve(undefined);
    for (const answer of await Promise.all(asking)) assertMatch(answer, /^HTTP\/1\.1 200 /);
    await until(isServed);
  } finally {
    answers.resolve(undefined);
    await http.stop();
  }
});

Deno.test("a connection that asks for nothing does not hold the end up", async () => {
  const http = serveHttp("127.0.0.1", 0, parts);
  using silent = await Deno.connect({ port: http.port });
  // Accepted in order: once this is answered, the silent one is open.
  await (await fetch(`http://127.0.0.1:${http.port}/healthz`)).text();

  const began = performance.now();
  await http.stop();

  assert(performance.now() - began < 5_000);
  assertEquals(await silent.read(new Uint8Array(1)), null);
});
