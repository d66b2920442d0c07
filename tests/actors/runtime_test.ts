import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { ChatError } from "@chat/wire/errors.ts";
import { inlinePorts } from "../../actors/runtime/link.ts";
import { ActorSystem, backoffMs } from "../../actors/runtime/runtime.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";

/** A system whose events are kept. */
function makeSystem(thread = 0, clock = new FakeClock()) {
  const deadLetters: string[] = [];
  const crashes: { name: string; delayMs: number }[] = [];
  const givenUp: string[] = [];
  const system = new ActorSystem(thread, clock, {
    onDeadLetter: (to) => deadLetters.push(to),
    onCrash: (name, _, delayMs) => crashes.push({ name, delayMs }),
    onGiveUp: (name) => givenUp.push(name),
  }, queueMicrotask);
  return { system, clock, deadLetters, crashes, givenUp };
}

/** Two threads with a link between them. */
function makePair() {
  const clock = new FakeClock();
  const one = makeSystem(1, clock);
  const two = makeSystem(2, clock);
  const [a, b] = inlinePorts(queueMicrotask);
  one.system.link(2, a);
  two.system.link(1, b);
  return { one, two, clock };
}

Deno.test("ask brings what the actor returns, resolves or throws, in the same thread and another", async () => {
  const { one, two } = makePair();
  const actor = () => ({
    async receive(n: number) {
      if (n < 0) throw new ChatError("NO_SUCH_TARGET", `no ${n}`);
      return await Promise.resolve(n * 2);
    },
  });
  one.system.spawn("double", actor);
  two.system.spawn("double", actor);

  for (const ref of [one.system.ref<number>(1, "double"), one.system.ref<number>(2, "double")]) {
    assertEquals(await ref.ask(21, 1_000), 42);
    const error = await assertRejects(() => ref.ask(-1, 1_000), ChatError, "no -1");
    assertEquals([error.code, error.errno], ["NO_SUCH_TARGET", 5]);
  }
  assertEquals([one.crashes, two.crashes], [[], []], "a refusal is no crash");
});

Deno.test("an ask that is not answered fails with TRY_LATER at its deadline", async () => {
  const { one, two, clock } = makePair();
  const { promise, resolve } = Promise.withResolvers<number>();
  two.system.spawn("slow", () => ({ receive: () => promise }));

  const asked = assertRejects(() => one.system.ref(2, "slow").ask("x", 1_000), ChatError);
  await clock.advance(900);
  let failed = false;
  void asked.then(() => failed = true);
  await settle();
  assertEquals(failed, false, "not before its time");
  await clock.advance(400);

  assertEquals((await asked).code, "TRY_LATER");
  resolve(1); // the late answer finds nobody, and disturbs nobody
  await settle();
  assertEquals(clock.armed, 0, "no timer is left");
});

Deno.test("a question over a link that goes fails at once", async () => {
  const { one } = makePair();
  const asked = assertRejects(() => one.system.ref(2, "anyone").ask("x", 60_000), ChatError);
  one.system.unlink(2);
  assertEquals((await asked).code, "TRY_LATER");

  const error = await assertRejects(() => one.system.ref(2, "anyone").ask("x", 60_000), ChatError);
  assertEquals(error.code, "TRY_LATER", "and so does one that is asked afterwards");
  one.system.ref(2, "anyone").tell("x");
  assertEquals(one.deadLetters, ["anyone"]);
  one.system.close();
});

Deno.test("what nobody takes is a dead letter: no such actor, a full mailbox, an actor that stopped", async () => {
  const { system, deadLetters } = makeSystem();
  const { promise, resolve } = Promise.withResolvers<void>();
  const ref = system.spawn("busy", () => ({ receive: () => promise }), { mailbox: 1 });

  system.ref(0, "nobody").tell("x");
  assertEquals(deadLetters, ["nobody"]);
  ref.tell(1);
  ref.tell(2);
  ref.tell(3);
  assertEquals(deadLetters, ["nobody", "busy"]);
  const error = await assertRejects(() => ref.ask(4, 1_000), ChatError);
  assertEquals(error.code, "TRY_LATER");
  assertEquals(system.waiting("busy"), 1);

  await system.stop("busy"); // 2 still waited
  assertEquals(deadLetters.length, 4);
  resolve();
  system.close();
});

