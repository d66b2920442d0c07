/**
 * The innocent beside an attack: two people who chat every 50 ms, a third who logs in every second, and
 * somebody who looks at /readyz and at the node's memory. What they meet is the verdict.
 */

import { MAX_RECEIPTS } from "@chat/wire/limits.ts";
import { MSGID } from "@chat/wire/messages.ts";
import type { TestPeer } from "../support/test_peer.ts";
import { Writer } from "./writer.ts";

/** What the innocent may meet at worst. Source: the promise in docs/operations.md. */
export const BOUNDS = {
  ackP99Ms: 250,
  loginMs: 2_000,
  memoryBytes: 500 * 1_024 * 1_024,
} as const;

const CHAT_EVERY_MS = 50;
const LOGIN_EVERY_MS = 1_000;
const LOOK_EVERY_MS = 250;
/** Log-ins tried before the attack's innocent counts as kept out. */
const MAX_LOGINS = 100;
/** How long what was acknowledged may take to arrive when the attack is over, ms. */
const ARRIVE_MS = 20_000;

/** What the innocent needs to know. */
export interface InnocentOptions {
  /** A connection from an address of its own. @param far To the other node, where there is one. */
  connect(from: string, far?: "far"): Promise<TestPeer>;
  readyz(): Promise<number>;
  memoryBytes(): number;
  /** What the node took before the first attack. */
  readonly restBytes: number;
  /** The bounds are this many times as wide. */
  readonly slack: number;
  readonly alice: number;
  readonly bob: number;
  readonly carol: number;
}

/** What they have met. */
export interface Report {
  readonly acks: number;
  readonly p50: number;
  readonly p99: number;
  readonly loginMs: number;
  readonly memoryBytes: number;
  /** How often a message was put off; it came again, and its time counts from the first sending. */
  readonly putOff: number;
  /** Longest that the innocent's own thread was late, ms: of what they met that much is not the node's. */
  readonly ownMs: number;
  /** What was wrong, in words; empty when all held. */
  readonly wrong: readonly string[];
}

/** Goes on until `until` (epoch ms), then waits for what is on its way. */
export async function innocent(options: InnocentOptions, until: number): Promise<Report> {
  const { connect, alice, bob, carol } = options;
  const wrong: string[] = [];
  const [one, two] = [await connect("192.0.2.1"), await connect("192.0.2.2", "far")];
  for (const [peer, id] of [[one, alice], [two, bob]] as const) {
    // Of the attack before: the end of their sessions may be on its way still.
    for (let tries = 0; (await peer.login(id)).errno !== 0; tries++) {
      if (tries === MAX_LOGINS) throw new Error(`user ${id} does not get in`);
      await pause(50);
    }
  }
  const run = crypto.randomUUID();
  const writer = new Writer(one, bob);
  const { acknowledged, times } = writer;
  const arrived = new Set<unknown>();
  let [loginMs, memory, unready, ownMs] = [0, 0, 0, 0];
  /** Everything was sent, and what will be acknowledged is. */
  let isSaid = false;
  const isOver = () => Date.now() >= until;

  const receive = async () => {
    const isMissing = () => [...acknowledged].some((cid) => !arrived.has(cid));
    while (!isSaid || (isMissing() && Date.now() < until + ARRIVE_MS)) {
      await pause(CHAT_EVERY_MS / 2);
      const pushes = two.takeAll(MSGID.ONE_CHAT);
      if (pushes.length === 0) continue;
      for (let at = 0; at < pushes.length; at += MAX_RECEIPTS) {
        const mids = pushes.slice(at, at + MAX_RECEIPTS).map(({ mid }) => mid);
        await two.send({ msgid: MSGID.RECV_ACK, mids });
      }
      for (const { id, cid } of pushes) {
        if (id !== alice) continue;
        if (arrived.has(cid)) wrong.push(`${cid} came twice`);
        arrived.add(cid);
      }
    }
  };
  const chat = async () => {
    const reading = writer.read();
    reading.catch(() => {}); // looked at below
    try {
      for (let n = 0; !isOver(); n++) {
        await writer.write(`${run} ${n}`, `${n}`);
        const due = performance.now() + CHAT_EVERY_MS;
        await pause(CHAT_EVERY_MS);
        ownMs = Math.max(ownMs, performance.now() - due);
      }
      await writer.finish(ARRIVE_MS);
      await reading;
    } finally {
      isSaid = true;
    }
  };
  const logIn = async () => {
    while (!isOver()) {
      const began = performance.now();
      const peer = await connect("192.0.2.3");
      const { errno } = await peer.login(carol);
      loginMs = Math.max(loginMs, performance.now() - began);
      // Of the session before: its end may be on its way still.
      if (errno !== 0 && errno !== 2) wrong.push(`a log-in was refused: errno ${errno}`);
      if (errno === 0) await peer.ask({ msgid: MSGID.LOGOUT });
      await peer[Symbol.asyncDispose]();
      await pause(LOGIN_EVERY_MS);
    }
  };
  const look = async () => {
    while (!isOver()) {
      memory = Math.max(memory, options.memoryBytes());
      if (await options.readyz() !== 200) unready++;
      await pause(LOOK_EVERY_MS);
    }
  };
  const all = await Promise.allSettled([chat(), receive(), logIn(), look()]);
  for (const one of all) {
    if (one.status === "rejected") wrong.push(String(one.reason).slice(0, 200));
  }
  wrong.push(...writer.refused);
  for (const peer of [one, two]) await peer[Symbol.asyncDispose]();

  times.sort((a, b) => a - b);
  const at = (part: number) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
  const [p50 = Infinity, p99 = Infinity] = [at(0.5), at(0.99)];
  if (p99 > options.slack * BOUNDS.ackP99Ms) {
    wrong.push(`acknowledged after ${Math.round(p99)} ms (p99)`);
  }
  if (loginMs > options.slack * BOUNDS.loginMs) {
    wrong.push(`a log-in took ${Math.round(loginMs)} ms`);
  }
  if (unready > 0) wrong.push(`/readyz was not 200, ${unready} times`);
  const memoryBytes = memory - options.restBytes;
  if (memoryBytes > BOUNDS.memoryBytes) {
    wrong.push(`memory grew by ${Math.round(memoryBytes / 1_048_576)} MiB`);
  }
  const lost = [...acknowledged].filter((cid) => !arrived.has(cid)).length;
  if (lost > 0) wrong.push(`${lost} acknowledged messages did not arrive`);
  return {
    acks: times.length,
    p50,
    p99,
    loginMs,
    memoryBytes,
    putOff: writer.putOff,
    ownMs,
    wrong,
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
