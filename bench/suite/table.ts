/** The samples of a run → a table a person reads. */

import { GENERATOR_LIMIT_CORES, type Sample } from "./measure.ts";
import type { Aim, Figure, Workload } from "./workloads.ts";

/** All runs of one workload. */
export interface Row {
  readonly workload: Workload;
  readonly samples: readonly Sample[];
  /** The floor's sample of the same run; undefined where there is none. */
  readonly floors: readonly (Sample | undefined)[];
}

/** A figure of another server (bench/reference.json). */
export interface Reference {
  readonly value?: number | undefined;
  readonly text: string;
}

const LOWER_IS_BETTER: ReadonlySet<Figure> = new Set(["p50", "kib", "seconds"]);

/** Middle value; -1 when there is none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return -1;
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? -1;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? upper) + upper) / 2;
}

function defined(values: readonly (number | undefined)[]): number[] {
  return values.filter((v) => v !== undefined);
}

function time(us: number): string {
  if (us < 0) return "–";
  return us < 1_000
    ? `${us.toFixed(0)} µs`
    : `${(us / 1000).toFixed(us < 10_000 ? 2 : us < 100_000 ? 1 : 0)} ms`;
}

function show(figure: Figure, value: number): string {
  switch (figure) {
    case "perS":
      return `${Math.round(value).toLocaleString("en")}/s`;
    case "p50":
      return time(value);
    case "kib":
      return `${value.toFixed(1)} KiB`;
    case "share":
      return value.toFixed(2);
    case "seconds":
      return `${value.toFixed(2)} s`;
    default:
      return figure satisfies never;
  }
}

/** What the runs of one workload come to. */
export interface Summary {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** Median of the ratios to the floor, each within one run; -1 when there is no floor. */
  readonly ofFloor: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly ackP50Us: number;
  readonly ackP99Us: number;
  readonly cpuUsPerMessage: number;
  readonly serverCores: number;
  readonly generatorCores: number;
  readonly otherCores: number;
  readonly slowestOverMedian: number;
  readonly failures: readonly string[];
}

/** Medians over the runs. */
export function summarise(row: Row): Summary {
  const { samples, floors } = row;
  const values = samples.map((s) => s.value);
  const ratios = samples.map((s, i) => {
    const floor = floors[i]?.value;
    return floor === undefined || floor <= 0 ? undefined : s.value / floor;
  });
  const of = (pick: (s: Sample) => number | undefined) => median(defined(samples.map(pick)));
  return {
    value: median(values),
    low: Math.min(...values),
    high: Math.max(...values),
    ofFloor: median(defined(ratios)),
    p50Us: of((s) => s.delivery?.p50),
    p99Us: of((s) => s.delivery?.p99),
    p999Us: of((s) => s.delivery?.p999),
    ackP50Us: of((s) => s.ack?.p50),
    ackP99Us: of((s) => s.ack?.p99),
    cpuUsPerMessage: of((s) => s.cpuUsPerMessage),
    serverCores: of((s) => s.serverCores),
    generatorCores: of((s) => s.generatorCores),
    otherCores: of((s) => s.otherCores),
    slowestOverMedian: of((s) => s.slowestOverMedian),
    failures: [...new Set(samples.flatMap((s) => s.failures))],
  };
}

function verdict(aim: Aim | undefined, s: Summary, judge: boolean): string {
  if (aim === undefined) return "";
  return judge ? `${aim.text}: ${aim.met(s) ? "met" : "MISSED"}` : aim.text;
}

function ratio(value: number): string {
  return value < 0 ? "–" : value >= 10 ? value.toFixed(0) : value.toFixed(2);
}

function percent(cores: number): string {
  return cores < 0 ? "–" : `${(100 * cores).toFixed(0)} %`;
}

function cells(row: Row, reference: Reference | undefined): string[] {
  const { workload } = row;
  const s = summarise(row);
  const better = reference?.value === undefined || s.value <= 0
    ? -1
    : LOWER_IS_BETTER.has(workload.figure)
    ? reference.value / s.value
    : s.value / reference.value;
  const warn = s.generatorCores >= GENERATOR_LIMIT_CORES ? "!" : "";
  return [
    workload.name,
    show(workload.figure, s.value),
    row.samples.length > 1
      ? `${show(workload.figure, s.low)} … ${show(workload.figure, s.high)}`
      : "",
    ratio(s.ofFloor),
    time(s.p50Us),
    time(s.p99Us),
    time(s.p999Us),
    s.ackP50Us < 0 ? "–" : `${time(s.ackP50Us)} / ${time(s.ackP99Us)}`,
    s.cpuUsPerMessage < 0 ? "–" : s.cpuUsPerMessage.toFixed(1),
    percent(s.serverCores),
    percent(s.generatorCores) + warn,
    percent(s.otherCores),
    ratio(s.slowestOverMedian),
    ratio(better),
    verdict(workload.aim, s, s.failures.length === 0),
    s.failures.length === 0 ? "ok" : "FAILED",
  ];
}

const HEAD = [
  "workload",
  "median",
  "lowest … highest",
  "×floor",
  "p50",
  "p99",
  "p99.9",
  "ack p50 / p99",
  "CPU s/M",
  "server",
  "generator",
  "others",
  "slow÷med",
  "×ref",
  "aim",
  "checks",
];

function referenceOf(
  { name, reference = name }: Workload,
  references: ReadonlyMap<string, Reference>,
): Reference | undefined {
  return references.get(reference);
}

/** Rows as aligned text, then what each row's short cells could not say. */
export function renderTable(
  rows: readonly Row[],
  references: ReadonlyMap<string, Reference>,
): string {
  const table = [HEAD, ...rows.map((row) => cells(row, referenceOf(row.workload, references)))];
  const widths = HEAD.map((_, i) => Math.max(...table.map((line) => [...line[i] ?? ""].length)));
  const lines = table.map((line) =>
    line.map((cell, i) =>
      i === 0 || i > 13 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)
    )
      .join("  ").trimEnd()
  );
  lines.splice(1, 0, widths.map((w) => "─".repeat(w)).join("──"));
  const notes = rows.flatMap((row) => {
    const { name, about } = row.workload;
    const s = summarise(row);
    const remarks = row.samples.flatMap((r) => r.remark === undefined ? [] : [r.remark]);
    const reference = referenceOf(row.workload, references);
    return [
      `${name}: ${about}`,
      ...remarks.map((remark) => `    ${remark}`),
      ...(reference === undefined ? [] : [`    reference: ${reference.text}`]),
      ...s.failures.map((failure) => `    FAILED: ${failure}`),
      ...(s.generatorCores >= GENERATOR_LIMIT_CORES
        ? [`    ! the generator used ${s.generatorCores.toFixed(2)} of a core: it may be the limit`]
        : []),
    ];
  });
  return [...lines, "", ...notes].join("\n");
}
