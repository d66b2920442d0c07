/** Carries out one workload once, on a target that has just been started, and sums up what came. */

import { z } from "zod";
import { residentKib } from "../load/processes.ts";
import { type Flags, type Generator, startGenerator } from "./generator.ts";
import type { Target } from "./targets.ts";
import type { Figure, Workload } from "./workloads.ts";

/** Percentiles in µs. */
const Distribution = z.object({
  count: z.number(),
  p50: z.number(),
  p90: z.number(),
  p99: z.number(),
  p999: z.number(),
  max: z.number(),
});
export type Distribution = z.infer<typeof Distribution>;

const Cores = { serverCores: z.number(), generatorCores: z.number(), otherCores: z.number() };
const FlowResult = z.object({
  ...Cores,
  perS: z.number(),
  delivery: Distribution,
  ackedPerS: z.number(),
  ack: Distribution,
  lateness: Distribution,
  expected: z.number(),
  lost: z.number(),
  duplicates: z.number(),
  outOfOrder: z.number(),
  unacked: z.number(),
  errors: z.number(),
  unmeasured: z.number(),
  slowestFlow: z.number(),
  medianFlow: z.number(),
  fastestFlow: z.number(),
  note: z.string(),
});
const VisitResult = z.object({
  ...Cores,
  done: z.number(),
  refused: z.number(),
  perS: z.number(),
  latency: Distribution,
  note: z.string(),
});
const IdleResult = z.object({ rssBeforeKib: z.number(), kibPerConnection: z.number() });
const StormResult = z.object({
  done: z.number(),
  refused: z.number(),
  secondsUntilAllBack: z.number(),
  latency: Distribution,
  resumed: Distribution,
  doubled: z.number(),
  note: z.string(),
});

/** One run of one workload. Absent: not measured by it. */
export interface Sample {
  /** The workload's figure. */
  readonly value: number;
  readonly delivery?: Distribution;
  readonly ack?: Distribution;
  /** CPU time of the server per delivered message. */
  readonly cpuUsPerMessage?: number;
  readonly serverCores?: number;
  readonly generatorCores?: number;
  /** CPU time of everything else on the machine: the database, but also whatever disturbs. */
  readonly otherCores?: number;
  readonly slowestOverMedian?: number;
  /** What was wrong: a lost message, a refusal. Empty: nothing. */
  readonly failures: readonly string[];
  /** Worth saying beside the numbers. */
  readonly remark?: string;
}

/** What a run takes from the command line. */
export interface RunOptions {
  readonly secs: number;
  readonly warm: number;
}

/** Set-up and the last checks of a generator, at most. */
const OVERHEAD_MS = 240_000;
/** A generator that uses this much of a core may be what limits the figure. */
export const GENERATOR_LIMIT_CORES = 0.9;
const SOAK_SAMPLE_MS = 1_000;
const PEAK_SECS = 8;

function generate(
  targets: readonly Target[],
  workload: { readonly work: string; readonly flags: Flags; readonly oneNode?: boolean },
  extra: Flags,
): Generator {
  const [first, second] = targets;
  if (first === undefined) throw new Error("no target");
  const receivers = workload.oneNode ? first : second ?? first;
  const secs = Number(extra.secs ?? 0);
  return startGenerator(workload.work, {
    host: first.host,
    port: first.port,
    port2: receivers.port,
    pids: targets.flatMap((t) => t.pid === undefined ? [] : [t.pid]).join(","),
    ...workload.flags,
    ...extra,
  }, OVERHEAD_MS + secs * 1000);
}

function coresOf(
  r: { serverCores: number; generatorCores: number; otherCores: number },
): Pick<Sample, "serverCores" | "generatorCores" | "otherCores"> {
  const { serverCores, generatorCores, otherCores } = r;
  return { serverCores, generatorCores, otherCores };
}

function flowSample(result: unknown, figure: Figure): Sample {
  const r = FlowResult.parse(result);
  const counts = {
    lost: r.lost,
    duplicates: r.duplicates,
    "out of order": r.outOfOrder,
    unacked: r.unacked,
    errors: r.errors,
    unmeasured: r.unmeasured,
  };
  const failures = Object.entries(counts).filter(([, n]) => n > 0).map(([what, n]) =>
    `${what} ${n} of ${r.expected}`
  );
  if (failures.length > 0 && r.note !== "") failures.push(r.note);
  const slowestOverMedian = r.medianFlow > 0 ? r.slowestFlow / r.medianFlow : 0;
  const values = {
    perS: r.perS,
    p50: r.delivery.p50,
    share: slowestOverMedian,
    kib: 0,
    seconds: 0,
  };
  return {
    value: values[figure],
    delivery: r.delivery,
    ...(r.ack.count > 0 ? { ack: r.ack } : {}),
    ...(r.serverCores > 0 && r.perS > 0 ? { cpuUsPerMessage: r.serverCores / r.perS * 1e6 } : {}),
    ...coresOf(r),
    slowestOverMedian,
    failures,
    ...(r.lateness.count > 0
      ? { remark: `generator late by p99 ${r.lateness.p99} µs` }
      : figure === "share"
      ? { remark: `${Math.round(r.perS).toLocaleString("en")}/s` }
      : {}),
  };
}

