/** One connection over a socket that a test moves by hand. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { MSGID } from "@chat/wire/messages.ts";
import { PUSH_CLOSE, type SessionMemo } from "../../actors/runtime/lane.ts";
import type { CloseReason } from "../../server/sockets/close_reason.ts";
import { Connection, type Socket } from "../../server/sockets/connection.ts";
import { FakeClock, microtasks } from "../support/fake_clock.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const MEMO: SessionMemo = {
  conn: 64,
  v: 2,
  user: 7,
  name: "x",
  tokenId: "",
  device: "",
  wantsDelivered: false,
  wantsTyping: false,
  refused: undefined,
  leftBy: undefined,
};

interface Options {
  readonly v?: 1 | 2;
  readonly maxQueuedBytes?: number;
  readonly maxUnfinished?: number;
  readonly framesPerTick?: number;
  /** Bytes a write takes at most. */
  readonly writeBytes?: number;
  /** Writes wait until `release`. */
  readonly slow?: boolean;
  /** The socket can be half closed. */
  readonly halfCloses?: boolean;
}

function open(options: Options = {}) {
  const clock = new FakeClock();
  const writes: string[] = [];
  const frames: string[] = [];
  const written: number[] = [];
  const closed: CloseReason[] = [];
  const incoming: (Uint8Array | null)[] = [];
  let socketClosed = 0;
  let reads = 0;
  let wake = () => {};
  let release = () => {};
  const socket: Socket = {
    async read(buffer) {
      reads++;
      while (incoming.length === 0) await new Promise<void>((resolve) => wake = resolve);
      const chunk = incoming.shift();
      if (chunk === null || chunk === undefined) return null;
      buffer.set(chunk);
      return chunk.length;
    },
    async write(bytes) {
      if (options.slow) await new Promise<void>((resolve) => release = resolve);
      const count = Math.min(bytes.length, options.writeBytes ?? Infinity);
      writes.push(decode(bytes.subarray(0, count)));
      return count;
    },
    close: () => {
      socketClosed++;
      incoming.push(null);
      wake();
    },
    ...(options.halfCloses ? { closeWrite: () => Promise.resolve() } : {}),
  };
  const connection = new Connection(
    64,
    socket,
    "10.0.0.1",
    {
      maxQueuedBytes: options.maxQueuedBytes ?? 1_000,
      maxFrameBytes: 65_536,
      maxUnfinished: options.maxUnfinished ?? 4,
      framesPerTick: options.framesPerTick ?? 0,
    },
    {
      onFrame: (_, bytes, start, end) => frames.push(decode(bytes.subarray(start, end))),
      onWritten: (_, push) => written.push(push),
      onClosed: (_, reason) => closed.push(reason),
    },
    () => clock.now(),
    (ms, fn) => clock.after(ms, fn),
  );
  if (options.v !== 1) connection.memo = MEMO;
  let hasRun = false;
  void connection.run(new Uint8Array()).then(() => hasRun = true);
  return {
    connection,
    clock,
    writes,
    frames,
    written,
    closed,
    socketClosed: () => socketClosed,
    reads: () => reads,
    hasRun: () => hasRun,
    release: async () => {
      release();
      await microtasks();
    },
    async comes(text: string | null) {
      incoming.push(text === null ? null : encode(text));
      wake();
      await microtasks();
    },
  };
}

Deno.test("to a v1 client each object is a write of its own, and each write is reported", async () => {
  const { connection, writes, written } = open({ v: 1 });
  for (const n of [1, 2, 3]) connection.queue(encode(`{"n":${n}}\n`), n);
  connection.flush();
  await microtasks();
  assertEquals(writes, ['{"n":1}\n', '{"n":2}\n', '{"n":3}\n']);
  assertEquals(written, [1, 2, 3]);
});

Deno.test("to a v2 client what has gathered is one write", async () => {
  const { connection, writes } = open();
  for (const n of [1, 2, 3]) connection.queue(encode(`{"n":${n}}\n`), 0);
  connection.flush();
  await microtasks();
  assertEquals(writes, ['{"n":1}\n{"n":2}\n{"n":3}\n']);
});

