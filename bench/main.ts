/**
 * `deno task bench [workload…] [flags]`: what this server does per second, how long a message
 * takes, what it costs, and that nothing is lost, doubled or out of order meanwhile.
 *
 *   deno task bench                          every workload of one node, on SQLite
 *   deno task bench pairs-50 group           some; a beginning ("pairs") means all it fits
 *   deno task bench --cluster                the workloads of two nodes on MariaDB and Redis
 *   deno task bench soak --secs 600 --runs 1 memory over ten minutes
 *   deno task bench --list                   the workloads
 *
 * --runs N of each, floor and server in turns (3) · --secs S measured per run (5) · --warm S before
 * it (1) · --workers N session workers of the server · --against HOST:PORT a server that is running
 * (--pid P reads its CPU time and memory) · --json FILE all samples
 *
 * Exit status 1 when a check failed in any run. A missed aim is printed, not a failure.
 */

import { parseArgs } from "@std/cli/parse-args";
import { fromFileUrl } from "@std/path";
import { z } from "zod";
import reference from "./reference.json" with { type: "json" };
import { withChildren } from "./suite/children.ts";
import { startCluster } from "./suite/cluster.ts";
import { measure, measureFloor, type Sample } from "./suite/measure.ts";
import { renderTable, type Row, summarise } from "./suite/table.ts";
import { externalTarget, startFloor, startServer, type Target } from "./suite/targets.ts";
import { choose, UsageError, type Workload, WORKLOADS } from "./suite/workloads.ts";

const Options = z.object({
  _: z.array(z.coerce.string()),
  runs: z.coerce.number().int().positive(),
  secs: z.coerce.number().positive(),
  warm: z.coerce.number().min(0),
  workers: z.coerce.number().int().min(0).optional(),
  against: z.string().optional(),
  pid: z.coerce.number().int().positive().optional(),
  json: z.string().optional(),
  cluster: z.boolean(),
  list: z.boolean(),
}).strict();
type Options = z.infer<typeof Options>;

/** Data is kept on the disk of the checkout: /tmp may be memory, where a flush costs nothing. */
const RESULTS = fromFileUrl(new URL("results/", import.meta.url));

function log(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text + "\n"));
}

/** Median of 4 KiB written and flushed: what every commit pays at least. */
async function flushMicros(): Promise<number> {
  const path = await Deno.makeTempFile({ dir: RESULTS });
  try {
    using file = await Deno.open(path, { write: true });
    const block = new Uint8Array(4096);
    const times = Array.from({ length: 21 }, () => {
      const start = performance.now();
      file.writeSync(block);
      file.syncDataSync();
      return performance.now() - start;
    });
    return Math.round((times.sort((a, b) => a - b)[10] ?? 0) * 1000);
  } finally {
    await Deno.remove(path);
  }
}

/** Runs `use` with the servers the workload needs, fresh for every run. */
async function withTargets(
  workload: Workload,
  options: Options,
  use: (targets: readonly Target[]) => Promise<Sample>,
): Promise<Sample> {
  if (options.against !== undefined) {
    return await use([externalTarget(options.against, options.pid)]);
  }
  const server = {
    workers: options.workers ?? workload.workers,
    ...(workload.passwordCost === undefined ? {} : { passwordCost: workload.passwordCost }),
  };
  if (workload.cluster) {
    const cluster = await startCluster(RESULTS, server);
    try {
      return await use(cluster.nodes);
    } finally {
      await cluster.stop();
    }
  }
  const target = await startServer(RESULTS, server);
  try {
    return await use([target]);
  } finally {
    await target.stop();
  }
}

async function floorSample(workload: Workload, options: Options): Promise<Sample | undefined> {
  if (workload.floor === undefined) return undefined;
  const floor = await startFloor();
  try {
    return await measureFloor(floor, workload, options);
  } finally {
    await floor.stop();
  }
}

