import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Mailbox } from "../../actors/runtime/mailbox.ts";
import { FairTurns, MESSAGES_PER_TURN } from "../../actors/runtime/fair_turns.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";

const unexpected = (error: unknown) => {
  throw error;
};

Deno.test("a mailbox hands over in order, one at a time, whatever its receiver does", async () => {
  // What the receiver does with each message: returns, throws, waits, waits and fails.
  const behaviour = fc.constantFrom("return", "throw", "wait", "reject");
  await fc.assert(
    fc.asyncProperty(fc.array(behaviour, { maxLength: 40 }), async (behaviours) => {
      const begun: number[] = [];
      let errors = 0;
      let inHand = 0;
      const box = new Mailbox<number>((n) => {
        begun.push(n);
        assertEquals(++inHand, 1);
        const end = () => void inHand--;
        switch (behaviours[n]) {
          case "throw":
            end();
            throw new Error("thrown");
          case "wait":
            return Promise.resolve().then(end);
          case "reject":
            return Promise.resolve().then(end).then(() => Promise.reject(new Error("rejected")));
          default:
            end();
        }
      }, { limit: 100, onError: () => errors++ });

      for (const n of behaviours.keys()) assert(box.offer(n));
      await settle();

      assertEquals(begun, [...behaviours.keys()]);
      const failing = behaviours.filter((b) => b === "throw" || b === "reject").length;
      assertEquals(errors, failing);
      assert(box.idle);
    }),
  );
});

Deno.test("a full mailbox refuses, and takes again when there is room", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const got: number[] = [];
  const box = new Mailbox<number>((n) => {
    got.push(n);
    return n === 0 ? promise : undefined;
  }, { limit: 2, onError: unexpected });

  assertEquals([0, 1, 2, 3].map((n) => box.offer(n)), [true, true, true, false]);
  resolve();
  await settle();

  assertEquals(got, [0, 1, 2]);
  assert(box.offer(4));
  assertEquals(got, [0, 1, 2, 4]);
});

Deno.test("a message that a receiver sends itself waits for its turn", () => {
  const log: string[] = [];
  const box: Mailbox<number> = new Mailbox<number>((n) => {
    log.push(`begin ${n}`);
    if (n < 3) box.offer(n + 1);
    log.push(`end ${n}`);
  }, { limit: 10, onError: unexpected });

  box.offer(1);

  assertEquals(log, ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
});

Deno.test("a paused mailbox keeps what comes until it is resumed", () => {
  const got: number[] = [];
  const box = new Mailbox<number>((n) => void got.push(n), { limit: 10, onError: unexpected });

  box.pause();
  box.offer(1);
  box.offer(2);
  assertEquals(got, []);
  box.resume();

  assertEquals(got, [1, 2]);
});

Deno.test("a mailbox with concurrency begins that many turns and no more", async () => {
  const gates = Array.from({ length: 6 }, () => Promise.withResolvers<void>());
  const begun: number[] = [];
  const box = new Mailbox<number>((n) => {
    begun.push(n);
    return gates[n]?.promise;
  }, { limit: 10, concurrency: 3, onError: unexpected });

  for (let n = 0; n < 6; n++) box.offer(n);
  assertEquals(begun, [0, 1, 2]);
  gates[1]?.resolve();
  await settle();
  assertEquals(begun, [0, 1, 2, 3]);
  for (const gate of gates) gate.resolve();
  await settle();

  assertEquals(begun, [0, 1, 2, 3, 4, 5]);
});

Deno.test("a long queue is drained in order, and clear returns what is left", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const got: number[] = [];
  const box = new Mailbox<number>((n) => {
    got.push(n);
    return n % 1_000 === 0 ? promise : undefined;
  }, { limit: 10_000, onError: unexpected });

  for (let n = 0; n < 10_000; n++) box.offer(n);
  assertEquals(box.length, 9_999);
  resolve();
  await settle();
  assertEquals(got, Array.from({ length: 10_000 }, (_, n) => n));

  box.pause();
  for (const n of [1, 2, 3]) box.offer(n);
  assertEquals(box.clear(), [1, 2, 3]);
  assertEquals(box.length, 0);
});

Deno.test("mailboxes of one thread take turns: who has thousands does not hold up who has one", async () => {
  const clock = new FakeClock();
  const turns = new FairTurns(clock);
  const got: string[] = [];
  const box = (name: string, limit: number) =>
    new Mailbox<number>((n) => void got.push(`${name} ${n}`), {
      ...{ limit, turns },
      onError: unexpected,
    });
  const [greedy, innocent] = [box("greedy", 1_000), box("innocent", 10)];

  for (let n = 0; n < 500; n++) assert(greedy.offer(n));
  assert(innocent.offer(0));

  assertEquals(got.length, MESSAGES_PER_TURN + 1);
  assertEquals(got.at(-1), "innocent 0");
  await clock.advance(100);
  assertEquals(
    got.filter((text) => text !== "innocent 0"),
    Array.from({ length: 500 }, (_, n) => `greedy ${n}`),
  );
  assertEquals(clock.armed, 0);
});

Deno.test("a mailbox that waits for nothing but its turn refuses nothing", () => {
  const got: number[] = [];
  const turns = new FairTurns(new FakeClock());
  const box = new Mailbox<number>((n) => void got.push(n), {
    limit: 10,
    turns,
    onError: unexpected,
  });

  for (let n = 0; n < 500; n++) assert(box.offer(n));

  assertEquals(got, Array.from({ length: 490 }, (_, n) => n));
});

Deno.test("a mailbox whose messages take long has a shorter turn, of one at least", async () => {
  const clock = new FakeClock();
  const turns = new FairTurns(clock);
  const got: number[] = [];
  const box = new Mailbox<number>((n) => {
    got.push(n);
    clock.pass(n === 0 ? 1 : 50);
  }, { limit: 1_000, turns, onError: unexpected });

  for (let n = 0; n < 6; n++) assert(box.offer(n));

  assertEquals(got, [0, 1], "the second one took too long for a third");
  await clock.advance(0);
  assertEquals(got, [0, 1, 2]);
  await clock.advance(1_000);
  assertEquals(got.length, 6);
});