Deno.test("bytes arrive in order and whole, however little a write takes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(1 as const, 2 as const),
      fc.integer({ min: 1, max: 40 }),
      fc.array(fc.array(fc.string({ maxLength: 30 }), { maxLength: 5 }), { maxLength: 8 }),
      async (v, writeBytes, turns) => {
        const { connection, writes } = open({ v, writeBytes, maxQueuedBytes: 1e6 });
        for (const turn of turns) {
          for (const text of turn) connection.queue(encode(`${text}\n`), 0);
          connection.flush();
          if (turn.length % 2 === 0) await microtasks();
        }
        for (let i = 0; i < 50; i++) await microtasks();
        assertEquals(writes.join(""), turns.flat().map((text) => `${text}\n`).join(""));
      },
    ),
    { numRuns: 100 },
  );
});

Deno.test("a frame queued while a write is under way keeps its bytes, whatever becomes of the block", async () => {
  const it = open({ slow: true });
  const block = encode('{"a":1}\n{"b":2}\n');
  it.connection.queue(block.subarray(0, 8), 0);
  it.connection.flush();
  it.connection.queue(block.subarray(8), 0);
  block.fill(0x78, 8); // the owner reuses it
  await it.release();
  await it.release();
  assertEquals(it.writes, ['{"a":1}\n', '{"b":2}\n']);
});

Deno.test("a reader that is too slow gets BYE for its last words, and what waited is dropped", async () => {
  const it = open({ slow: true, maxQueuedBytes: 100 });
  const frame = encode(`${"x".repeat(59)}\n`);
  for (let n = 0; n < 5; n++) {
    it.connection.queue(frame, 0);
    it.connection.flush();
  }
  for (let n = 0; n < 5; n++) await it.release();
  assertEquals(it.writes.length, 2, "the write under way, and BYE");
  const bye = JSON.parse(it.writes[1] ?? "");
  assertEquals([bye.msgid, bye.errno, typeof bye.retryAfterMs], [MSGID.BYE, 9, "number"]);
  assertEquals([it.closed, it.socketClosed()], [["slow_reader"], 1]);
});

Deno.test("one large frame alone tells nothing about its reader", async () => {
  const it = open({ maxQueuedBytes: 100 });
  it.connection.queue(encode(`${"x".repeat(5_000)}\n`), 0);
  it.connection.flush();
  await microtasks();
  assertEquals([it.closed, it.writes[0]?.length], [[], 5_001]);
});

Deno.test("a peer that never takes its last words is closed all the same", async () => {
  const it = open({ slow: true });
  it.connection.bye("TRY_LATER", "the node stops", "shutdown");
  await it.clock.advance(500);
  assertEquals(it.closed, []);
  await it.clock.advance(1_000);
  assertEquals([it.closed, it.socketClosed()], [["shutdown"], 1]);
});

Deno.test("an orderly end sends what was queued before it, nothing after it, and takes no frames", async () => {
  const it = open();
  it.connection.queue(encode('{"n":1}\n'), 0);
  it.connection.queue(encode('{"bye":1}\n'), PUSH_CLOSE);
  it.connection.queue(encode('{"n":2}\n'), 0);
  await it.comes('{"msgid":14}');
  it.connection.flush();
  await it.clock.advance(0);
  assertEquals(it.writes, ['{"n":1}\n{"bye":1}\n']);
  assertEquals(it.frames, []);
  assertEquals(it.closed, ["ended_by_session"]);
});

Deno.test("close is done once, by whoever is first", async () => {
  const it = open();
  it.connection.close("read_failed");
  it.connection.close("shutdown");
  it.connection.bye("TRY_LATER", "too late", "shutdown");
  await it.comes(null);
  assertEquals([it.closed, it.socketClosed(), it.writes], [["read_failed"], 1, []]);
  assertEquals(it.clock.armed, 0);
});

Deno.test("a peer that hangs up is closed, and half an object is forgotten", async () => {
  const it = open();
  await it.comes('{"msgid":14}{"msg');
  await it.comes(null);
  assertEquals([it.frames, it.closed, it.writes], [['{"msgid":14}'], ["peer_closed"], []]);
});

