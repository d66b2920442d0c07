/**
 * Random byte streams through everything between a socket and the database: nothing crashes, every
 * complete object is handled once, answers are neither missing nor doubled, memory stays flat.
 *
 * To replay a failure: CHAT_FUZZ_SEED=<the seed it printed> deno task test tests/fuzz/fuzz_test.ts
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { assert, assertEquals } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import { FuzzNode, FuzzPeer, type Sent } from "./node.ts";
import {
  cut,
  makeStream,
  reference,
  Rng,
  type Sender,
  type Stream,
  type Targets,
} from "./streams.ts";

const SEED = Number(
  Deno.env.get("CHAT_FUZZ_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0],
);
const STREAMS = Number(Deno.env.get("CHAT_FUZZ_STREAMS") ?? 200_000);
/** Connections at a time. */
const SLOTS = 500;
const PASSWORD = "pw";
/** Growth of the JavaScript heap that is no leak: less than 100 bytes a stream. */
const MAX_GROWTH_BYTES = 16 * 1024 * 1024;
const SETTLE_MS = 20_000;
/** Rounds of streams between two looks at the heap. */
const LOOK_EVERY = Math.max(1, Math.floor(STREAMS / SLOTS / 40));

/** One of many connections, used for stream after stream. */
class Slot {
  peer: FuzzPeer | undefined;
  user = 0;
  readonly #node: FuzzNode;
  readonly #name: string;
  readonly v: 1 | 2;
  readonly wantsLogin: boolean;
  answers: Sent[] = [];

  constructor(node: FuzzNode, index: number) {
    this.#node = node;
    this.#name = `slot${index}`;
    this.v = index % 2 === 0 ? 1 : 2;
    this.wantsLogin = index % 5 !== 0;
  }

  get sender(): Sender {
    return { v: this.wantsLogin ? this.v : 1, loggedIn: this.wantsLogin };
  }

  /** Changed bytes may make a LOGOUT. */
  get loggedIn(): boolean {
    return this.peer !== undefined && this.peer.connection.user !== 0;
  }

