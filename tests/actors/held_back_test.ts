/** Lines about who is held back: each address, user and reason once a minute, and bounded in all. */

import { assertEquals } from "@std/assert";
import { HeldBack, type HeldBackLine } from "../../actors/observe/held_back.ts";

function bench() {
  const lines: HeldBackLine[] = [];
  const time = { ms: 0 };
  const held = new HeldBack({ now: () => time.ms }, (line) => lines.push(line));
  return { held, lines, time };
}

Deno.test("who is held back again for the same reason is named once a minute, and counted", () => {
  const { held, lines, time } = bench();

  for (let i = 0; i < 5; i++) held.note("192.0.2.1", 7, `too many attempts: wait ${i} s`);
  time.ms += 60_000;
  held.note("192.0.2.1", 7, "too many attempts: wait 9 s");

  assertEquals(lines.map(({ user, why, leftOut }) => [user, why, leftOut]), [
    [7, "too many attempts: wait 0 s", 0],
    [7, "too many attempts: wait 9 s", 4],
  ]);
});

Deno.test("an address with many users and reasons leaves room in the log for others", () => {
  const { held, lines } = bench();

  for (let user = 1; user <= 1_000; user++) held.note("192.0.2.1", user, "too fast");
  held.note("198.51.100.1", 1, "too fast");
  for (let i = 0; i < 1_000; i++) held.note(`203.0.113.${i}`, 1, "too fast");

  assertEquals(lines.length, 60);
  assertEquals(lines.filter(({ remote }) => remote === "192.0.2.1").length, 10);
  assertEquals(lines[10], { remote: "198.51.100.1", user: 1, why: "too fast", leftOut: 990 });
});