Deno.test("a peer that has ended is answered first, then closed; a BYE to it waits for nothing", async () => {
  const answered = open();
  await answered.comes('{"a":1}');
  answered.connection.lastSeq = 1;
  await answered.comes(null);
  const before = [...answered.closed];
  answered.connection.queue(encode("answer\n"), 0);
  answered.connection.flush();
  answered.connection.finished(1, 0);
  await microtasks();
  const told = open();
  await told.comes('{"a":1}');
  told.connection.lastSeq = 1;
  await told.comes(null);
  told.connection.queue(encode("bye\n"), PUSH_CLOSE);
  told.connection.flush();
  told.connection.finished(1, 0);
  await microtasks();

  assertEquals([before, answered.writes, answered.closed], [[], ["answer\n"], ["peer_closed"]]);
  assertEquals([told.writes, told.closed, told.socketClosed()], [
    ["bye\n"],
    ["ended_by_session"],
    1,
  ]);
});

Deno.test("what a v1 peer is written after it has ended counts as received by nobody", async () => {
  for (const [v, received] of [[1, []], [2, [7]]] as const) {
    const it = open({ v });
    await it.comes('{"a":1}');
    it.connection.lastSeq = 1;
    await it.comes(null);
    it.connection.queue(encode("push\n"), 7);
    it.connection.flush();
    it.connection.finished(1, 0);
    await microtasks();

    assertEquals([it.writes, it.written], [["push\n"], [...received]]);
  }
});

Deno.test("reading stops while too many frames are unfinished, and goes on when half of them are", async () => {
  const it = open({ maxUnfinished: 4 });
  await it.comes("{}".repeat(6));
  const { frames, connection } = it;
  assertEquals(frames.length, 6);
  const before = it.reads();
  await it.comes("{}{}");
  assertEquals([frames.length, it.reads()], [6, before], "nothing is read");
  connection.finished(3, 3);
  await microtasks();
  assertEquals(frames.length, 6);
  connection.finished(4, 2);
  await microtasks();
  assertEquals(frames.length, 8);
});

Deno.test("who sends too fast is read more slowly, told, and in the end closed", async () => {
  const it = open({ framesPerTick: 2, maxUnfinished: 1_000_000 });
  await it.comes("{}".repeat(200));
  for (let tick = 0; tick < 100 && it.closed.length === 0; tick++) {
    it.connection.tick();
    await microtasks();
  }
  const said = it.writes.join("").trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(said.map((m) => [m.msgid, m.errno]), [[MSGID.ERROR, 7], [MSGID.BYE, 7]]);
  assertEquals(it.closed, ["too_fast"]);
});

Deno.test("whoever may be read no further is read to the end all the same once the BYE is written", async () => {
  for (const limits of [{ framesPerTick: 1 }, { maxUnfinished: 0 }]) {
    const { connection, comes, reads, frames, closed, socketClosed, hasRun } = open({
      ...limits,
      halfCloses: true,
    });
    await comes('{"a":1}');
    connection.bye("TOO_FAST", "too fast", "too_fast");
    await microtasks();
    assertEquals([closed, socketClosed()], [["too_fast"], 0]);

    for (const n of [2, 3, 4]) await comes(`{"a":${n}}`);
    const readUntil = reads();
    await comes(null);

    assertEquals([readUntil, frames.length], [5, 1]);
    assertEquals([socketClosed(), hasRun()], [1, true]);
  }
});

Deno.test("garbage and oversize end the connection with their errno", async () => {
  for (const [text, errno] of [["hello", 4], [`{"a":"${"x".repeat(70_000)}`, 8]] as const) {
    const it = open();
    for (let at = 0; at < text.length; at += 400) await it.comes(text.slice(at, at + 400));
    await it.clock.advance(0);
    assertEquals(JSON.parse(it.writes[0] ?? "").errno, errno);
    assertEquals(it.closed, ["protocol_error"]);
  }
});

Deno.test("it is known how long a peer takes nothing of what is being written", async () => {
  const it = open({ slow: true });
  assertEquals(it.connection.stuckSince, undefined);
  it.connection.send(encode("{}\n"));
  const since = it.clock.now();
  await it.clock.advance(5_000);
  assertEquals(it.connection.stuckSince, since);
  await it.release();
  assertEquals(it.connection.stuckSince, undefined);
  assert(!it.connection.closed);
});