Deno.test("an actor that crashes is replaced after a pause; what waits is kept in order", async () => {
  const { system, clock, crashes } = makeSystem();
  let lives = 0;
  const stopped: number[] = [];
  const got: string[] = [];
  const ref = system.spawn("fragile", () => {
    const life = ++lives;
    return {
      receive(text: string) {
        if (text === "bad") throw new Error("crash");
        got.push(`${text} in life ${life}`);
      },
      stop: () => void stopped.push(life),
    };
  });

  for (const text of ["one", "bad", "two", "three"]) ref.tell(text);
  assertEquals(got, ["one in life 1"]);
  assertEquals(crashes.length, 1);
  await clock.advance(100);

  assertEquals(got, ["one in life 1", "two in life 2", "three in life 2"]);
  assertEquals(stopped, [1]);
});

Deno.test("a rejected turn is a crash, and its ask fails with TRY_LATER", async () => {
  const { system, clock, crashes } = makeSystem();
  const ref = system.spawn<string>("fragile", () => ({
    receive: (text) => text === "bad" ? Promise.reject(new Error("secret detail")) : text,
  }));

  const error = await assertRejects(() => ref.ask("bad", 1_000), ChatError);

  assertEquals(error.code, "TRY_LATER");
  assert(!error.message.includes("secret"), "what went wrong inside is not for others");
  assertEquals(crashes.map((c) => c.name), ["fragile"]);
  await clock.advance(100);
  assertEquals(await ref.ask("good", 1_000), "good");
  system.close();
});

Deno.test("pauses grow, and an actor that keeps crashing is given up", async () => {
  const { system, clock, crashes, givenUp } = makeSystem();
  const ref = system.spawn("hopeless", () => ({
    receive() {
      throw new Error("again");
    },
  }));
  for (let n = 0; n < 20; n++) ref.tell(n);
  await clock.advance(59_000);

  assertEquals(crashes.length, 10);
  assertEquals(givenUp, ["hopeless"]);
  for (const [attempt, { delayMs }] of crashes.entries()) {
    assert(delayMs <= Math.min(5_000, 50 * 2 ** attempt), `pause ${attempt}: ${delayMs} ms`);
  }
});

Deno.test("an actor whose making fails is tried again", async () => {
  const { system, clock, crashes } = makeSystem();
  let makings = 0;
  const ref = system.spawn("unlucky", () => {
    if (++makings === 2) throw new Error("cannot be made");
    return {
      receive(text: string) {
        if (text === "bad") throw new Error("crash");
        return text;
      },
    };
  });
  ref.tell("bad");
  await clock.advance(1_000);

  assertEquals(makings, 3);
  assertEquals(crashes.length, 2);
  assertEquals(await ref.ask("good", 1_000), "good");
  system.close();
});

Deno.test("an actor that escalates is given up with its first crash", () => {
  const { system, crashes, givenUp } = makeSystem();
  const ref = system.spawn("vital", () => ({
    receive() {
      throw new Error("crash");
    },
  }), { onCrash: "escalate" });
  ref.tell("x");
  assertEquals([givenUp, crashes], [["vital"], []]);
});

Deno.test("two actors of one name in a thread are refused", () => {
  const { system } = makeSystem();
  system.spawn("one", () => ({ receive() {} }));
  const error = assertThrows(() => system.spawn("one", () => ({ receive() {} })), Error);
  assertMatch(error.message, /one/);
});

Deno.test("messages of a turn cross in one post, in order, with questions among them", async () => {
  const { one, two } = makePair();
  const got: unknown[] = [];
  two.system.spawn("log", () => ({ receive: (m: unknown) => got.push(m) }));
  const ref = one.system.ref<number>(2, "log");

  ref.tell(1);
  const answer = ref.ask<number>(2, 1_000);
  ref.tell(3);

  assertEquals(await answer, 2);
  assertEquals(got, [1, 2, 3]);
  one.system.close();
});

Deno.test("back-off is jittered between 0 and a cap that doubles", () => {
  for (let attempt = 0; attempt < 12; attempt++) {
    const cap = Math.min(5_000, 50 * 2 ** attempt);
    assertEquals(backoffMs(attempt, 50, 5_000, () => 0), 0);
    const most = backoffMs(attempt, 50, 5_000, () => 0.999999);
    assert(most > cap * 0.99 && most <= cap, `${attempt}: ${most}`);
  }
});
