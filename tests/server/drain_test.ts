/** How the clients of a node that stops are sent away. */

import { assert, assertEquals } from "@std/assert";
import type { CloseReason } from "../../server/sockets/close_reason.ts";
import type { Connection } from "../../server/sockets/connection.ts";
import { Drain } from "../../server/sockets/drain.ts";
import { FakeClock, microtasks } from "../support/fake_clock.ts";
import { loneConnection } from "../support/lone_connection.ts";

/** A drain of `count` connections, each with its own peer; `busy`: each has a frame in hand. */
function draining(count: number, busy = false) {
  const clock = new FakeClock();
  const connections = new Map<number, Connection>();
  const drain = new Drain(connections);
  const retries: number[] = [];
  const closed: CloseReason[] = [];
  for (let conn = 1; conn <= count; conn++) {
    const connection = loneConnection({
      conn,
      clock,
      socket: {
        read: () => new Promise(() => {}),
        write(bytes) {
          retries.push(JSON.parse(new TextDecoder().decode(bytes)).retryAfterMs);
          return Promise.resolve(bytes.length);
        },
      },
      onClosed(reason) {
        closed.push(reason);
        connections.delete(conn);
        drain.closed();
      },
    });
    if (busy) connection.lastSeq = 1;
    connections.set(conn, connection);
    drain.opened();
  }
  return { drain, retries, closed };
}

Deno.test("clients are told to go spread over the window, or all at once and spread by themselves", async () => {
  const spread = draining(12);
  const atOnce = draining(100);

  const telling = spread.drain.tellAll(100);
  await microtasks();
  const first = spread.retries.length;
  await telling;
  await atOnce.drain.tellAll(0);
  await microtasks();

  assertEquals([first, spread.retries.length, atOnce.retries.length], [6, 12, 100]);
  assert(Math.max(...spread.retries) <= 200);
  assert(Math.max(...atOnce.retries) <= 2_000 && Math.max(...atOnce.retries) > 200);
});

Deno.test("a drain ends when all are closed and their peers have hung up", async () => {
  const { drain, closed } = draining(2);
  await drain.tellAll(0);
  let gone = false;
  const waiting = drain.untilGone(60_000).then(() => gone = true);
  await microtasks();
  drain.hungUp();
  await microtasks();
  assertEquals([closed, gone], [["shutdown", "shutdown"], false]);

  drain.hungUp();
  await waiting;
});

Deno.test("who has not gone in time is closed", async () => {
  const { drain, closed, retries } = draining(2, true);
  await drain.tellAll(0);
  assertEquals([closed, retries], [[], []]);
  const waiting = drain.untilGone(1);
  for (let n = 0; n < 2; n++) drain.hungUp();

  await waiting;

  assertEquals([closed, retries], [["shutdown", "shutdown"], []]);
});
