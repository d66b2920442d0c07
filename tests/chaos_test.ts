/**
 * That chaos can fail: a server that acknowledges before it commits is found out within seconds of
 * kills under which the product passes. The long runs are `deno task chaos`.
 */

import { assert, assertEquals, assertGreater } from "@std/assert";
import { makeRunDir, run } from "./chaos/run.ts";

const SEED = "early ack";
const FAULT = "node killed";

async function kills(earlyAck: boolean) {
  const dir = await makeRunDir();
  try {
    const lines: string[] = [];
    const result = await run({
      seed: SEED,
      minutes: 0.07,
      nodes: 0,
      skewMs: 0,
      users: 8,
      messagesPerMinute: 6_000,
      only: [FAULT],
      dir,
      earlyAck,
      signal: AbortSignal.timeout(90_000),
      say: (text) => lines.push(text),
    });
    return { ...result, told: lines.join("\n") };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("chaos finds out a server that acknowledges before it commits, and passes the product", async () => {
  const [product, early] = await Promise.all([kills(false), kills(true)]);

  const kinds = new Set(early.verdict.violations.map(({ kind }) => kind));
  assert(kinds.has("acknowledged but not in history"), early.told);
  assertEquals([product.verdict.violations, product.troubles], [[], []], product.told);
  for (const { faults, verdict } of [product, early]) {
    assertGreater(faults.length, 1);
    assertGreater(verdict.counts.acknowledged, 200);
  }
});
