/** What a connection was pushed and has not confirmed: bounded, and counted for the right user. */

import { assertEquals } from "@std/assert";
import { MAX_UNRECEIPTED } from "@chat/wire/limits.ts";
import { Delivery } from "../../actors/sessions/delivery.ts";
import type { Message } from "../../actors/ports.ts";
import { PushWindow } from "../../actors/sessions/push_window.ts";

const [ALICE, BOB] = [1, 2];
const REMOTE = 65;

function delivery(mid: string, msg = "text", origin = 0): Delivery {
  const message: Message = {
    mid,
    cid: mid,
    from: 9,
    name: "carol",
    ts: 0,
    toid: ALICE,
    groupid: 0,
    msg,
    extra: "",
    prev: "",
  };
  return new Delivery(message, origin, false);
}

function window(maxUnits?: number): { window: PushWindow; received: [number, string][] } {
  const received: [number, string][] = [];
  const outlet = { received: (user: number, mid: string) => void received.push([user, mid]) };
  return { window: new PushWindow(outlet, maxUnits), received };
}

Deno.test("a window is full by number, and goes on at half", () => {
  const { window: it } = window();
  for (let n = 0; n < MAX_UNRECEIPTED; n++) {
    assertEquals(it.isFull, false);
    it.awaitReceipt(delivery(`${n}`));
  }
  assertEquals([it.isFull, it.isHalfEmpty], [true, false]);
  for (let n = 0; n < MAX_UNRECEIPTED / 2; n++) {
    assertEquals(it.isHalfEmpty, false);
    it.receipt(ALICE, `${n}`, false);
  }
  assertEquals([it.isFull, it.isHalfEmpty], [false, true]);
});

Deno.test("a window is full by length, for either version", () => {
  for (const v of [1, 2] as const) {
    const { window: it } = window(1_000);
    const long = delivery("m", "x".repeat(1_000));
    let number = 0;
    if (v === 2) it.awaitReceipt(long);
    else number = it.awaitWriting(long, ALICE);
    assertEquals([it.isFull, it.size], [true, 1], `v${v}`);
    if (v === 2) it.receipt(ALICE, "m", false);
    else it.written(ALICE, number, false);
    assertEquals([it.isFull, it.isHalfEmpty, it.size], [false, true, 0], `v${v}`);
  }
});

Deno.test("writing one push confirms those before it, and none after", () => {
  const { window: it, received } = window();
  const numbers = ["a", "b", "c"].map((mid) => it.awaitWriting(delivery(mid), ALICE));
  it.written(ALICE, numbers[1] ?? 0, false);
  assertEquals(received, [[ALICE, "a"], [ALICE, "b"]]);
  it.written(ALICE, numbers[1] ?? 0, false);
  assertEquals([received.length, it.size], [2, 1]);
});

Deno.test("what is on its way to a v1 socket counts for whom it was pushed to, whoever is there then", () => {
  const { window: it, received } = window(1_000);
  const number = it.awaitWriting(delivery("m", "x".repeat(2_000), REMOTE), ALICE);
  it.end(); // alice logs out, bob logs in
  assertEquals([it.isFull, it.has("m")], [true, true]);
  it.written(BOB, number, false);
  assertEquals(received, [[ALICE, "m"]]);
  assertEquals([it.isFull, it.isRemembered("m")], [false, false]);
});

Deno.test("a receipt is remembered where the row may still be read: elsewhere, or in a page at hand", () => {
  const cases = [
    { mid: "live", origin: 0, pulled: false, isPulling: false, remembered: false },
    { mid: "while pulling", origin: 0, pulled: false, isPulling: true, remembered: true },
    { mid: "a row", origin: 0, pulled: true, isPulling: false, remembered: true },
    { mid: "another node's", origin: REMOTE, pulled: false, isPulling: false, remembered: true },
  ];
  const { window: it } = window();
  for (const { mid, origin, pulled, isPulling, remembered } of cases) {
    const pushed = delivery(mid, "text", origin);
    pushed.pulled = pulled;
    it.awaitReceipt(pushed);
    it.receipt(ALICE, mid, isPulling);
    assertEquals(it.isRemembered(mid), remembered, mid);
  }
  it.receipt(ALICE, "of an earlier connection", false);
  assertEquals(it.has("of an earlier connection"), true);
});

Deno.test("what is handed over in a login's answer has that frame's number", () => {
  const { window: it, received } = window();
  it.passNumber(7);
  assertEquals(it.handOverNumber(), 0);
  it.handOver(delivery("a"), ALICE);
  it.handOver(delivery("b"), ALICE);
  const number = it.handOverNumber();
  assertEquals([number, it.nextNumber()], [8, 9]);
  it.written(ALICE, number, false);
  assertEquals(received, [[ALICE, "a"], [ALICE, "b"]]);
});
