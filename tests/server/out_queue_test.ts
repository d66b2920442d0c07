/** What waits for one socket, and what is in hand. */

import { assertEquals } from "@std/assert";
import { PUSH_CLOSE } from "../../actors/runtime/lane.ts";
import { OutQueue } from "../../server/sockets/out_queue.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);

Deno.test("frames leave the queue one by one, or all that have gathered as one", () => {
  const each = new OutQueue();
  const joined = new OutQueue();
  for (const queue of [each, joined]) {
    for (const text of ["a", "b", "c"]) queue.add(encode(text), 0);
  }

  const singly = [each.next(false), each.next(false), each.next(false), each.next(false)];

  assertEquals(singly.map(decode), ["a", "b", "c", undefined]);
  assertEquals([joined.next(true), joined.next(true)].map(decode), ["abc", undefined]);
});

Deno.test("one joined write is bounded, and a frame larger than the bound goes alone", () => {
  const queue = new OutQueue();
  for (const kib of [200, 56, 1, 300, 1]) queue.add(new Uint8Array(kib * 1_024), 0);

  const writes: (number | undefined)[] = [];
  for (let n = 0; n < 5; n++) writes.push(queue.next(true)?.length);

  assertEquals(writes.map((length) => length && length / 1_024), [256, 1, 300, 1, undefined]);
});

Deno.test("a write has the number of its last frame that has one", () => {
  const queue = new OutQueue();
  const numberOf = (...pushes: number[]) => {
    for (const push of pushes) queue.add(encode("x"), push);
    queue.next(true);
    return queue.done();
  };

  assertEquals([numberOf(7), numberOf(0), numberOf(8, 9, 0), numberOf(0, 0)], [7, 0, 9, 0]);
  assertEquals(numberOf(10, PUSH_CLOSE), PUSH_CLOSE);
});

Deno.test("only what waits counts as waiting, and dropping it leaves the write in hand", () => {
  const queue = new OutQueue();
  queue.add(encode("first"), 3);
  queue.next(true);
  queue.add(encode("second"), 4);
  const before = [queue.waitingBytes, queue.writing, queue.isEmpty];

  queue.drop();

  assertEquals(before, [6, true, false]);
  assertEquals([queue.waitingBytes, queue.writing, queue.isEmpty], [0, true, false]);
  assertEquals([queue.done(), queue.next(true), queue.isEmpty], [3, undefined, true]);
});

Deno.test("a frame that comes while a write is in hand is a copy, any other is not", () => {
  const queue = new OutQueue();
  const borrowed = encode("a");
  const reused = encode("b");
  queue.add(borrowed, 0);
  assertEquals(queue.next(true) === borrowed, true);
  queue.add(reused, 0);
  reused.fill(0x78);
  queue.done();

  assertEquals(decode(queue.next(true)), "b");
});
