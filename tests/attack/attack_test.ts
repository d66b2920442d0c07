/** The short form of `deno task attack`: what attacks most, for a few seconds each. */

import { assertEquals } from "@std/assert";
import { attackNames, runAttacks } from "./run.ts";

const SECS = 3;

Deno.test("while a node is attacked others are served, and everything acknowledged arrives", async () => {
  const seed = crypto.randomUUID().slice(0, 8);
  const verdicts = await runAttacks({ names: attackNames(true), secs: SECS, cluster: false, seed });

  const wrong = verdicts.flatMap(({ name, wrong }) => wrong.map((text) => `${name}: ${text}`));
  assertEquals(wrong, [], `replay with: deno task attack --secs ${SECS} --seed ${seed}`);
});
