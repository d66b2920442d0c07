/** Which pushes of one session may go out, and in which order. */

import { assertEquals } from "@std/assert";
import { MAX_UNRECEIPTED } from "@chat/wire/limits.ts";
import { midAt } from "../actors/hlc.ts";
import type { Message } from "../actors/ports.ts";
import { Delivery, type Outlet, Session } from "../actors/session.ts";

const NOW = 1_700_000_000_000;
const GROUP = 7;

function mid(n: number): string {
  return midAt(NOW + n);
}

/** A group's message from `from`, stamped `n`th; `prev` is the number of that sender's previous one. */
function message(from: number, n: number, prev?: number): Delivery {
  const of: Message = {
    mid: mid(n),
    cid: `${n}`,
    from,
    name: `user${from}`,
    ts: NOW + n,
    toid: 0,
    groupid: GROUP,
    msg: "text",
    extra: "",
    prev: prev === undefined ? "" : mid(prev),
  };
  return new Delivery(of, 0, false);
}

function session(): { session: Session; sent: string[]; pulls: () => number } {
  const sent: string[] = [];
  let pulls = 0;
  const outlet: Outlet = {
    sendPush: (_, delivery) => void sent.push(delivery.message.mid),
    received: () => {},
    wantsPull: () => void pulls++,
  };
  const session = new Session(1, "", outlet, () => {}, (error) => {
    throw error;
  });
  session.v = 2;
  session.begin(9, "bob", NOW);
  session.endPass();
  return { session, sent, pulls: () => pulls };
}

Deno.test("a reply does not overtake what it answers while that waits for its predecessor", () => {
  const { session: bob, sent, pulls } = session();

  bob.push(message(1, 2, 1)); // its predecessor is not here
  bob.push(message(2, 3)); // answers it; nothing is missing before it
  const complete = bob.endPass(); // the rows had neither
  const before = [...sent];
  for (const row of [message(1, 1), message(1, 2, 1), message(2, 3)]) bob.pushRow(row);
  const completeWithRows = bob.endPass();

  assertEquals(pulls(), 1);
  assertEquals([complete, completeWithRows], [false, true]);
  assertEquals(before, []);
  assertEquals(sent, [mid(1), mid(2), mid(3)]);
});

Deno.test("what was not sent for want of receipts is not taken for sent", () => {
  const { session: bob, sent } = session();
  for (let n = 1; n <= MAX_UNRECEIPTED; n++) bob.push(message(1, n, n - 1 || undefined));
  const next = MAX_UNRECEIPTED + 1;

  bob.push(message(1, next, next - 1)); // too much is out
  for (let n = 1; n <= MAX_UNRECEIPTED / 2; n++) bob.receipt(mid(n)); // pulls
  bob.push(message(1, next + 1, next)); // held: the one before it is in no row yet
  const complete = bob.endPass();
  bob.pushRow(message(1, next, next - 1));
  bob.endPass();

  assertEquals(complete, false);
  assertEquals(sent.slice(-2), [mid(next), mid(next + 1)]);
});
