/**
 * Runs simulated schedules from the command line.
 *
 *     deno task simulate [--schedules N] [--from SEED] [--mutation NAME]
 *     deno task simulate --seed N [--mutation NAME]
 *
 * The first runs many and reports each that fails; the second runs one and prints all of its trace.
 * Exits 1 on a violation.
 */

import { parseArgs } from "@std/cli/parse-args";
import { MUTATIONS } from "./mutations.ts";
import { replayCommand, reportOf } from "./report.ts";
import { runSchedule } from "./run.ts";

/** Failures after which it is pointless to go on. */
const MAX_FAILURES = 20;

const FLAGS = ["seed", "from", "schedules", "mutation"];
const args = parseArgs(Deno.args, {
  string: FLAGS,
  unknown: (arg) => stop(`unknown argument ${arg}; known: --${FLAGS.join(", --")}`),
});
const mutation = MUTATIONS.find(({ name }) => name === args.mutation);
if (args.mutation !== undefined && mutation === undefined) {
  stop(`no such mutation; known:\n  ${MUTATIONS.map(({ name }) => name).join("\n  ")}`);
}

if (typeof args.seed === "string") {
  const result = await runSchedule(natural("seed", args.seed), { trace: true, mutation });
  console.log(result.trace.join("\n"));
  console.log(reportOf({ ...result, trace: [] }, mutation?.name));
  Deno.exit(result.violations.length === 0 ? 0 : 1);
}
Deno.exit(
  await runMany(natural("from", args.from ?? "1"), natural("schedules", args.schedules ?? "5000")),
);

async function runMany(from: number, count: number): Promise<number> {
  const began = performance.now();
  let [ran, failed, steps, messages, faults] = [0, 0, 0, 0, 0];
  for (let seed = from; seed < from + count && failed < MAX_FAILURES; seed++) {
    const result = await runSchedule(seed, { mutation });
    ran++;
    steps += result.steps;
    messages += result.messages;
    faults += result.faults;
    if (result.violations.length === 0) continue;
    failed++;
    console.log(`seed ${seed}: ${result.violations.slice(0, 3).join("; ")}`);
    console.log(`  replay: ${replayCommand(seed, mutation?.name)}`);
  }
  const seconds = (performance.now() - began) / 1_000;
  console.log(
    `${ran} schedules, ${failed} failed; ${messages} messages, ${faults} faults, ${steps} steps; ` +
      `${seconds.toFixed(1)} s, ${(seconds * 1_000 / ran).toFixed(2)} ms each`,
  );
  return failed === 0 ? 0 : 1;
}

function natural(flag: string, text: unknown): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) stop(`--${flag} needs a positive whole number`);
  return value;
}

function stop(text: string): never {
  console.error(text);
  Deno.exit(2);
}
