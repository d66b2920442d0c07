/** The short form of `deno task attack`: what attacks most, for a few seconds each. */

import { assertEquals } from "@std/assert";
import { attackNames, runAttacks } from "./run.ts";

const SECS = 3;
/** What is promised is measured by the long form: here a machine may do other things too. */
const SLACK = 4;

Deno.test("while a node is attacked others are served, and everything acknowledged arrives", async () => {
  const seed = crypto.randomUUID().slice(0, 8);
  const names = attackNames(true);
  const verdicts = await runAttacks({ names, secs: SECS, cluster: false, seed, slack: SLACK });

  const wrong = verdicts.flatMap(({ name, wrong }) => wrong.map((text) => `${name}: ${text}`));
  assertEquals(wrong, [], `replay with: deno task attack --secs ${SECS} --seed ${seed}`);
});
