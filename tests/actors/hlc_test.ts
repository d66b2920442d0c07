import { assert, assertEquals, assertMatch } from "@std/assert";
import { MID_LENGTH } from "@chat/wire/limits.ts";
import fc from "fast-check";
import { HybridClock, midAt, midTime } from "../../actors/hlc.ts";

/** Steps of a few nodes: time passes (or goes back) somewhere, or one sends to another. */
const step = fc.oneof(
  fc.record({ kind: fc.constant("time"), node: fc.nat(2), ms: fc.integer({ min: -50, max: 50 }) }),
  fc.record({ kind: fc.constant("send"), node: fc.nat(2), to: fc.nat(2) }),
);

Deno.test("whatever follows a message sorts after it, although clocks disagree and go back", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const walls = [1_700_000_000_000, 1_700_000_000_000 + 5_000, 1_700_000_000_000 - 5_000];
      const clocks = walls.map((_, node) => new HybridClock(() => walls[node] ?? 0));
      const latest = ["", "", ""]; // what each node has sent or seen
      const all = new Set<string>();
      for (const s of steps) {
        if (s.kind === "time") {
          walls[s.node] = (walls[s.node] ?? 0) + ("ms" in s ? s.ms : 0);
          continue;
        }
        const to = "to" in s ? s.to : 0;
        const mid = clocks[s.node]?.next() ?? "";
        assertMatch(mid, /^[0-9A-HJKMNP-TV-Z]{26}$/);
        assert(mid > (latest[s.node] ?? ""), `${mid} after ${latest[s.node]}`);
        assert(!all.has(mid));
        all.add(mid);
        latest[s.node] = mid;
        clocks[to]?.observe(mid);
        if (mid > (latest[to] ?? "")) latest[to] = mid;
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("a clock gives more ids in one ms than its counter holds, all in order", () => {
  const clock = new HybridClock(() => 1_000);
  clock.observe(`${midAt(1_000).slice(0, 10)}ZZZZY${"0".repeat(11)}`); // almost the last of its ms
  const ids = Array.from({ length: 5 }, () => clock.next());
  assertEquals(ids, [...ids].sort());
  assertEquals(new Set(ids).size, 5);
  assertEquals(ids.map(midTime), [1_000, 1_001, 1_001, 1_001, 1_001]);
});

Deno.test("ids of two clocks at the same time differ", () => {
  const ids = Array.from({ length: 1_000 }, () => new HybridClock(() => 1).next());
  assertEquals(new Set(ids).size, 1_000);
});

Deno.test("midAt is the least id of its time, and midTime reads it back", () => {
  for (const time of [2, 1_700_000_000_000, 2 ** 47]) {
    const least = midAt(time);
    assertEquals(least.length, MID_LENGTH);
    assertEquals(midTime(least), time);
    assert(new HybridClock(() => time + 1).next() > least);
    assert(new HybridClock(() => time - 1).next() < least);
  }
  assertEquals(midAt(-5), midAt(0));
});

Deno.test("a client's word moves a clock by five seconds at most", () => {
  let now = 1_700_000_000_000;
  const clock = new HybridClock(() => now);
  assert(clock.believes(midAt(0)) && clock.believes(midAt(now + 5_000)));
  assert(!clock.believes(midAt(now + 5_001)));
  clock.observe(midAt(now + 60_000)); // another node's message
  assert(clock.believes(midAt(now + 60_000)), "where the clock is already");
  assert(!clock.believes(midAt(now + 60_001)));
  now -= 3_600_000;
  assert(clock.believes(midAt(now + 3_660_000)), "a wall clock put back takes nothing back");
});

Deno.test("a message sent again sorts before what came later, and after what its sender had seen", () => {
  fc.assert(
    fc.property(fc.nat(5_000), fc.nat(5_000), fc.boolean(), (waited, seenAgo, seen) => {
      const sentAt = 1_700_000_000_000;
      const clock = new HybridClock(() => sentAt + 1 + waited);
      const before = new HybridClock(() => sentAt - 1 - seenAgo).next();
      const reply = new HybridClock(() => sentAt + 1).next();
      const mid = clock.resent(sentAt, seen ? before : "");
      assert(mid < reply, "replies to its first attempt come after it");
      if (seen) assert(mid > before);
      assert(clock.next() > mid);
    }),
  );
});
