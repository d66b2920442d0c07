import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import fc from "fast-check";
import { Backoff } from "../../client/library/backoff.ts";
import { systemClock } from "../../client/library/clock.ts";
import { Dedupe } from "../../client/library/inbox.ts";
import { OutboxFull, OutboxInUse } from "../../client/library/errors.ts";
import { Journal } from "../../client/transport/journal.ts";
import { Outbox, type Outgoing } from "../../client/library/outbox.ts";

const chat = (cid: string, from = 1): Outgoing => ({
  cid,
  from,
  toid: 2,
  groupid: 0,
  msg: `text ${cid}`,
  at: 1,
});

const outbox = (window = 4) => new Outbox({ maxEntries: 100, maxUnits: 10_000, window });

Deno.test("the outbox has at most a window of chats on the wire", () => {
  const box = outbox(2);
  for (const cid of ["a", "b", "c"]) box.add(chat(cid));
  box.rewind(1);

  const first = [box.take(1), box.take(1), box.take(1)].map((entry) => entry?.chat.cid);
  box.settle("a");
  const next = box.take(1)?.chat.cid;

  assertEquals([...first, next], ["a", "b", undefined, "c"]);
});

Deno.test("the outbox sends a user's chats in that user's session only", () => {
  const box = outbox();
  box.add(chat("a", 1));
  box.add(chat("b", 2));

  box.rewind(2);
  const second = [box.take(1)?.chat.cid, box.take(1)?.chat.cid];
  box.rewind(1);
  const first = [box.take(1)?.chat.cid, box.take(1)?.chat.cid];

  assertEquals([second, first], [["b", undefined], ["a", undefined]]);
});

Deno.test("the outbox refuses what is over its limits", () => {
  const box = new Outbox({ maxEntries: 2, maxUnits: 20, window: 1 });
  const small = { ...chat("a"), msg: "small" };
  const large = { ...chat("b"), msg: "x".repeat(15) };

  box.reserve(small);
  assertThrows(() => box.reserve({ ...large, msg: "x".repeat(16) }), OutboxFull);
  box.release(small);
  box.reserve(large);
  box.release(large);
  box.add(large);
  box.reserve(small);
  assertThrows(() => box.reserve({ ...chat("c"), msg: "" }), OutboxFull);
  box.release(small);
  box.add(small);

  assertEquals([...box].map((c) => c.cid), ["b", "a"]);
});

