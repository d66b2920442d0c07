/**
 * That chaos can fail: a server that acknowledges before it commits is found out within seconds of
 * kills under which the product passes. The long runs are `deno task chaos`.
 */

import { assertEquals, assertGreater, assertMatch, assertStringIncludes } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { makeRunDir, run } from "./run.ts";

const SEED = "early ack";
const FAULT = "node killed";
/** Several kills, also on a machine on which a node takes seconds to come back. */
const MINUTES = 0.15;
const USERS = 8;
const RATE = 6_000;
const LIMIT_MS = 150_000;

/** The product under kills. */
async function product() {
  const dir = await makeRunDir();
  try {
    const lines: string[] = [];
    const result = await run({
      seed: SEED,
      minutes: MINUTES,
      nodes: 0,
      skewMs: 0,
      users: USERS,
      messagesPerMinute: RATE,
      only: [FAULT],
      dir,
      signal: AbortSignal.timeout(LIMIT_MS),
      say: (text) => lines.push(text),
    });
    return { ...result, told: lines.join("\n") };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** The variant without its guarantee under the same, by the command itself. */
async function earlyAck(): Promise<{ code: number; told: string }> {
  const flags = ["--seed", SEED, "--minutes", `${MINUTES}`, "--users", `${USERS}`];
  flags.push("--rate", `${RATE}`, "--only", FAULT, "--early-ack");
  const main = fromFileUrl(new URL("main.ts", import.meta.url));
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--frozen", "--allow-all", main, ...flags],
    signal: AbortSignal.timeout(LIMIT_MS),
  }).output();
  const decoder = new TextDecoder();
  const told = decoder.decode(stdout) + decoder.decode(stderr);
  const dir = /records in (\S+)$/m.exec(told)?.[1]; // kept, as it fails
  if (dir !== undefined) await Deno.remove(dir, { recursive: true });
  return { code, told };
}

Deno.test("chaos finds out a server that acknowledges before it commits, and passes the product", async () => {
  const [{ verdict, troubles, faults, told }, early] = await Promise.all([product(), earlyAck()]);

  assertEquals(early.code, 1, early.told);
  assertMatch(early.told, /^VIOLATION acknowledged but .+: .+$/m);
  assertMatch(early.told, /^ +[0-9]+ × acknowledged but not in history$/m);
  assertStringIncludes(early.told, `chaos: seed ${SEED}`);
  assertMatch(early.told, new RegExp(`^ +[0-9]+ × ${FAULT}$`, "m"));
  assertMatch(early.told, /[0-9]+ messages sent, .* [0-9]+ acknowledged; [0-9]+ deliveries/);
  assertMatch(early.told, /^timeline of [0-9.]+:\n +[-0-9.]+ s {2}\S/m);
  assertEquals([verdict.violations, troubles], [[], []], told);
  assertGreater(faults.length, 1);
  assertGreater(verdict.counts.acknowledged, 200);
});
