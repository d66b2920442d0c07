/** What a failed schedule looks like to a person: what is wrong, what led there, how to see it again. */

import type { Result } from "./run.ts";

/** Lines of a trace that a report shows at most: its end, where the violation is. */
const TRACE_LINES = 120;

/** The command that runs one schedule again, with its trace. */
export function replayCommand(seed: number, mutation: string | undefined): string {
  const broken = mutation === undefined ? "" : ` --mutation "${mutation}"`;
  return `deno task simulate --seed ${seed}${broken}`;
}

/** @param result Of a run with a trace. */
export function reportOf(result: Result, mutation?: string): string {
  const { seed, plan, violations, trace } = result;
  const settings = Object.entries(plan).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
  const shown = trace.slice(-TRACE_LINES);
  return [
    `the schedule of seed ${seed} ${violations.length === 0 ? "passes" : "fails"}`,
    ...violations.map((violation) => `VIOLATION: ${violation}`),
    "",
    ...settings,
    "",
    "virtual ms   step  what happened",
    ...(trace.length > shown.length ? [`… ${trace.length - shown.length} lines before`] : []),
    ...shown,
    "",
    `replay: ${replayCommand(seed, mutation)}`,
  ].join("\n");
}