/** A sample, or one whose failure says why there is none: one broken workload stops no other. */
async function attempt(
  name: string,
  interrupted: AbortSignal,
  run: () => Promise<Sample>,
): Promise<Sample> {
  try {
    interrupted.throwIfAborted();
    const sample = await run();
    const failed = sample.failures.length > 0 ? ` FAILED: ${sample.failures.join("; ")}` : "";
    log(`  ${name}: ${+sample.value.toFixed(2)}${failed}`);
    return sample;
  } catch (error) {
    interrupted.throwIfAborted();
    log(`  ${name}: ${error}`);
    return { value: 0, failures: [String(error).split("\n").slice(0, 3).join(" ")] };
  }
}

/** Workloads that are compared with the same load on the floor, next to each other. */
function byFloor(workloads: readonly Workload[]): Workload[][] {
  const groups = new Map<string, Workload[]>();
  for (const workload of workloads) {
    const key = workload.floor === undefined
      ? workload.name
      : JSON.stringify([workload.floor, workload.figure]);
    groups.set(key, [...groups.get(key) ?? [], workload]);
  }
  return [...groups.values()];
}

async function runAll(
  workloads: readonly Workload[],
  options: Options,
  interrupted: AbortSignal,
): Promise<Row[]> {
  const samples = new Map<Workload, Sample[]>(workloads.map((w) => [w, []]));
  const floors = new Map<Workload, (Sample | undefined)[]>(workloads.map((w) => [w, []]));
  for (const group of byFloor(workloads)) {
    for (let run = 1; run <= options.runs; run++) {
      const due = group.filter((w) => run === 1 || !w.once);
      const [first] = due;
      if (first === undefined) break;
      log(`run ${run} of ${options.runs}`);
      const floor = first.floor === undefined
        ? undefined
        : await attempt("floor", interrupted, async () => {
          const sample = await floorSample(first, options);
          if (sample === undefined) throw new Error("no floor");
          return sample;
        });
      for (const workload of due) {
        const sample = await attempt(
          workload.name,
          interrupted,
          () => withTargets(workload, options, (targets) => measure(targets, workload, options)),
        );
        samples.get(workload)?.push(sample);
        floors.get(workload)?.push(floor);
      }
    }
  }
  return workloads.map((workload) => ({
    workload,
    samples: samples.get(workload) ?? [],
    floors: floors.get(workload) ?? [],
  }));
}

function readOptions(): Options {
  const parsed = Options.safeParse(parseArgs(Deno.args, {
    default: { runs: 3, secs: 5, warm: 1 },
    boolean: ["cluster", "list"],
    string: ["against", "json"],
  }));
  if (!parsed.success) throw new UsageError(z.prettifyError(parsed.error));
  return parsed.data;
}

async function main(interrupted: AbortSignal): Promise<number> {
  const options = readOptions();
  if (options.list) {
    for (const w of WORKLOADS) console.log(`${w.name.padEnd(18)} ${w.about}`);
    return 0;
  }
  const workloads = choose(options._, options.cluster);
  await Deno.mkdir(RESULTS, { recursive: true });
  const machine = {
    cores: navigator.hardwareConcurrency,
    deno: Deno.version.deno,
    flushUs: await flushMicros(),
    loadAverage: Deno.loadavg()[0] ?? 0,
  };
  const rows = await runAll(workloads, options, interrupted);
  const references = new Map(Object.entries(reference.figures));
  console.log(
    `\n${machine.cores} cores shared with the load generator, Deno ${machine.deno}, ` +
      `flush of 4 KiB ${machine.flushUs} µs, load average at start ${
        machine.loadAverage.toFixed(2)
      }; ${options.runs} × ${options.secs} s\n`,
  );
  console.log(renderTable(rows, references));
  if (options.json !== undefined) {
    const report = {
      date: new Date().toISOString(),
      machine,
      options,
      rows: rows.map((row) => ({
        workload: row.workload.name,
        summary: summarise(row),
        samples: row.samples,
        floors: row.floors,
      })),
    };
    await Deno.writeTextFile(options.json, JSON.stringify(report, undefined, 2) + "\n");
  }
  return rows.some((row) => row.samples.some((s) => s.failures.length > 0)) ? 1 : 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await withChildren(main));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    log(error.message);
    Deno.exit(2);
  }
}
