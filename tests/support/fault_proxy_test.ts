/** The fault proxy itself: a fault that does nothing would make other tests pass for no reason. */

import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { FaultProxy } from "./fault_proxy.ts";

const LIMIT_MS = 5_000;

/** Answers every byte with itself. */
function echoServer(): { port: number; close(): Promise<void> } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const echo = async (conn: Deno.Conn) => {
    try {
      await conn.readable.pipeTo(conn.writable);
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error; // a cut connection
    }
  };
  const serving: Promise<void>[] = [];
  const accept = async () => {
    for await (const conn of listener) serving.push(echo(conn));
  };
  const accepting = accept();
  return {
    port: listener.addr.port,
    async close() {
      listener.close();
      await accepting;
      await Promise.all(serving);
    },
  };
}

/** A client that reads exactly what is asked for. */
class Client {
  readonly #conn: Deno.TcpConn;
  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }
  static async to(port: number): Promise<Client> {
    return new Client(await Deno.connect({ hostname: "127.0.0.1", port }));
  }
  async send(text: string): Promise<void> {
    await this.#conn.write(new TextEncoder().encode(text));
  }
  /** Text up to `length` bytes; shorter when the connection ends before, by a close or a reset. */
  async receive(length: number): Promise<string> {
    const bytes = new Uint8Array(length);
    let have = 0;
    try {
      while (have < length) {
        const count = await deadline(this.#conn.read(bytes.subarray(have)), LIMIT_MS);
        if (count === null) break;
        have += count;
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
    }
    return new TextDecoder().decode(bytes.subarray(0, have));
  }
  close(): void {
    this.#conn.close();
  }
}

async function withProxy(body: (proxy: FaultProxy) => Promise<void>): Promise<void> {
  const server = echoServer();
  const proxy = new FaultProxy(server.port);
  try {
    await body(proxy);
  } finally {
    await proxy.close();
    await server.close();
  }
}

Deno.test("the proxy without a fault passes all bytes both ways, and an end", () =>
  withProxy(async (proxy) => {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
    const sent = crypto.getRandomValues(new Uint8Array(50_000));
    const reading = new Response(conn.readable).arrayBuffer();
    for (let at = 0; at < sent.length;) at += await conn.write(sent.subarray(at));
    await conn.closeWrite();

    assertEquals(new Uint8Array(await deadline(reading, LIMIT_MS)), sent);
  }));

Deno.test("a stalled connection is open and silent; healing delivers what waited", () =>
  withProxy(async (proxy) => {
    const old = await Client.to(proxy.port);
    await old.send("before");
    assertEquals(await old.receive(6), "before");

    proxy.stall();
    await old.send("during");
    const fresh = await Client.to(proxy.port);
    await fresh.send("fresh");
    let early = "";
    const answers = Promise.all([old.receive(6), fresh.receive(5)]).then((texts) => {
      early ||= "nothing";
      return texts;
    });
    // The fence: bytes over an unfaulted path take less time than this to come back.
    const direct = await Client.to(proxy.target);
    for (let i = 0; i < 20; i++) {
      await direct.send("fence");
      assertEquals(await direct.receive(5), "fence");
    }
    direct.close();
    assertEquals(early, "");

    proxy.heal();
    assertEquals(await answers, ["during", "fresh"]);
    old.close();
    fresh.close();
  }));

Deno.test("a stall in one direction lets the other pass", () =>
  withProxy(async (proxy) => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    proxy.target = listener.addr.port;
    const client = await Client.to(proxy.port);
    const server = new Client(await listener.accept());

    proxy.stall("toClient");
    await client.send("up");
    assertEquals(await server.receive(2), "up");
    await server.send("down");
    proxy.heal();
    assertEquals(await client.receive(4), "down");
    client.close();
    server.close();
  }));

Deno.test("a cut ends every connection; new ones work", () =>
  withProxy(async (proxy) => {
    const clients = await Promise.all([1, 2, 3].map(() => Client.to(proxy.port)));
    for (const client of clients) {
      await client.send("x");
      assertEquals(await client.receive(1), "x");
    }
    assertEquals(proxy.connections, 3);

    proxy.cut();
    for (const client of clients) assertEquals(await client.receive(1), "");
    const again = await Client.to(proxy.port);
    await again.send("y");

    assertEquals(await again.receive(1), "y");
    assertEquals(proxy.accepted, 4);
    for (const client of [...clients, again]) client.close();
  }));

Deno.test("a cut ends stalled connections too", () =>
  withProxy(async (proxy) => {
    const client = await Client.to(proxy.port);
    await client.send("x");
    assertEquals(await client.receive(1), "x");
    proxy.stall();
    await client.send("lost");

    proxy.cut();
    assertEquals(await client.receive(1), "");
    client.close();
  }));

Deno.test("a cut after so many bytes passes exactly these", () =>
  withProxy(async (proxy) => {
    proxy.cutAfter(5, "toClient");
    const client = await Client.to(proxy.port);
    await client.send("abcdefgh");
    assertEquals(await client.receive(8), "abcde");
    client.close();

    proxy.heal();
    const healed = await Client.to(proxy.port);
    await healed.send("abcdefgh");
    assertEquals(await healed.receive(8), "abcdefgh");
    healed.close();
  }));

Deno.test("a delay holds bytes up for its time and keeps their order", () =>
  withProxy(async (proxy) => {
    const client = await Client.to(proxy.port);
    proxy.delay(50);
    const start = performance.now();
    await client.send("one");
    await client.send("two");
    assertEquals(await client.receive(6), "onetwo");
    const tookMs = performance.now() - start;
    assert(tookMs >= 95, `50 ms each way, took ${tookMs}`);
    client.close();
  }));

Deno.test("a refusing proxy closes new connections and keeps old ones", () =>
  withProxy(async (proxy) => {
    const old = await Client.to(proxy.port);
    await old.send("a");
    assertEquals(await old.receive(1), "a");

    proxy.refuse();
    const refused = await Client.to(proxy.port);
    assertEquals(await refused.receive(1), "");
    await old.send("b");
    assertEquals(await old.receive(1), "b");
    refused.close();
    old.close();
  }));

Deno.test("a proxy whose server is away closes the connection", () =>
  withProxy(async (proxy) => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    proxy.target = listener.addr.port;
    listener.close();
    const client = await Client.to(proxy.port);
    assertEquals(await client.receive(1), "");
    client.close();
  }));
