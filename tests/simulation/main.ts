/**
 * Runs simulated schedules from the command line.
 *
 *     deno run tests/simulation/main.ts [--seed N] [--from N] [--schedules N] [--quiet]
 *
 * `--seed` runs one and prints its plan and what happened, step by step.
 */

import { parseArgs } from "@std/cli/parse-args";
import { MUTATIONS } from "./mutations.ts";
import { runSchedule } from "./run.ts";

const args = parseArgs(Deno.args, { string: ["seed", "from", "schedules", "stop", "mutation"] });
const mutation = MUTATIONS.find(({ name }) => name === args.mutation);
if (args.seed !== undefined) {
  const result = await runSchedule(Number(args.seed), { trace: true, mutation });
  for (const [name, value] of Object.entries(result.plan)) {
    console.log(`${name}: ${JSON.stringify(value)}`);
  }
  for (const line of result.trace) console.log(line);
  for (const violation of result.violations) console.log(`VIOLATION: ${violation}`);
  Deno.exit(result.violations.length > 0 ? 1 : 0);
}
const from = Number(args.from ?? 1);
const count = Number(args.schedules ?? 1000);
const began = performance.now();
let failed = 0, steps = 0, messages = 0, slowest = 0;
for (let seed = from; seed < from + count; seed++) {
  const result = await runSchedule(seed, { mutation });
  steps += result.steps;
  messages += result.messages;
  slowest = Math.max(slowest, result.finishedInMs);
  if (result.violations.length === 0) continue;
  failed++;
  console.log(
    `seed ${seed}: ${result.violations.slice(0, 3).join("; ")} (${result.violations.length})`,
  );
  if (failed >= Number(args.stop ?? 30)) break;
}
const ms = performance.now() - began;
console.log(
  `${count} schedules, ${failed} failed, ${steps} steps, ${messages} messages, slowest finish ${slowest} ms, ${
    (ms / count).toFixed(2)
  } ms each`,
);
