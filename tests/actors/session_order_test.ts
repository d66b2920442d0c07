/** Which pushes of one session may go out, and in which order. */

import { assertEquals } from "@std/assert";
import { MAX_UNRECEIPTED } from "@chat/wire/limits.ts";
import { midAt } from "../../actors/hlc.ts";
import type { Message } from "../../actors/ports.ts";
import { pull } from "../../actors/worker/pull.ts";
import { Delivery } from "../../actors/sessions/delivery.ts";
import { type Outlet, Session } from "../../actors/sessions/session.ts";

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

Deno.test("a row does not overtake what was pushed and is not committed yet, for a while", () => {
  const { session: bob, sent } = session();
  bob.push(message(1, 2, 1)); // its predecessor is not here: pulls

  bob.pushRow(message(2, 3), true); // may answer it
  const complete = bob.endPass();
  bob.pushRow(message(2, 3), false);

  assertEquals(complete, false);
  assertEquals(sent, [mid(3)]);
});

Deno.test("what is held and may go goes before a row that may answer it", () => {
  const { session: bob, sent } = session();
  bob.pull();
  bob.push(message(1, 1)); // held, as rows are being read

  bob.pushRow(message(2, 2), true);
  const complete = bob.endPass();

  assertEquals(complete, true);
  assertEquals(sent, [mid(1), mid(2)]);
});

Deno.test("an attempt that its sender's next one has overtaken is not waited for", () => {
  const { session: bob, sent } = session();
  bob.push(message(1, 5, 4)); // its predecessor is not here: pulls
  const again = message(1, 2);
  const stored = new Delivery({ ...again.message, cid: "5" }, 0, false);

  bob.pushRow(stored, true);
  bob.pushRow(message(2, 6), true);

  assertEquals(bob.endPass(), true);
  assertEquals(sent, [mid(2), mid(6)]);
});

Deno.test("a row that is committed below the page just read comes before its sender's next one", async () => {
  const { session: bob, sent } = session();
  bob.pull();
  const rows = Array.from({ length: 200 }, (_, n) => message(2, 10 * (n + 1)).message);
  const late = [message(1, 1_995).message, message(1, 2_005, 1_995).message];

  await pull(bob, {
    clock: { now: () => NOW + 3_000, after: () => () => {} },
    pending: (_, after, limit) => {
      const page = rows.filter((m) => m.mid > after).slice(0, limit);
      rows.push(...late.splice(0));
      rows.sort((a, b) => a.mid < b.mid ? -1 : 1);
      return Promise.resolve(page);
    },
    observe: () => {},
    onFailure: (error) => {
      throw error;
    },
    random: () => 0,
  });

  assertEquals(sent.slice(-3), [mid(2_000), mid(1_995), mid(2_005)]);
  assertEquals(sent.length, 202);
});

Deno.test("whoever has logged out leaves nothing behind of what was pushed", () => {
  const { session: bob } = session();
  bob.push(message(1, 1));
  assertEquals(bob.newestIn(GROUP), { from: 1, mid: mid(1) });

  bob.end();

  assertEquals(bob.newestIn(GROUP), undefined);
});