// The server of this test refuses at random, as the protocol says: after a refusal every later chat
// is refused until the refused one comes again. Connections are lost at random, with what is on them.
Deno.test("whatever is refused or lost, every chat is accepted once and in order", () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constant("add" as const) },
    { weight: 4, arbitrary: fc.constant("send" as const) },
    { weight: 5, arbitrary: fc.constant("serve" as const) },
    { weight: 2, arbitrary: fc.constant("refuse" as const) },
    { weight: 5, arbitrary: fc.constant("answer" as const) },
    { weight: 1, arbitrary: fc.constant("lose" as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const box = outbox();
      box.rewind(1);
      const wire: { cid: string; attempt: number }[] = [];
      const answers: { cid: string; attempt: number; ok: boolean }[] = [];
      const accepted: string[] = [];
      let blockedBy: string | undefined;
      let added = 0;
      const serve = (refuse: boolean) => {
        const frame = wire.shift();
        if (frame === undefined) return;
        const known = accepted.includes(frame.cid);
        const ok = known || (!refuse && (blockedBy === undefined || blockedBy === frame.cid));
        if (ok && blockedBy === frame.cid) blockedBy = undefined;
        if (!ok) blockedBy ??= frame.cid;
        if (ok && !known) accepted.push(frame.cid);
        answers.push({ ...frame, ok });
      };
      const run = (name: (typeof steps)[number]) => {
        if (name === "add") box.add(chat(`c${added++}`));
        if (name === "serve") serve(false);
        if (name === "refuse") serve(true);
        if (name === "send") {
          const entry = box.take(1);
          if (entry) wire.push({ cid: entry.chat.cid, attempt: entry.attempts });
        }
        if (name === "answer") {
          const answer = answers.shift();
          if (answer?.ok) box.settle(answer.cid);
          else if (answer) box.refuse(answer.cid, answer.attempt);
        }
        if (name === "lose") {
          // What the server has read it has handled; its answers are lost with the connection.
          wire.length = 0;
          answers.length = 0;
          blockedBy = undefined;
          box.rewind(1);
        }
      };

      steps.forEach(run);
      for (let turns = 0; turns < 3 * added + 10; turns++) {
        (["send", "send", "send", "send", "serve", "answer"] as const).forEach(run);
        while (wire.length > 0 || answers.length > 0) (["serve", "answer"] as const).forEach(run);
      }

      assertEquals(accepted, Array.from({ length: added }, (_, n) => `c${n}`));
      assertEquals([box.size, box.inFlight], [0, 0]);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("a repeat is recognised within the window, and memory stays bounded", () => {
  const dedupe = new Dedupe(100);

  for (let n = 0; n < 10_000; n++) {
    assertEquals(dedupe.seen(`k${n}`), false);
    assert(dedupe.seen(`k${Math.max(0, n - 99)}`));
    assert(dedupe.size <= 200);
  }
});

Deno.test("back-off is jittered from the first retry on, grows and is capped", () => {
  const draws = (random: number) => {
    const backoff = new Backoff({ ...systemClock, random: () => random }, 100, 1_000);
    return Array.from({ length: 6 }, () => backoff.next());
  };

  assertEquals(draws(0.5), [50, 100, 200, 400, 500, 500]);
  assertEquals(draws(0), [20, 20, 20, 20, 20, 20]);
  assertEquals(new Backoff({ ...systemClock, random: () => 0.5 }, 100, 1_000).next(3_000), 3_050);
});

/** A directory that is removed with its scope. */
async function directory(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "client-test-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

Deno.test("what was queued and not done is there when the outbox file is opened again", async () => {
  await using dir = await directory();
  const path = join(dir.path, "outbox");
  const { journal } = await Journal.open(path);

  await Promise.all(["a", "b", "c"].map((cid) => journal.append(chat(cid))));
  journal.done("b");
  await journal.close();
  const again = await Journal.open(path);
  await again.journal.close();

  assertEquals(again.waiting, [chat("a"), chat("c")]);
  assertEquals((await Deno.stat(path)).mode?.toString(8).slice(-3), "600");
});

Deno.test("how a chat was first sent is kept with it, also when the file is written anew", async () => {
  await using dir = await directory();
  const path = join(dir.path, "outbox");
  const { journal } = await Journal.open(path);
  const first = { at: 5, seen: "01A" };
  const [sent, unsent] = [chat("sent"), chat("unsent")];

  await Promise.all([journal.append(sent), journal.append(unsent)]);
  sent.first = first;
  journal.first(sent);
  await journal.close();
  const waiting = [];
  for (let n = 0; n < 2; n++) {
    const again = await Journal.open(path); // writes the file anew
    await again.journal.close();
    waiting.push(again.waiting);
  }

  assertEquals(waiting[0], [{ ...chat("sent"), first }, chat("unsent")]);
  assertEquals(waiting[1], waiting[0]);
});

Deno.test("an outbox file whose directory cannot be made durable is left closed", async () => {
  await using dir = await directory();
  const { open } = Deno;
  const refused = new Deno.errors.PermissionDenied("the directory is not for reading");
  Deno.open = (path, options) =>
    path === dir.path ? Promise.reject(refused) : open.call(Deno, path, options);

  try {
    await assertRejects(() => Journal.open(join(dir.path, "outbox")), Deno.errors.PermissionDenied);
  } finally {
    Deno.open = open;
  }
  const { journal } = await Journal.open(join(dir.path, "outbox"));
  await journal.close(); // a file that was left open would fail this test
});

Deno.test("a line that a crash has torn spoils only itself", async () => {
  await using dir = await directory();
  const path = join(dir.path, "outbox");
  const { journal } = await Journal.open(path);
  await journal.append(chat("a"));
  await journal.append(chat("b"));
  await journal.close();

  const bytes = await Deno.readFile(path);
  for (let length = bytes.length - 1; length > bytes.length / 2 + 1; length--) {
    await Deno.writeFile(path, bytes.subarray(0, length));
    const { journal, waiting, damagedLines } = await Journal.open(path);
    await journal.append(chat("after"));
    await journal.close();
    const again = await Journal.open(path);
    await again.journal.close();

    // Without its newline alone the line is whole.
    const whole = length === bytes.length - 1;
    assertEquals(waiting.map((c) => c.cid), whole ? ["a", "b"] : ["a"]);
    assertEquals(damagedLines, whole ? 0 : 1);
    assertEquals(again.waiting.at(-1)?.cid, "after");
  }
});

Deno.test("an outbox file belongs to one client at a time", async () => {
  await using dir = await directory();
  const path = join(dir.path, "outbox");
  const { journal } = await Journal.open(path);

  await assertRejects(() => Journal.open(path), OutboxInUse);
  await journal.close();
  const again = await Journal.open(path);
  await again.journal.close();
});

Deno.test("the outbox file does not grow with what is done", async () => {
  await using dir = await directory();
  const path = join(dir.path, "outbox");
  const { journal } = await Journal.open(path);
  await journal.append(chat("stays"));

  for (let n = 0; n < 50; n++) {
    const cids = Array.from({ length: 100 }, (_, i) => `c${n}-${i}`);
    await Promise.all(cids.map((cid) => journal.append(chat(cid))));
    for (const cid of cids) journal.done(cid);
  }
  await journal.append(chat("last"));
  await journal.close();
  const { size } = await Deno.stat(path);
  const again = await Journal.open(path);
  await again.journal.close();

  assertEquals(again.waiting.map((c) => c.cid), ["stays", "last"]);
  assert(size < 300_000, `${size} bytes after 5,000 chats`);
});
