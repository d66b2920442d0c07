/**
 * Traffic of real peers while something fails: numbered messages from one user to another, sent
 * again when they are put off, and what the recipient has to have got of them.
 */

import { assert, assertEquals } from "@std/assert";
import { MSGID } from "@chat/wire/messages.ts";
import type { Received, TestPeer } from "./server_harness.ts";

/** Chats without an acknowledgement at a time. */
const WINDOW = 16;
const TRY_LATER = 9;

/** What a flow looks like from outside. */
export interface Flow {
  /** Messages the recipient has got, repeats included. */
  readonly got: readonly number[];
  /** What went wrong meanwhile; `finish` and `progress` throw it. */
  readonly failure: unknown;
  /** Ends the sending and resolves when all that was sent has arrived, and is checked. */
  finish(): Promise<void>;
}

/** v2 to v2: every message acknowledged, arrived, each once by its cid, in order. */
export function flowV2(from: TestPeer, to: TestPeer): Flow {
  const { id: a } = from;
  const { id: b } = to;
  const prefix = crypto.randomUUID().slice(0, 8);
  const cidOf = (n: number) => `${prefix} ${n}`;
  const got: number[] = [];
  const seen = new Set<number>();
  let stopAt = Infinity;
  let failure: unknown;
  const failed = (error: unknown) => void (failure ??= error);

  const send = async (n: number) =>
    await from.send({ msgid: MSGID.ONE_CHAT, toid: b, cid: cidOf(n), msg: `${n}` });
  const sending = (async () => {
    const waiting = new Set<number>();
    for (let next = 0; next < stopAt || waiting.size > 0;) {
      while (next < stopAt && waiting.size < WINDOW) {
        waiting.add(next);
        await send(next++);
      }
      const answer = await from.next();
      const n = [...waiting].find((each) => answer.cid === cidOf(each));
      if (answer.msgid === MSGID.CHAT_ACK && n !== undefined) waiting.delete(n);
      else if (answer.msgid === MSGID.ERROR) {
        assertEquals(answer.errno, TRY_LATER, JSON.stringify(answer));
        // In the order of sending: a later one is not taken before it.
        if (n === Math.min(...waiting)) { for (const each of waiting) await send(each); }
      }
    }
  })().catch(failed);
  const receiving = (async () => {
    while (seen.size < stopAt) {
      const push = await to.expect(MSGID.ONE_CHAT, (m) => m.id === a);
      await to.send({ msgid: MSGID.RECV_ACK, mids: [push.mid] });
      const n = Number(push.msg);
      assertEquals(push.cid, cidOf(n));
      got.push(n);
      if (seen.has(n)) continue;
      assertEquals(n, seen.size, "each message follows the one before it");
      seen.add(n);
    }
  })().catch(failed);
  return {
    got,
    get failure() {
      return failure;
    },
    async finish() {
      stopAt = Math.max(...got, 0) + 2 * WINDOW;
      await sending;
      await receiving;
      if (failure !== undefined) throw failure;
    },
  };
}

/** v1 to v1: a steady stream without acknowledgements; all has to arrive, in order. */
export function flowV1(from: TestPeer, to: TestPeer, everyMs: number): Flow {
  const { id: a } = from;
  const { id: b } = to;
  const got: number[] = [];
  let stopped = false;
  let sent = 0;
  let last = Infinity;
  let failure: unknown;
  const failed = (error: unknown) => void (failure ??= error);

  const sending = (async () => {
    while (!stopped) {
      await from.send({ msgid: MSGID.ONE_CHAT, id: a, to: b, msg: `${sent++}`, time: "t" });
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  })().catch(failed);
  const receiving = (async () => {
    while (got.at(-1) !== last) {
      const push: Received = await to.expect(MSGID.ONE_CHAT);
      assertEquals(push.id, a);
      got.push(Number(push.msg));
    }
  })().catch(failed);
  return {
    got,
    get failure() {
      return failure;
    },
    async finish() {
      stopped = true;
      await sending;
      last = sent; // set before it can arrive
      await from.send({ msgid: MSGID.ONE_CHAT, id: a, to: b, msg: `${sent++}`, time: "t" });
      await receiving;
      if (failure !== undefined) throw failure;
      const firsts = [...new Set(got)];
      const lost = Array.from({ length: sent }, (_, n) => n).filter((n) => !firsts.includes(n));
      const late = firsts.filter((n, i) => n < (firsts[i - 1] ?? -1));
      assertEquals({ lost, late }, { lost: [], late: [] });
      // v1 confirms nothing: what was in a thread's hands when it died may be handed over again.
      const repeats = got.length - firsts.length;
      assert(repeats < sent / 4, `${repeats} repeats of ${sent}`);
    },
  };
}

/** Resolves when every flow has got that many messages more. */
export async function progress(flows: readonly Flow[], more: number): Promise<void> {
  const goals = flows.map((flow) => flow.got.length + more);
  const end = performance.now() + 20_000;
  while (flows.some((flow, i) => flow.got.length < (goals[i] ?? 0))) {
    for (const { failure } of flows) if (failure !== undefined) throw failure;
    assert(performance.now() < end, `no progress: ${flows.map((f) => f.got.length)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
