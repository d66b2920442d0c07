/** The steps in which a connection ends, and the time that each may take. */

import { assertEquals } from "@std/assert";
import { Ending } from "../../server/sockets/ending.ts";
import { FakeClock, microtasks } from "../support/fake_clock.ts";

function begin(closeWrite?: () => Promise<void>) {
  const clock = new FakeClock();
  const did: string[] = [];
  const socket = { close: () => void did.push("socket closed"), closeWrite };
  const ending = new Ending(socket, (ms, fn) => clock.after(ms, fn));
  return { clock, did, ending, note: (what: string) => () => void did.push(what) };
}

Deno.test("frames in hand are waited for, but not for ever", async () => {
  const finished = begin();
  const late = begin();
  for (const { ending, note } of [finished, late]) ending.afterFrames(note("goes on"), 500);
  assertEquals([finished.ending.begun, finished.ending.reason], [true, undefined]);

  finished.ending.framesFinished();
  finished.ending.framesFinished();
  await late.clock.advance(499);
  assertEquals(late.did, []);
  await late.clock.advance(1);
  late.ending.framesFinished();

  for (const { did, clock } of [finished, late]) {
    assertEquals([did, clock.armed], [["goes on"], 0]);
  }
});

Deno.test("a last word that comes while frames are in hand is the step that counts", async () => {
  const { ending, clock, did, note } = begin();
  ending.afterFrames(note("goes on"), 500);

  ending.lastWord("ended_by_session", note("late"));
  ending.framesFinished();
  await clock.advance(999);
  assertEquals([did, ending.begun, ending.reason], [[], true, "ended_by_session"]);
  await clock.advance(1);

  assertEquals([did, clock.armed], [["late"], 0]);
});

Deno.test("a socket lingers half closed until the time is over, and is closed once", async () => {
  const { ending, clock, did, note } = begin(() => Promise.resolve());
  ending.lastWord("shutdown", note("late"));

  ending.linger();
  await clock.advance(2_999);
  assertEquals([ending.lingering, did], [true, []]);
  await clock.advance(1);

  assertEquals([ending.lingering, did, clock.armed], [false, ["socket closed"], 0]);
});

Deno.test("a socket that fails to be half closed is closed; one that cannot be does not linger", async () => {
  const fails = begin(() => Promise.reject(new Error("reset")));
  const cannot = begin();

  fails.ending.linger();
  cannot.ending.linger();
  await microtasks();

  assertEquals([fails.ending.lingering, fails.did, fails.clock.armed], [
    false,
    ["socket closed"],
    0,
  ]);
  assertEquals([cannot.ending.lingering, cannot.did], [false, []]);
});
