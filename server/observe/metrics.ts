/**
 * `GET /metrics`: gathers what each thread has counted and writes it in Prometheus' text format.
 *
 * A library (prom-client) would serve only for the format: its counters look labels up and its
 * registry is one thread's. Source: prometheus.io/docs/instrumenting/exposition_formats.
 */

import type { ThreadId } from "../../actors/runtime/link.ts";
import {
  bucketBound,
  type Meter,
  type MetricName,
  METRICS,
  type MetricSpec,
  type Reading,
} from "../../actors/observe/meter.ts";
import type { ActorSystem } from "../../actors/runtime/runtime.ts";

const SPECS: Record<MetricName, MetricSpec> = METRICS;
/** How long a thread may take to answer a scrape, ms. */
const SCRAPE_MS = 1_000;

/** A thread that counts. */
export interface MeteredThread {
  readonly thread: ThreadId;
  readonly name: string;
}

/** Gathers the meters of all threads. */
export class Metrics {
  readonly #system: ActorSystem;
  readonly #own: Meter;
  readonly #threads: readonly MeteredThread[];
  #scraping: Promise<string> | undefined;

  /** @param own The main thread's. */
  constructor(system: ActorSystem, own: Meter, threads: readonly MeteredThread[]) {
    this.#system = system;
    this.#own = own;
    this.#threads = threads;
  }

  /** The text of a scrape; callers at the same time share one. */
  scrape(): Promise<string> {
    return this.#scraping ??= this.#scrape().finally(() => this.#scraping = undefined);
  }

  /** Names of threads that do not answer in time. */
  async silent(ms: number): Promise<string[]> {
    const readings = await Promise.all(this.#threads.map(({ thread }) => this.#ask(thread, ms)));
    return this.#threads.filter((_, i) => readings[i] === undefined).map(({ name }) => name);
  }

  async #scrape(): Promise<string> {
    const page = new Page();
    page.add("main", this.#own.snapshot());
    const answers = this.#threads.map(({ thread }) => this.#ask(thread, SCRAPE_MS));
    for (const [i, readings] of (await Promise.all(answers)).entries()) {
      const name = this.#threads[i]?.name ?? "";
      const value = readings === undefined ? 0 : 1;
      page.add(name, [...readings ?? [], { name: "chat_thread_up", label: "", value }]);
    }
    return page.text();
  }

  /** Undefined when the thread does not answer. */
  #ask(thread: ThreadId, ms: number): Promise<Reading[] | undefined> {
    const meter = this.#system.ref<"snapshot">(thread, "meter");
    return meter.ask<Reading[]>("snapshot", ms).catch(() => undefined); // counted as down
  }
}

/** Samples in the order of their metrics, as the format wants them. */
class Page {
  readonly #samples = new Map<MetricName, string[]>();

  add(thread: string, readings: readonly Reading[]): void {
    for (const reading of readings) {
      let lines = this.#samples.get(reading.name);
      if (lines === undefined) this.#samples.set(reading.name, lines = []);
      if ("buckets" in reading) histogram(lines, thread, reading);
      else {
        const { label } = SPECS[reading.name];
        const own = label === undefined || reading.label === ""
          ? ""
          : `,${label}="${escaped(reading.label)}"`;
        lines.push(`${reading.name}{thread="${escaped(thread)}"${own}} ${reading.value}`);
      }
    }
  }

  text(): string {
    const lines: string[] = [];
    for (const [name, samples] of this.#samples) {
      const { type, help } = SPECS[name];
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples);
    }
    return lines.join("\n") + "\n";
  }
}

function histogram(
  lines: string[],
  thread: string,
  { name, buckets, sum }: Extract<Reading, { buckets: unknown }>,
): void {
  const { unit = 0.001 } = SPECS[name];
  const label = `thread="${escaped(thread)}"`;
  let count = 0;
  for (const [i, n] of buckets.entries()) {
    count += n;
    const bound = bucketBound(i);
    const le = bound === Infinity ? "+Inf" : String(unit === 1 ? bound : bound / 1_000);
    lines.push(`${name}_bucket{${label},le="${le}"} ${count}`);
  }
  lines.push(`${name}_sum{${label}} ${sum * unit}`, `${name}_count{${label}} ${count}`);
}

function escaped(label: string): string {
  return label.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
