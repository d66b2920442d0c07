/** Whose failed log-ins make whom wait, on a clock of the test's own. */

import { assertEquals } from "@std/assert";
import { addressKey, type Attempt, deviceKey, Guard } from "../../actors/accounts/guard.ts";
import { FakeClock } from "../support/fake_clock.ts";

const LIMITS = {
  ...{ registrationsPerMinute: 0, loginsPerMinute: 0, failures: 2 },
  exempt: () => false,
  network: String,
};

function scene(limits: Partial<ConstructorParameters<typeof Guard>[1]> = {}) {
  const clock = new FakeClock();
  const guard = new Guard(clock, { ...LIMITS, ...limits });
  const ask = (attempt: Attempt) => guard.receive({ type: "login", ...attempt });
  const result = (attempt: Attempt, how: "right" | "wrong" | "unknown") =>
    guard.receive({ type: "result", ...attempt, result: how });
  /** 0 for a guess that was let through, else the wait. */
  const guess = (attempt: Attempt) => {
    const waitMs = ask(attempt)?.waitMs ?? -1;
    if (waitMs === 0) result(attempt, "wrong");
    return waitMs;
  };
  return { clock, guard, ask, result, guess };
}

Deno.test("failures of an account count for the address that they come from", () => {
  const { guess } = scene();
  const at = (remote: string) => guess({ remote, account: "ann" });
  assertEquals([at("a"), at("a"), at("a")], [0, 0, 1_000]);
  assertEquals(at("b"), 0);
  assertEquals(guess({ remote: "a", account: "bob" }), 0);
});

Deno.test("an account that many addresses guess at is slow for all but known origins, which have waits of their own", () => {
  const { ask, guess } = scene();
  for (let n = 0; n < 40; n++) assertEquals(guess({ remote: `${n}`, account: "ann" }), 0);

  const verdict = ask({ remote: "new", account: "ann" });
  assertEquals(verdict, { waitMs: 1_000, unlessKnown: true, network: "new" });
  for (const known of [addressKey("home"), deviceKey("phone")]) {
    const owner = { remote: "home", account: "ann", known };
    assertEquals([guess(owner), guess(owner), guess(owner)], [0, 0, 1_000], known);
    assertEquals(ask(owner)?.unlessKnown, false);
  }
});

Deno.test("a known device does not wait for what others do at its address", () => {
  const { ask, guess } = scene({ loginsPerMinute: 60 });
  for (let n = 0; n < 40; n++) guess({ remote: "nat", account: `of somebody ${n}` });
  const own = { remote: "nat", account: "ann" };
  assertEquals(ask(own)?.unlessKnown, true);
  assertEquals(ask({ ...own, known: addressKey("nat") })?.waitMs, 1_000);
  const device = { ...own, known: deviceKey("phone") };
  assertEquals(
    [guess(device), guess(device), guess(device)],
    [0, 0, 1_000],
    "it has its own count",
  );
});

Deno.test("a right password clears its own address, and neither the account nor an address that tries many", () => {
  const { clock, ask, result, guess } = scene();
  const own = { remote: "home", account: "ann" };
  for (let i = 0; i < 100; i++) {
    guess(own);
    assertEquals(ask(own)?.waitMs, 0, `time ${i}`);
    result(own, "right");
    if (i === 18) break; // the address may fail 20 times
  }
  guess({ remote: "home", account: "bob" });
  assertEquals(ask({ remote: "home", account: "zoe" })?.waitMs, 1_000);
  assertEquals(clock.now() > 0, true);
});

Deno.test("many attempts at once are worth no more than one after the other, and one that was not decided is none", () => {
  const { ask, result } = scene();
  const own = { remote: "home", account: "ann" };
  assertEquals([ask(own)?.waitMs, ask(own)?.waitMs, ask(own)?.waitMs], [0, 0, 1_000]);
  result(own, "unknown");
  assertEquals(ask(own)?.waitMs, 0);
});

Deno.test("guards of a cluster count each other's failures", () => {
  const others: ReturnType<typeof scene>[] = [];
  const here = scene({
    tellOthers: (keys) =>
      others.forEach(({ guard }) => guard.receive({ type: "failed_elsewhere", keys })),
  });
  others.push(scene());
  const own = { remote: "home", account: "ann" };
  assertEquals([here.guess(own), here.guess(own)], [0, 0]);
  assertEquals(others[0]?.ask(own)?.waitMs, 1_000);
});

Deno.test("log-ins a minute of one address: a minute's worth at once, then as they drain", async () => {
  const { clock, ask, result } = scene({ loginsPerMinute: 60 });
  const own = { remote: "home", account: "ann" };
  const logIn = () => {
    const waitMs = ask(own)?.waitMs;
    if (waitMs === 0) result(own, "right");
    return waitMs;
  };
  for (let i = 0; i < 60; i++) assertEquals(logIn(), 0);
  assertEquals(logIn(), 1_000);
  await clock.advance(1_000);
  assertEquals([logIn(), logIn()], [0, 1_000]);
  assertEquals(ask({ remote: "other", account: "ann" })?.waitMs, 0);
});
