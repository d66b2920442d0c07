/** How far one client may be read. */

import { assertEquals } from "@std/assert";
import { ByteBudget } from "../../server/sockets/byte_budget.ts";
import { ReadPace } from "../../server/sockets/read_pace.ts";
import { microtasks } from "../support/fake_clock.ts";

function take(pace: ReadPace, frames: number): void {
  for (let n = 0; n < frames; n++) pace.took();
}

/** Says, from now on, whether a reader that waits has been let on. */
function waiter(pace: ReadPace): () => Promise<boolean> {
  let on = false;
  void pace.untilLetOn().then(() => on = true);
  return async () => {
    await microtasks();
    return on;
  };
}

Deno.test("a reader waits above the limit of unfinished frames, and goes on at half of it", async () => {
  const pace = new ReadPace({ maxUnfinished: 4, framesPerTick: 0 });
  take(pace, 4);
  assertEquals(pace.mustWait, false);
  take(pace, 1);
  assertEquals(pace.mustWait, true);
  const isOn = waiter(pace);

  pace.finished(3);
  assertEquals([await isOn(), pace.mustWait], [false, false]);
  pace.finished(2);
  assertEquals([await isOn(), pace.unfinished], [true, 2]);
});

Deno.test("a reader over the rate goes on once the ticks have made up for all it read", async () => {
  const pace = new ReadPace({ maxUnfinished: 1_000, framesPerTick: 10 });
  take(pace, 25);
  const isOn = waiter(pace);

  pace.finished(0);
  assertEquals([await isOn(), pace.mustWait], [false, true]);
  pace.tick(); // 15 are left
  assertEquals(await isOn(), false);
  pace.tick(); // 5
  assertEquals([await isOn(), pace.mustWait], [true, false]);
});

Deno.test("a reader over both limits waits for both", async () => {
  const pace = new ReadPace({ maxUnfinished: 2, framesPerTick: 3 });
  take(pace, 3);
  const isOn = waiter(pace);

  pace.tick();
  assertEquals(await isOn(), false);
  pace.finished(0);
  assertEquals(await isOn(), true);
});

Deno.test("who keeps over the rate is to be told once, then closed; a pause is a new beginning", () => {
  const pace = new ReadPace({ maxUnfinished: 1_000, framesPerTick: 1 });
  const earned = (ticks: number) => Array.from({ length: ticks }, () => pace.tick());
  take(pace, 6);
  const first = earned(7); // the last one is not over it
  take(pace, 30);

  const second = earned(21);

  assertEquals(first.map((what) => what ?? "").join(), ",,,tell,,,");
  const expected = Array.from({ length: 21 }, (_, at) => at === 3 ? "tell" : undefined);
  assertEquals(second.slice(0, 19), expected.slice(0, 19));
  assertEquals(second.slice(19), ["close", "close"]);
});

Deno.test("without a rate no tick earns anything; a reader is let on at the end whatever waits", async () => {
  const pace = new ReadPace({ maxUnfinished: 1, framesPerTick: 0 });
  take(pace, 10_000);
  const isOn = waiter(pace);
  for (let n = 0; n < 30; n++) assertEquals(pace.tick(), undefined);
  assertEquals(await isOn(), false);

  pace.letOn();

  assertEquals(await isOn(), true);
});

Deno.test("bytes in hand are bounded, for a stranger sooner; what is finished makes room", async () => {
  const pace = new ReadPace({ maxUnfinished: 1_000, framesPerTick: 0 });
  for (let i = 0; i < 3; i++) pace.took(16 * 1_024);
  assertEquals(pace.mustWait, true);
  const isOn = waiter(pace);
  pace.finished(2);
  assertEquals(await isOn(), true);

  pace.isKnown = true;
  for (let i = 0; i < 62; i++) pace.took(16 * 1_024);
  assertEquals(pace.mustWait, false);
  pace.took(16 * 1_024);
  assertEquals(pace.mustWait, true);
  pace.finished(0);
  assertEquals(pace.mustWait, false);
});

Deno.test("a reader over the rate of bytes waits for the ticks that make up for it, and is not closed", async () => {
  const pace = new ReadPace({ maxUnfinished: 1_000, framesPerTick: 0, bytesPerTick: 1_000 });
  pace.isKnown = true;
  pace.took(2_500);
  pace.finished(0);
  const isOn = waiter(pace);
  assertEquals([pace.tick(), await isOn()], [undefined, false]);
  assertEquals([pace.tick(), await isOn()], [undefined, true]);
});

Deno.test("when all have too much in hand, who has more than his part waits, and nobody else", () => {
  const budget = new ByteBudget();
  const limits = { maxUnfinished: 10_000, framesPerTick: 0, budget };
  const greedy = Array.from({ length: 40 }, () => new ReadPace(limits));
  const small = new ReadPace(limits);
  for (const pace of [...greedy, small]) pace.isKnown = true;
  for (const pace of greedy) pace.took(1_000_000);
  small.took(1_000);
  assertEquals([greedy[0]?.mustWait, small.mustWait], [true, false]);
  for (const pace of greedy.slice(0, 20)) pace.end();
  assertEquals([greedy[39]?.mustWait, small.mustWait], [false, false]);
  assertEquals(budget.inHand, 20 * 1_000_000 + 1_000);
});

Deno.test("strangers at one address share what they may send; who has logged in is none", () => {
  const budget = new ByteBudget();
  const limits = { maxUnfinished: 10_000, framesPerTick: 0, budget };
  const there = Array.from({ length: 40 }, () => new ReadPace(limits, "198.51.100.7"));
  const elsewhere = new ReadPace(limits, "192.0.2.1");
  for (const pace of there) {
    pace.took(16_000);
    pace.finished(0);
  }
  assertEquals([there[0]?.mustWait, elsewhere.mustWait], [true, false]);
  const known = new ReadPace(limits, "198.51.100.7");
  known.isKnown = true;
  assertEquals(known.mustWait, false);
  budget.tick();
  assertEquals(there[0]?.mustWait, false);
});
