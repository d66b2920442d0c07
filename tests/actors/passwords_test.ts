/** Whose password is hashed next, who is refused when too many wait; and the hashes themselves. */

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ChatError } from "@chat/wire/errors.ts";
import { PasswordActor } from "../../actors/accounts/passwords.ts";
import { argon2 } from "../../actors/adapters/argon2.ts";

/** An actor whose hashes end when the test says so; `order` is in which they began. */
function scene(maxWaiting: number) {
  const order: string[] = [];
  const ends: (() => void)[] = [];
  const hash = (password: string) => {
    order.push(password);
    return new Promise<string>((resolve) => ends.push(() => resolve(password)));
  };
  const none = () => Promise.reject(new Error("not in this test"));
  const actor = new PasswordActor({ hash, verify: none, upgrade: none }, maxWaiting);
  const ask = async (turn: string, password: string) =>
    await actor.receive({ type: "hash", turn, password });
  /** Ends the hash in hand; the next one has begun when it resolves. */
  const end = async () => {
    ends.shift()?.();
    await new Promise((resolve) => setTimeout(resolve, 0));
  };
  return { actor, order, ask, end };
}

Deno.test("passwords are hashed by turns of who asks: one who floods is one among others", async () => {
  const { actor, order, ask, end } = scene(100);
  const answers = [];
  for (let i = 0; i < 20; i++) answers.push(ask("flood", `f${i}`));
  answers.push(ask("ann", "ann"), ask("bob", "bob"), ask("ann", "ann again"));
  assertEquals(actor.waiting, 22);
  for (let i = 0; i < 23; i++) await end();

  assertEquals(order.slice(0, 6), ["f0", "f1", "ann", "bob", "f2", "ann again"]);
  assertEquals((await Promise.all(answers)).length, 23);
  assertEquals(actor.waiting, 0);
});

Deno.test("when too many wait, the latest of who has most makes room; among equals the newcomer is refused", async () => {
  const { actor, order, ask, end } = scene(3);
  const asked = new Map<string, Promise<string>>();
  for (
    const [turn, password] of [
      ...[["flood", "f0"], ["flood", "f1"], ["flood", "f2"], ["flood", "f3"]],
      ...[["ann", "ann"], ["flood", "f4"], ["bob", "bob"], ["eve", "eve"]],
    ] as const
  ) {
    const answer = ask(turn, password).then(
      () => "hashed",
      (error) => error instanceof ChatError ? error.code : String(error),
    );
    asked.set(password, answer);
    await Promise.resolve();
  }
  for (let i = 0; i < 5; i++) await end();

  const answers = [];
  for (const [password, answer] of asked) answers.push([password, await answer]);
  const refused = "TRY_LATER";
  assertEquals(answers, [
    ...[["f0", "hashed"], ["f1", "hashed"], ["f2", refused], ["f3", refused]],
    ...[["ann", "hashed"], ["f4", refused], ["bob", "hashed"], ["eve", refused]],
  ]);
  assertEquals(order, ["f0", "f1", "ann", "bob"]);
  assertEquals(actor.waiting, 0);
});

Deno.test("hashes that other programs made are verified: any cost, lanes and lengths", async () => {
  const port = argon2({ memoryKib: 64, passes: 1 });
  // Made by hash-wasm 4.13.0, which hashed before.
  const hashes: readonly [password: string, hash: string][] = [
    [
      "correct horse",
      "$argon2id$v=19$m=64,t=1,p=1$Yzu+Z/sqqWKaz96JVTWrPQ$9TgwqZIRV4J1HQvPFJjdLgpxtwoQOksuM4G22JWHnJM",
    ],
    [
      "漢字 é 😀",
      "$argon2id$v=19$m=128,t=3,p=1$T0sMYuGVrb+GLlj8SSM0tQ$d52Pj6/lYyxbe267sta41v1H+e+xiSfVOWrZjoJdrqc",
    ],
    ["x", "$argon2id$v=19$m=64,t=2,p=4$PMtXkJ3TfkL6x0Q24MJgyA$O0SHjRcnyJFclF9ubKAOuyFvvkSHtNPF"],
  ];

  for (const [password, hash] of hashes) {
    assertEquals(await port.verify(password, hash), true, hash);
    assertEquals(await port.verify(`${password}!`, hash), false, hash);
  }
});

Deno.test("a hash is salted, holds its cost, and fits its password alone", async () => {
  const port = argon2({ memoryKib: 64, passes: 1 });

  const [one, two] = [await port.hash("漢字 e\u0301"), await port.hash("漢字 e\u0301")];

  assertMatch(one, /^\$argon2id\$v=19\$m=64,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  assertEquals(one === two, false);
  assertEquals(await port.verify("漢字 e\u0301", one), true);
  assertEquals(await port.verify("漢字 \u00e9", one), false);
  assertEquals(await port.upgrade("漢字 e\u0301", one), undefined);
});

Deno.test("what is no hash of ours fits no password, and says so", async () => {
  const port = argon2({ memoryKib: 64, passes: 1 });

  for (const hash of ["", "password", "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA"]) {
    await assertRejects(() => port.verify("password", hash), Error, "PHC");
  }
  // Nothing is under way any more: what it made at the start is there when this is answered.
  assertEquals(await port.verify("password", undefined), false);
});