function visitSample(result: unknown): Sample {
  const r = VisitResult.parse(result);
  return {
    value: r.perS,
    delivery: r.latency,
    ...coresOf(r),
    failures: r.refused > 0 ? [`refused ${r.refused} of ${r.done + r.refused}: ${r.note}`] : [],
  };
}

/** Chat at a fixed rate, alone and then while others log in without pause. */
async function chatWhileLogin(
  targets: readonly Target[],
  workload: Workload,
  options: RunOptions,
): Promise<Sample> {
  const alone = flowSample(
    await generate(targets, workload, timing(options)).result,
    workload.figure,
  );
  const gate = await Deno.makeTempDir({ prefix: "chat-gate-" });
  try {
    const extra = { gate: `${gate}/go` };
    const others = generate(targets, { work: "login", flags: { n: 40, w: 8, v: 2, setup: 4 } }, {
      ...extra,
      secs: options.secs + options.warm + 1,
    });
    await others.ready;
    const chat = generate(targets, workload, { ...timing(options), ...extra });
    await chat.ready;
    await Deno.writeTextFile(extra.gate, "");
    const sample = flowSample(await chat.result, workload.figure);
    const logins = visitSample(await others.result);
    return {
      ...sample,
      failures: [...alone.failures, ...sample.failures, ...logins.failures],
      remark: `${logins.value.toFixed(0)} log-ins/s; alone p50 ${alone.delivery?.p50} µs, ` +
        `p99 ${alone.delivery?.p99} µs`,
    };
  } finally {
    await Deno.remove(gate, { recursive: true });
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

/** Open loop at 80 % of the peak; the figure is memory in the last tenth ÷ the second tenth. */
async function soak(
  targets: readonly Target[],
  workload: Workload,
  options: RunOptions,
): Promise<Sample> {
  const peak = flowSample(
    await generate(targets, { work: "pairs", flags: workload.flags }, { secs: PEAK_SECS }).result,
    "perS",
  );
  const rate = Math.round(peak.value * 0.8);
  const load = generate(targets, workload, { ...timing(options), rate });
  await load.measuring;
  const pids = targets.flatMap((t) => t.pid === undefined ? [] : [t.pid]);
  const kib: number[] = [];
  const timer = setInterval(() => kib.push(residentKib(pids)), SOAK_SAMPLE_MS);
  let result: unknown;
  try {
    result = await load.result;
  } finally {
    clearInterval(timer);
  }
  const tenth = Math.max(1, Math.floor(kib.length / 10));
  const mib = Array.from(
    { length: 10 },
    (_, i) => Math.round(median(kib.slice(i * tenth, (i + 1) * tenth)) / 1024),
  );
  const sample = flowSample(result, "perS");
  return {
    ...sample,
    value: (mib[9] ?? 0) / (mib[1] ?? 1),
    failures: [...peak.failures, ...sample.failures],
    remark: `${rate.toLocaleString("en")}/s offered, ${
      Math.round(sample.value).toLocaleString("en")
    }/s delivered; MiB by tenth: ${mib.join(" ")}`,
  };
}

/** The flags every generator of a run gets. */
function timing({ secs, warm }: RunOptions): Flags {
  return { secs, warm };
}

/** Runs `workload` once. `targets`: the node, or both nodes of a cluster. */
export async function measure(
  targets: readonly Target[],
  workload: Workload,
  options: RunOptions,
): Promise<Sample> {
  switch (workload.kind) {
    case "flows":
      return flowSample(
        await generate(targets, workload, timing(options)).result,
        workload.figure,
      );
    case "visits":
      return visitSample(await generate(targets, workload, timing(options)).result);
    case "logins":
      return await chatWhileLogin(targets, workload, options);
    case "soak":
      return await soak(targets, workload, options);
    case "idle": {
      const r = IdleResult.parse(await generate(targets, workload, {}).result);
      return {
        value: r.kibPerConnection,
        failures: [],
        remark: `before them ${Math.round(r.rssBeforeKib / 1024)} MiB`,
      };
    }
    case "storm": {
      const kill = targets[0]?.pid ?? 0;
      const r = StormResult.parse(await generate(targets, workload, { kill }).result);
      return {
        value: r.secondsUntilAllBack,
        delivery: r.latency,
        ack: r.resumed,
        failures: [
          ...r.secondsUntilAllBack < 0 ? [`only ${r.done} came back: ${r.note}`] : [],
          ...r.doubled > 0 ? [`${r.doubled} messages came twice`] : [],
        ],
        remark: `${Math.round(r.done / r.secondsUntilAllBack)} resumes/s, ${r.refused} refused`,
      };
    }
    default:
      return workload.kind satisfies never;
  }
}

/** Runs what a workload is compared with, on the floor. */
export async function measureFloor(
  target: Target,
  workload: Workload,
  options: RunOptions,
): Promise<Sample | undefined> {
  if (workload.floor === undefined) return undefined;
  const [work, flags] = workload.floor;
  return flowSample(
    await generate([target], { work, flags }, timing(options)).result,
    workload.figure,
  );
}
