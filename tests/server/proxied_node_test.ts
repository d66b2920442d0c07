/** A node behind a load balancer: whose PROXY header it believes, and what it does without one. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { type NodeService, startNode } from "../../server/cluster/services.ts";
import { readProxyHeader } from "../../server/sockets/proxied_socket.ts";

const LIMIT_MS = 10_000;
const LOGIN = '{"msgid":1,"v":2,"id":1,"password":"none has this"}';
const REFUSED = /^\{"msgid":2,.*"errno":1/;

/** Runs a node with these flags; gives it and its log to `body`. */
async function withNode(
  args: readonly string[],
  body: (node: NodeService, logged: (pattern: RegExp) => Promise<void>) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "chat-proxied-" });
  const lines: string[] = [];
  let wake = () => {};
  const output = (line: string) => {
    lines.push(line);
    wake();
  };
  const node = await startNode({
    name: "node",
    dir,
    output,
    args: ["--workers", "0", "--log-level", "debug", ...args],
  });
  const logged = async (pattern: RegExp) => {
    const search = async () => {
      while (!lines.some((line) => pattern.test(line))) {
        await new Promise<void>((resolve) => wake = resolve);
      }
    };
    await deadline(search(), LIMIT_MS).catch(() => assertMatch(lines.join("\n"), pattern));
  };
  try {
    await body(node, logged);
  } finally {
    await node.stop();
    await Deno.remove(dir, { recursive: true });
  }
}

/** Sends chunks one by one, then reads the first line; "" when the node closes. */
async function firstLine(port: number, ...chunks: (string | Uint8Array)[]): Promise<string> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  conn.setNoDelay(true);
  for (const chunk of chunks) {
    const bytes = typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk;
    for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
  }
  let text = "";
  const buffer = new Uint8Array(4096);
  while (!text.includes("\n")) {
    try {
      const count = await deadline(conn.read(buffer), LIMIT_MS);
      if (count === null) break;
      text += new TextDecoder().decode(buffer.subarray(0, count));
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
      break;
    }
  }
  return text;
}

Deno.test("a node takes the client's address from a trusted balancer's header, of either version", () =>
  withNode(
    ["--proxy-protocol", "on", "--trusted-proxies", "127.0.0.1/32"],
    async (node, logged) => {
      const { port } = node;
      const v1 = "PROXY TCP4 203.0.113.7 198.51.100.1 50000 8000\r\n";
      assertMatch(await firstLine(port, v1 + LOGIN), REFUSED);
      await logged(/"remote":"203\.0\.113\.7"|remote=203\.0\.113\.7/);

      assertMatch(await firstLine(port, v1.slice(0, 20), v1.slice(20), LOGIN), REFUSED);

      const address = [32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]; // 2001:db8::7
      const v2 = Uint8Array.from([
        ...[0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a],
        ...[0x21, 0x21, 0, 36],
        ...address,
        ...address,
        ...[0xc3, 0x50, 0x1f, 0x40],
      ]);
      assertMatch(await firstLine(port, v2, LOGIN), REFUSED);
      await logged(/"remote":"2001:db8::7"|remote=2001:db8::7/);

      // The balancer's own probe, and one that sends nothing, are no clients of anybody.
      assertMatch(await firstLine(port, "PROXY UNKNOWN\r\n", LOGIN), REFUSED);
      await logged(/"remote":"127\.0\.0\.1"|remote=127\.0\.0\.1/);

      assertEquals(await firstLine(port, LOGIN), "");
      await logged(/no PROXY header/);
      assertEquals(await firstLine(port, "PROXY TCP4 203.0.113.999 1.1.1.1 1 1\r\n", LOGIN), "");
      await logged(/wrong address/);
    },
  ));

Deno.test("a header of anybody else is not believed, and clients without one are served", () =>
  withNode(
    ["--proxy-protocol", "on", "--trusted-proxies", "10.0.0.0/8"],
    async ({ port }, logged) => {
      assertMatch(await firstLine(port, LOGIN), REFUSED);

      const forged = await firstLine(port, "PROXY TCP4 203.0.113.7 1.1.1.1 1 1\r\n", LOGIN);

      assertMatch(forged, /"errno":4/);
      await logged(/protocol_error/);
      await logged(/a PROXY header came unexpected/);
      await logged(/"remote":"127\.0\.0\.1"|remote=127\.0\.0\.1/);
    },
  ));

Deno.test("a node that stops does not wait for a header", () =>
  withNode(["--proxy-protocol", "on"], async (node) => {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port: node.port });
    await conn.write(new TextEncoder().encode("PROXY TCP4 "));
    const stopped = await deadline(node.stop(), LIMIT_MS);

    assertEquals(stopped.code, 0);
    assert(!node.running);
  }));

Deno.test("a header that does not come is not awaited for ever", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  await client.write(new TextEncoder().encode("PROXY"));

  const socket = await listener.accept();
  const result = await deadline(readProxyHeader(socket, 50), LIMIT_MS);

  assertEquals(result, { ok: false, reason: "no PROXY header within 50 ms" });
});
