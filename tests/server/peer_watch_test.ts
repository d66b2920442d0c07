/** What becomes of peers that are silent, read nothing or do not log in. */

import { assertEquals } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import type { SessionMemo } from "../../actors/runtime/lane.ts";
import type { CloseReason } from "../../server/sockets/close_reason.ts";
import type { Connection } from "../../server/sockets/connection.ts";
import { PeerWatch, TICK_MS } from "../../server/sockets/peer_watch.ts";
import { FakeClock, microtasks } from "../support/fake_clock.ts";
import { loneConnection } from "../support/lone_connection.ts";

const SILENT_MS = 10_000;
const LOGIN_MS = 4_000;

/** A peer on a watched connection: what it was told, and a look each tick while time goes by. */
function watched(memo: Partial<SessionMemo>, options: { loginMs?: number; takes?: boolean } = {}) {
  const clock = new FakeClock();
  const connections = new Map<number, Connection>();
  const told: number[] = [];
  const closed: CloseReason[] = [];
  let hears = (_text: string) => {};
  const watch = new PeerWatch(connections, SILENT_MS, options.loginMs ?? 0, () => clock.now());
  const connection = loneConnection({
    conn: 64,
    clock,
    now: watch.now,
    socket: {
      read: (buffer) =>
        new Promise((resolve) =>
          hears = (text) => resolve(new TextEncoder().encodeInto(text, buffer).written)
        ),
      write(bytes) {
        if (options.takes === false) return new Promise(() => {});
        told.push(JSON.parse(new TextDecoder().decode(bytes)).msgid);
        return Promise.resolve(bytes.length);
      },
    },
    onClosed(reason) {
      closed.push(reason);
      connections.delete(64);
    },
  });
  connections.set(64, connection);
  connection.memo = {
    ...{
      conn: 64,
      v: 2,
      user: 7,
      name: "x",
      tokenId: "",
      device: "",
      refused: undefined,
      leftBy: undefined,
    },
    ...{ wantsDelivered: false, wantsTyping: false },
    ...memo,
  };
  void connection.run(new Uint8Array());
  return {
    connection,
    watch,
    told,
    closed,
    async says(text: string) {
      hears(text);
      await microtasks();
    },
    async passes(ms: number) {
      for (let passed = 0; passed < ms; passed += TICK_MS) {
        await clock.advance(TICK_MS);
        watch.look();
        await microtasks();
      }
    },
  };
}

Deno.test("a silent v2 peer is asked once, and closed when it says nothing for as long again", async () => {
  const it = watched({});
  await it.passes(SILENT_MS);
  assertEquals(it.told, []);
  await it.passes(SILENT_MS);
  assertEquals([it.told, it.closed], [[MSGID.PING], []]);
  await it.passes(TICK_MS);
  assertEquals([it.told, it.closed], [[MSGID.PING, MSGID.BYE], ["silent"]]);
});

Deno.test("a peer that answers within the tick of its PING is asked again when it is silent again", async () => {
  const it = watched({});
  for (let n = 1; n <= 3; n++) {
    await it.passes(SILENT_MS + TICK_MS);
    assertEquals(it.told, Array(n).fill(MSGID.PING));
    await it.says(`{"msgid":${MSGID.PONG}}`);
  }
  assertEquals(it.closed, []);
});

Deno.test("a v1 peer may be silent, but not read nothing of what it is written", async () => {
  const silent = watched({ v: 1 });
  const stuck = watched({ v: 1 }, { takes: false });
  stuck.connection.send(new TextEncoder().encode("{}\n"));
  for (const it of [silent, stuck]) await it.passes(2 * SILENT_MS);
  assertEquals([silent.closed, stuck.closed], [[], []]);
  for (const it of [silent, stuck]) await it.passes(2_000);
  assertEquals([silent.closed, stuck.closed], [[], ["slow_reader"]]);
});

Deno.test("who does not log in is closed in time, if there is one; who has logged out has it anew", async () => {
  const never = watched({ user: 0 }, { loginMs: LOGIN_MS });
  const unlimited = watched({ user: 0 });
  const left = watched({ user: 7 }, { loginMs: LOGIN_MS });
  await left.passes(LOGIN_MS + TICK_MS);
  const memo = left.connection.memo;
  left.connection.memo = memo && { ...memo, user: 0 };
  for (const it of [never, unlimited, left]) await it.passes(LOGIN_MS);
  assertEquals([never.closed, unlimited.closed, left.closed], [[], [], []]);
  for (const it of [never, unlimited, left]) await it.passes(TICK_MS);
  assertEquals([never.closed, unlimited.closed, left.closed], [
    ["login_timeout"],
    [],
    ["login_timeout"],
  ]);
});

Deno.test("a node that stood still, or whose clock jumped, blames nobody for its own silence", async () => {
  const clock = new FakeClock();
  let jump = 0;
  const connections = new Map<number, Connection>();
  const watch = new PeerWatch(connections, SILENT_MS, LOGIN_MS, () => clock.now() + jump);
  const began = watch.now();
  for (const [ms, seen] of [[3_600_000, 1_000], [-7_200_000, 1_000], [500, 1_500]] as const) {
    jump += ms;
    watch.look();
    assertEquals(watch.now() - began, seen);
  }
  await clock.advance(TICK_MS);
  watch.look();
  assertEquals(watch.now() - began, 2_000);
});