  /** A connection that is fit for the next stream. */
  prepare(): void {
    this.answers = [];
    if (this.peer !== undefined && this.wantsLogin !== this.loggedIn) this.peer.close();
    if (this.peer === undefined || this.peer.connection.closed) {
      this.peer = new FuzzPeer(this.#node, (m) => void this.answers.push(m));
      const version = this.v === 2 ? { v: 2 } : {};
      const login = { msgid: MSGID.LOGIN, id: this.user, password: PASSWORD, ...version };
      if (this.wantsLogin) this.peer.feedText(JSON.stringify(login));
    }
  }

  register(): void {
    this.peer = new FuzzPeer(this.#node, (m) => {
      if (m.msgid === MSGID.REGISTER_ACK) this.user = Number(m.id);
    });
    this.peer.feedText(
      JSON.stringify({ msgid: MSGID.REGISTER, name: this.#name, password: PASSWORD }),
    );
  }
}

/** What is garbage says nothing about a leak: how much there is of it depends on the collector's mood. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function") throw new Error("the runtime has no gc");
  collect();
}

async function until(done: () => boolean, what: () => string): Promise<void> {
  const end = performance.now() + SETTLE_MS;
  while (!done()) {
    assert(performance.now() < end, what());
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/** Chats of a stream that have to arrive at the sink. */
function owed(slot: Slot, stream: Stream): string[] {
  const { frames, fatal, open } = reference(stream.bytes);
  if (fatal || open || slot.loggedIn !== slot.wantsLogin) return [];
  const starts = new Set(frames.map(([start]) => start));
  return stream.items.filter((item) => starts.has(item.start) && item.toSink !== "")
    .map((item) => item.toSink);
}

/** Compares what came of a stream with what had to; throws with all there is to know. */
function check(slot: Slot, stream: Stream, sunk: ReadonlyMap<string, number>): void {
  const { peer, answers } = slot;
  assert(peer !== undefined);
  const { frames, fatal, open } = reference(stream.bytes);
  const text = new TextDecoder("latin1").decode(stream.bytes);
  assertEquals(peer.frames, frames.map(([start, end]) => text.slice(start, end)), "the frames");
  const bye = answers.some((m) => m.msgid === MSGID.BYE);
  assertEquals(bye, fatal, "BYE ends a stream that is out of step, and no other");
  assertEquals(peer.connection.closed, fatal || open, "closed when it has to be");
  const own = answers.filter((m) => m.msgid !== MSGID.BYE && !isPush(m));
  assert(own.length <= frames.length, `${own.length} answers to ${frames.length} frames`);
  // A connection that closes drops the answers that were not yet due.
  const uncertain = fatal || open || slot.loggedIn !== slot.wantsLogin;
  const starts = new Set(frames.map(([start]) => start));
  const labels = new Map<unknown, number>();
  for (const { req } of own) labels.set(req, (labels.get(req) ?? 0) + 1);
  for (const item of stream.items) {
    // What stands before it may have swallowed it: a quote that was opened, a brace lost.
    if (!starts.has(item.start)) continue;
    const got = labels.get(item.label) ?? 0;
    if (uncertain) assert(got <= 1, `${got} answers to ${item.label}`);
    else assertEquals(got, item.answers, `answers to ${item.label}`);
    if (item.toSink !== "" && !uncertain) {
      assertEquals(sunk.get(item.toSink), 1, `arrivals of ${item.toSink}`);
    }
  }
}

/** The sink's and the slots' own chats; a chat carries no `req` to a v2 client. */
function isPush(m: Sent): boolean {
  return m.msgid === MSGID.ONE_CHAT || m.msgid === MSGID.GROUP_CHAT || m.msgid === MSGID.PRESENCE;
}

Deno.test({
  name: `${STREAMS.toLocaleString("en")} random streams: no crash, every object handled once`,
  async fn() {
    const node = await FuzzNode.start();
    try {
      await fuzz(node);
    } catch (cause) {
      throw new Error(`replay with CHAT_FUZZ_SEED=${SEED} CHAT_FUZZ_STREAMS=${STREAMS}`, { cause });
    } finally {
      await node.stop();
    }
  },
});

/** A user who gets everything and confirms it, and the only member of a group. */
async function openSink(node: FuzzNode) {
  const sunk = new Map<string, number>();
  const state = { id: 0, group: 0, sunk };
  const peer: FuzzPeer = new FuzzPeer(node, (m) => {
    if (m.msgid === MSGID.REGISTER_ACK) state.id = Number(m.id);
    if (m.msgid === MSGID.OK) state.group = Number(m.groupid);
    if (m.msgid !== MSGID.ONE_CHAT) return;
    peer.feedText(JSON.stringify({ msgid: MSGID.RECV_ACK, mids: [m.mid] }));
    sunk.set(String(m.msg), (sunk.get(String(m.msg)) ?? 0) + 1);
  });
  const steps = [
    () => ({ msgid: MSGID.REGISTER, v: 2, name: "sink", password: PASSWORD }),
    () => ({ msgid: MSGID.LOGIN, id: state.id, password: PASSWORD }),
    () => ({ msgid: MSGID.CREATE_GROUP, groupname: "group" }),
  ];
  for (const step of steps) {
    peer.feedText(JSON.stringify(step()));
    await until(() => peer.quiet, () => "the sink logs in");
  }
  assert(state.id > 0 && state.group > 0);
  return state;
}

async function fuzz(node: FuzzNode): Promise<void> {
  const sink = await openSink(node);
  const slots = Array.from({ length: SLOTS }, (_, i) => new Slot(node, i));
  for (const slot of slots) slot.register();
  await until(() => slots.every((slot) => slot.peer?.quiet), () => "registrations");
  for (const slot of slots) slot.peer?.close();
  const [first = 0, ...rest] = slots.map((slot) => slot.user);
  const targets: Targets = { users: [first, ...rest], group: sink.group, sink: sink.id };

  const heaps: number[] = [];
  for (let done = 0; done < STREAMS; done += SLOTS) {
    for (const slot of slots) slot.prepare();
    await until(() => slots.every((slot) => slot.peer?.quiet), () => "logins");
    for (const slot of slots) assertEquals(slot.loggedIn, slot.wantsLogin, "logged in");
    const streams = slots.map((slot, i) => {
      const rng = new Rng(SEED ^ Math.imul(done + i + 1, 0x9e3779b1));
      const stream = makeStream(rng, slot.sender, targets, `${done + i}`);
      slot.answers = [];
      if (slot.peer !== undefined) slot.peer.frames = [];
      for (const chunk of cut(rng, stream.bytes)) slot.peer?.feed(chunk);
      return stream;
    });
    await until(
      () => slots.every((slot) => slot.peer?.quiet),
      () => `stream ${done + slots.findIndex((slot) => !slot.peer?.quiet)} is never done`,
    );
    // The sink has its turns too: what is durable may have yet to be pushed.
    const late = () =>
      slots.flatMap((slot, i) => {
        const stream = streams[i];
        return stream === undefined ? [] : owed(slot, stream);
      }).find((text) => !sink.sunk.has(text));
    await until(() => late() === undefined, () => `${late()} does not arrive`);
    // A stream that ends within an object ends its connection: the next would continue it.
    for (const [i, slot] of slots.entries()) {
      if (reference(streams[i]?.bytes ?? new Uint8Array()).open) slot.peer?.close();
    }
    for (const [i, slot] of slots.entries()) {
      const stream = streams[i];
      if (stream === undefined) continue;
      try {
        check(slot, stream, sink.sunk);
      } catch (error) {
        const what = new TextDecoder().decode(stream.bytes.slice(0, 2_000));
        throw new Error(`stream ${done + i} ${JSON.stringify(what)}`, { cause: error });
      }
    }
    assertEquals(node.complaints, []);
    for (const [text, count] of sink.sunk) assertEquals(count, 1, `arrivals of ${text}`);
    sink.sunk.clear();
    if (done % (SLOTS * LOOK_EVERY) > 0) continue;
    collectGarbage();
    heaps.push(Deno.memoryUsage().heapUsed);
  }

  const quarter = Math.ceil(heaps.length / 4);
  const early = Math.min(...heaps.slice(quarter, 2 * quarter));
  const late = Math.min(...heaps.slice(-quarter));
  assert(late - early < MAX_GROWTH_BYTES, `the heap grew by ${late - early} bytes`);
  assert(node.pool.connections.size <= SLOTS + 1);
  assert(node.online <= SLOTS + 1);
}
