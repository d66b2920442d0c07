/**
 * `deno task profile [WORK] [flags]`: where the CPU time of a server under load goes.
 *
 * Starts a server (or the floor), puts load on it, samples every thread, and prints per thread the
 * functions with the most time; writes a flame graph and V8's own profiles beside it.
 *
 *   deno task profile                         50 v1 pairs, one message in flight each
 *   deno task profile pairs --v 2 --n 50      v2: receipts and durable acks
 *   deno task profile group --n 10 --m 20     any work and flag of bench/load/settings.ts
 *
 * Own flags: --secs S sampled (5) · --top N functions per thread (25) · --workers N of the server ·
 * --interval US between samples (250) · --floor · --out DIR (bench/results/profile) ·
 * --by total (order by total time).
 */

import { parseArgs } from "@std/cli/parse-args";
import { join, resolve } from "@std/path";
import { z } from "zod";
import { flamePage } from "./profile/flame.ts";
import { threadCpuSeconds } from "./load/processes.ts";
import { Inspector } from "./profile/inspector.ts";
import { type Tally, tally } from "./profile/tally.ts";
import { withChildren } from "./suite/children.ts";
import { type Result, startGenerator } from "./suite/generator.ts";
import { startFloor, startServer } from "./suite/targets.ts";

const Options = z.looseObject({
  _: z.array(z.coerce.string()).max(1),
  secs: z.coerce.number().positive(),
  top: z.coerce.number().int().positive(),
  interval: z.coerce.number().int().min(50),
  workers: z.coerce.number().int().min(0).optional(),
  floor: z.boolean(),
  out: z.string(),
  by: z.enum(["self", "total"]),
});

/** Set-up, warm-up and the generator's own last checks. */
const OVERHEAD_MS = 120_000;

function printThread(name: string, t: Tally, top: number, by: "self" | "total"): void {
  const share = (ms: number) => `${(100 * ms / t.wallMs).toFixed(1)}%`.padStart(6);
  console.log(
    `\n── ${name}: busy ${share(t.busyMs).trim()} of ${(t.wallMs / 1000).toFixed(1)} s ──`,
  );
  console.log("  self  total  function");
  const key = by === "self" ? "selfMs" : "totalMs";
  const functions = [...t.functions].sort((a, b) => b[key] - a[key]);
  for (const f of functions.slice(0, top)) {
    console.log(`${share(f.selfMs)} ${share(f.totalMs)}  ${f.name}`);
  }
}

function summary(result: Result): string {
  return Object.entries(result)
    .flatMap(([key, value]) => typeof value === "number" ? [`${key} ${+value.toFixed(2)}`] : [])
    .join(", ");
}

async function main(): Promise<number> {
  const { _: [work = "pairs"], secs, top, interval, workers, floor, out: outName, by, ...rest } =
    Options
      .parse(parseArgs(Deno.args, {
        default: { secs: 5, top: 25, interval: 250, out: "bench/results/profile", by: "self" },
        boolean: ["floor"],
        string: ["out", "by", "v"],
      }));
  const flags = z.record(z.string(), z.union([z.string(), z.number()])).parse(rest);
  const out = resolve(outName);
  await Deno.mkdir(out, { recursive: true });
  const target = floor
    ? await startFloor(true)
    : await startServer(out, { workers, inspect: true });
  const { inspector: url, pid } = target;
  if (url === undefined || pid === undefined) throw new Error("the target has no inspector");
  const load = startGenerator(work, {
    host: target.host,
    port: target.port,
    pids: pid,
    secs: secs + 2, // the profiler starts a little later and must stop before
    ...flags,
  }, OVERHEAD_MS + secs * 1000);
  await load.measuring;
  const inspector = await Inspector.connect(url);
  const cpuBefore = threadCpuSeconds(pid);
  const threads = await inspector.profile(
    interval,
    () => new Promise((resolve) => setTimeout(resolve, secs * 1000)),
  );
  const cpuAfter = threadCpuSeconds(pid);
  const result = await load.result;
  await inspector.close();
  await target.stop();

  const tallies = threads.map((t) => ({ ...t, tally: tally(t.profile) }))
    .sort((a, b) => b.tally.busyMs - a.tally.busyMs);
  for (const { thread, tally, raw } of tallies) {
    printThread(thread, tally, top, by);
    const file = thread.replace(/[^\w.-]+/g, "_") + ".cpuprofile";
    await Deno.writeTextFile(join(out, file), JSON.stringify(raw));
  }
  const page = join(out, "flame.html");
  await Deno.writeTextFile(
    page,
    flamePage(tallies.map(({ thread, tally }) => ({
      title: `${thread}: busy ${(100 * tally.busyMs / tally.wallMs).toFixed(1)} %`,
      flame: tally.flame,
    }))),
  );
  console.log(`\n── CPU by system thread; V8 counts the runtime's own reads and polls as idle ──`);
  for (const [thread, cpuS] of [...cpuAfter].sort((a, b) => b[1] - a[1])) {
    const share = 100 * (cpuS - (cpuBefore.get(thread) ?? 0)) / secs;
    if (share >= 1) console.log(`${share.toFixed(1).padStart(5)}%  ${thread}`);
  }
  console.log(`\nunder ${work}, sampled: ${summary(result)}`);
  console.log(`flame graphs: ${page}; profiles for other viewers beside it`);
  return 0;
}

if (import.meta.main) Deno.exit(await withChildren(main));
