/**
 * `deno task attack [NAME…] [--secs 30] [--cluster] [--seed TEXT]`: attacks a node of its own on
 * loopback in every way that is known, with an innocent beside each, and says what the innocent met.
 * The exit status is 1 when a promise did not hold.
 */

import { parseArgs } from "@std/cli/parse-args";
import { ATTACKS } from "./attacks.ts";
import { BOUNDS } from "./innocent.ts";
import { attackNames, runAttacks, type Verdict } from "./run.ts";

const MOST_SECS = 600;

const args = parseArgs(Deno.args, {
  string: ["secs", "seed"],
  boolean: ["cluster", "help"],
  default: { secs: "30", seed: crypto.randomUUID().slice(0, 8) },
  unknown: (arg, key) => {
    if (key !== undefined) stopWith(`${arg} is no flag; --help lists them`);
    return true;
  },
});

function stopWith(text: string): never {
  console.error(`attack: ${text}`);
  Deno.exit(2);
}

function row(verdict: Verdict): string {
  const { name, acks, p50, p99, loginMs, memoryBytes, putOff, ownMs, wrong } = verdict;
  const ms = (value: number) => `${Math.round(value)} ms`.padStart(9);
  const memory = `${Math.round(memoryBytes / 1_048_576)} MiB`.padStart(9);
  const again = putOff === 0 ? "" : ` (put off ${putOff} times, and came again)`;
  const end = wrong.length === 0 ? "holds" : `FAILS: ${wrong.join("; ")}`;
  return `${name.padEnd(14)}${`${acks}`.padStart(6)}${ms(p50)}${ms(p99)}${ms(loginMs)}${memory}${
    ms(ownMs)
  }  ${end}${again}`;
}

if (args.help) {
  console.log("deno task attack [NAME…] [--secs 30] [--cluster] [--seed TEXT]\n");
  for (const [name, { about }] of Object.entries(ATTACKS)) {
    console.log(`  ${name.padEnd(14)}${about}`);
  }
  Deno.exit(0);
}
const secs = Number(args.secs);
if (!(secs >= 1 && secs <= MOST_SECS)) stopWith(`--secs takes 1 to ${MOST_SECS}`);
const names = args._.map(String);
for (const name of names) {
  if (!Object.hasOwn(ATTACKS, name)) stopWith(`${name} is no attack; --help lists them`);
}
const cluster = args.cluster === true;
const seed = String(args.seed);
const where = cluster ? "the first of two nodes on MariaDB and Redis" : "one node on SQLite";
console.log(`attack: ${where}, ${secs} s each, --seed ${seed}`);
console.log(
  `the innocent: acknowledged within ${BOUNDS.ackP99Ms} ms (p99), in within ${BOUNDS.loginMs} ms, ` +
    `memory below ${BOUNDS.memoryBytes / 1_048_576} MiB above rest\n`,
);
console.log("attack          acks      p50      p99    log-in   memory  own lag");
const verdicts = await runAttacks({
  names: names.length === 0 ? attackNames(false) : names,
  secs,
  cluster,
  seed,
  onEnd: (verdict) => console.log(row(verdict)),
});
const failed = verdicts.filter(({ wrong }) => wrong.length > 0);
console.log(`\n${verdicts.length - failed.length} hold, ${failed.length} do not`);
Deno.exit(failed.length === 0 ? 0 : 1);
