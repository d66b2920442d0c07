/**
 * `deno task chaos`: torments real servers with real faults while real clients talk, then has the
 * clients' own records judged. Exit status 1 when anything is wrong, or too little happened.
 */

import { parseArgs } from "@std/cli/parse-args";
import { makeRunDir, run, type RunResult } from "./run.ts";
import { timeline } from "./timeline.ts";

const HELP = `usage: deno task chaos [flags]

  --seed TEXT       decides users, conversations and faults [random]
  --minutes M       how long the faults last [1]
  --cluster         MariaDB, Redis, nginx and several nodes instead of one node on SQLite
  --nodes N         nodes of the cluster [3]
  --skew-ms MS      between the clocks of its first and last node; 0 for none [3000]
  --users N         simulated users [24]
  --rate N          messages a minute that are aimed at [26000]
  --only NAME,…     only these faults
  --early-ack       the variant that acknowledges before it commits: must be found out
  --keep            keep the records
`;

/** Least that must have happened, a minute. */
const LEAST_FAULTS = 12;
const LEAST_MESSAGES = 20_000;
const LEAST_GREEDY_FRAMES = 2_000;
/** Violations that are told in full, and timelines. */
const MOST_TOLD = 20;
const MOST_TIMELINES = 3;
/** Status after an interrupt, by convention. */
const INTERRUPTED = 130;

async function main(): Promise<number> {
  const flags = parseArgs(Deno.args, {
    string: ["seed", "minutes", "nodes", "skew-ms", "users", "rate", "only"],
    boolean: ["cluster", "early-ack", "keep", "help"],
    unknown: (arg) => {
      console.error(`${arg} is no flag of this program; --help lists them`);
      Deno.exit(2);
    },
  });
  if (flags.help === true) {
    console.log(HELP);
    return 0;
  }
  const number = (name: string, fallback: number): number => {
    const value = Number(flags[name] ?? fallback);
    if (Number.isFinite(value) && value >= 0) return value;
    console.error(`--${name} takes a number, not "${flags[name]}"`);
    Deno.exit(2);
  };
  const seed = String(flags.seed ?? Math.floor(Math.random() * 1e9));
  const minutes = number("minutes", 1);
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => stop.abort(new Error(`ended by ${signal}`)));
  }
  const nodes = flags.cluster === true ? number("nodes", 3) : 0;
  const skewMs = number("skew-ms", 3_000);
  const dir = await makeRunDir();
  const began = performance.now();
  const say = (text: string) => console.log(text);
  say(`chaos: seed ${seed}, ${minutes} min, records in ${dir}`);
  if (nodes > 1) say(`clocks of the first and the last node are ${skewMs} ms apart`);
  let result: RunResult;
  try {
    result = await run({
      seed,
      minutes,
      nodes,
      skewMs,
      users: number("users", 24),
      messagesPerMinute: number("rate", 26_000),
      dir,
      earlyAck: flags["early-ack"] === true,
      ...typeof flags.only === "string" && { only: flags.only.split(",") },
      signal: stop.signal,
      say,
    });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    console.error(`chaos: ${stop.signal.reason.message}; everything is taken down`);
    return INTERRUPTED;
  }
  const complaints = report(result, minutes, say);
  say(`took ${((performance.now() - began) / 1_000).toFixed(0)} s`);
  const replay = `deno task chaos --seed ${seed} --minutes ${minutes}` +
    (flags.cluster === true ? " --cluster" : "");
  if (complaints.length > 0) {
    say(`FAILED (${replay}; records in ${dir}):`);
    for (const complaint of complaints) say(`  ${complaint}`);
    return 1;
  }
  if (flags.keep !== true) await Deno.remove(dir, { recursive: true });
  say(`passed (${replay})`);
  return 0;
}

function report(result: RunResult, minutes: number, say: (text: string) => void): string[] {
  const { verdict: { counts, violations }, faults, troubles } = result;
  say("");
  say("faults injected:");
  const byName = Map.groupBy(faults, ({ name }) => name);
  for (const [name, list] of [...byName].toSorted()) say(`  ${list.length} × ${name}`);
  say("until every sender was acknowledged again, ms (median, most):");
  for (const { name, medianMs, maxMs } of result.rates.recoveries) {
    say(`  ${String(medianMs).padStart(7)} ${String(maxMs).padStart(7)}  ${name}`);
  }
  say(`longest time a sender waited for an acknowledgement: ${result.rates.maxGapMs} ms`);
  say(
    `${faults.length} faults; ${counts.users} users; ${counts.sent} messages sent, of them ` +
      `${counts.replies} replies; ${counts.acknowledged} acknowledged; ${counts.deliveries} ` +
      `deliveries; ${counts.repeats} repeats recognised by a later client; ` +
      `${counts.history} messages read back; presence on ${counts.presence} node(s)`,
  );
  const { greedy } = result;
  say(`beside them a greedy neighbour: ${greedy.frames} frames, ${greedy.connections} connections`);
  const byKind = Map.groupBy(violations, ({ kind }) => kind);
  const lost = byKind.get("acknowledged but never seen")?.length ?? 0;
  const doubled = byKind.get("seen twice")?.length ?? 0;
  const reordered = byKind.get("out of order")?.length ?? 0;
  const ghosts = byKind.get("ghost in presence")?.length ?? 0;
  say(`${lost} lost, ${doubled} duplicated, ${reordered} reordered, ${ghosts} ghosts`);
  say(
    `${counts.inversions} times somebody was handed a reply before what it answers, ` +
      `${counts.replacedIds} times an id that another attempt has replaced`,
  );
  for (const { kind, text } of violations.slice(0, MOST_TOLD)) say(`VIOLATION ${kind}: ${text}`);
  const told = new Set<string>();
  const odd = result.verdict.inversions.slice(0, MOST_TIMELINES).map(({ user, reply, cause }) => ({
    message: reply,
    other: cause,
    users: [user],
  }));
  for (const { message, other, users } of [...violations, ...odd]) {
    for (const name of [message, other]) {
      if (name === undefined || told.has(name) || told.size >= MOST_TIMELINES) continue;
      told.add(name);
      say(`timeline of ${name}:`);
      for (const line of timeline(result.evidence, name, users)) say(`  ${line}`);
    }
  }
  const complaints = [...byKind].map(([kind, list]) => `${list.length} × ${kind}`);
  complaints.push(...troubles);
  const leastFaults = Math.floor(LEAST_FAULTS * minutes);
  const leastMessages = Math.floor(LEAST_MESSAGES * minutes);
  if (faults.length < leastFaults) {
    complaints.push(`only ${faults.length} faults, expected ${leastFaults}`);
  }
  if (counts.acknowledged < leastMessages) {
    complaints.push(`only ${counts.acknowledged} messages, expected ${leastMessages}`);
  }
  if (greedy.frames < Math.floor(LEAST_GREEDY_FRAMES * minutes)) {
    complaints.push(`the greedy neighbour sent only ${greedy.frames} frames`);
  }
  return complaints;
}

Deno.exit(await main());
