/** Lookups that share a statement. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { BatchReader, padded } from "../../actors/adapters/batch_reader.ts";

/** A reader whose reads end when told to, in order. */
function scene(most: number, running: number) {
  const reads: { keys: readonly number[]; end: (error?: Error) => void }[] = [];
  const reader = new BatchReader<number, string>({
    read: (keys) =>
      new Promise((resolve, reject) => {
        reads.push({
          keys,
          end: (error) => error ? reject(error) : resolve(keys.map((key) => `v${key}`)),
        });
      }),
    most,
    running,
  });
  return { reader, reads };
}

/** Lets everything that is due now happen. */
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("a lone key is read at once; what comes while reads are under way is read together", async () => {
  const { reader, reads } = scene(3, 1);

  const values = [reader.get(1)];
  await turn();
  for (const key of [2, 3, 4, 5]) values.push(reader.get(key));
  await turn();
  const before = reads.map(({ keys }) => keys);
  for (let n = 0; n < 3; n++) {
    reads[n]?.end();
    await turn();
  }

  assertEquals(before, [[1]]);
  assertEquals(reads.map(({ keys }) => keys), [[1], [2, 3, 4], [5]]);
  assertEquals(await Promise.all(values), ["v1", "v2", "v3", "v4", "v5"]);
});

Deno.test("a failed read fails its own keys, and later ones go on", async () => {
  const { reader, reads } = scene(2, 1);
  const failing = [reader.get(1), reader.get(2)];
  const good = reader.get(3);
  const refused = failing.map((value) => assertRejects(() => value, Error, "away"));

  await turn();
  reads[0]?.end(new Error("away"));
  await turn();
  reads[1]?.end();

  await Promise.all(refused);
  assertEquals(await good, "v3");
});

Deno.test("lists have few lengths", () => {
  const lengths = new Set<number>();

  for (let n = 1; n <= 64; n++) {
    const list = padded(Array.from({ length: n }, (_, i) => i));
    lengths.add(list.length);
    assert(list.length >= n && list.length < 2 * n);
    assertEquals(new Set(list).size, n);
  }

  assertEquals([...lengths], [1, 2, 4, 8, 16, 32, 64]);
  assertEquals(padded([]), []);
});
