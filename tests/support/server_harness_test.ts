/** The harness itself: a server that starts, stops, is killed, starts again with its data. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { TestServer } from "./server_harness.ts";

Deno.test("a server started again after SIGKILL has its port and its users", async () => {
  await using server = await TestServer.start();
  const { port } = server;
  let id: number;
  {
    await using alice = await server.connect();
    id = await alice.enter("alice");
    await server.kill9();
    await alice.closed();
  }

  await server.restart();

  assertEquals(server.port, port);
  await using alice = await server.connect();
  assertEquals((await alice.login(id)).errno, 0);
  const exit = await server.stop();
  assertEquals(exit.code, 0);
  assertEquals((await alice.expect(MSGID.BYE)).errno, 9);
});

Deno.test("a message that does not come fails the test, and says what came", async () => {
  await using server = await TestServer.start({ workers: 0 });
  await using peer = await server.connect();
  await peer.enter("alice");
  await peer.fence();

  const error = await assertRejects(() => peer.expect(MSGID.PRESENCE, undefined, 20), Error);

  assert(error.message.includes("20 ms without msgid 20"), error.message);
});
