/** The client's end of one TCP connection, where a real one would not fail at the wanted moment. */

import { assertEquals } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { TcpSocket, type Wire } from "../../client/transport/socket.ts";

/** A connection whose writes fail; what the server had said before is read when the test says so. */
class HalfDead implements Wire {
  readonly last = Promise.withResolvers<Uint8Array | null>();
  #isRead = false;
  closed = false;

  write(): Promise<number> {
    return Promise.reject(new Deno.errors.BrokenPipe("Broken pipe"));
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const bytes = await this.last.promise;
    if (bytes === null || this.#isRead) return null;
    this.#isRead = true;
    buffer.set(bytes);
    return bytes.length;
  }

  close(): void {
    this.closed = true;
  }
}

/** What a socket over this connection reports, until it has closed. */
function report(wire: Wire) {
  const seen: string[] = [];
  const end = Promise.withResolvers<void>();
  const socket = new TcpSocket(wire, {
    onMessage: (message) => seen.push(`msgid ${message.msgid}`),
    onMalformed: (why) => seen.push(why),
    onClose(reason) {
      seen.push(reason);
      end.resolve();
    },
  }, () => 0);
  return { socket, seen, ended: end.promise };
}

Deno.test("a server's last words are heard although it takes nothing any more", async () => {
  const wire = new HalfDead();
  const { socket, seen, ended } = report(wire);

  assertEquals(socket.sendText("{}"), true);
  await socket.flushed();
  assertEquals([socket.sendText("{}"), socket.closed], [false, false]);
  const bye = { msgid: MSGID.BYE, errno: 9, errmsg: "the node stops", retryAfterMs: 5 };
  wire.last.resolve(new TextEncoder().encode(JSON.stringify(bye) + "\n"));
  await ended;

  assertEquals(seen, [`msgid ${MSGID.BYE}`, "the server closed the connection"]);
  assertEquals(wire.closed, true);
});

Deno.test("a server that takes nothing and says nothing is given up soon", async () => {
  const wire = new HalfDead();
  const { socket, seen, ended } = report(wire);

  socket.sendText("{}");
  await ended;

  assertEquals(seen, ["connection lost: Broken pipe"]);
  assertEquals([socket.closed, wire.closed], [true, true]);
  wire.last.resolve(null);
});
