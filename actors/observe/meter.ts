/**
 * What one thread counts: plain fields and typed arrays that the hot path increments, read as a
 * whole when somebody scrapes. No library, no allocation and no clock read per message.
 *
 * Every metric of the program is a row of {@linkcode METRICS}; the exposition is server/observe/metrics.ts.
 */

import { MSGID } from "@chat/wire/messages.ts";

/** What a metric is: its type, its help, and the name of the one label it may have of its own. */
export interface MetricSpec {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly label?: string;
  /** Histograms: what one of the measured integers is in the metric's unit. @default 0.001 (ms) */
  readonly unit?: number;
}

/** Every metric; the label `thread` is added to what comes from several threads. */
export const METRICS = {
  chat_connections: { type: "gauge", help: "Open connections." },
  chat_connections_waiting: {
    type: "gauge",
    help: "Connections with nobody logged in, TLS handshakes and missing PROXY headers.",
  },
  chat_connections_evicted_total: {
    type: "counter",
    help: "Of those, how many had to make room for others.",
  },
  chat_bytes_in_hand: { type: "gauge", help: "Bytes of frames read and not finished." },
  chat_connections_accepted_total: { type: "counter", help: "Connections accepted." },
  chat_connections_refused_total: {
    type: "counter",
    help: "Connections refused at the door: a limit was reached, or the node stops.",
  },
  chat_connections_closed_total: {
    type: "counter",
    help: "Connections closed, by reason.",
    label: "reason",
  },
  chat_sessions: { type: "gauge", help: "Users logged in on this node." },
  chat_users_online: { type: "gauge", help: "Users logged in on any node, as this node knows." },
  chat_messages_received_total: {
    type: "counter",
    help: "Requests from clients, by kind; a msgid that is none is unknown.",
    label: "kind",
  },
  chat_messages_sent_total: {
    type: "counter",
    help: "Objects for clients, by kind; those of the main thread (PING) are not counted.",
    label: "kind",
  },
  chat_requests_rejected_total: {
    type: "counter",
    help: "Requests answered with an errno other than 0.",
    label: "errno",
  },
  chat_ack_latency_seconds: {
    type: "histogram",
    help: "From a message's arrival in its session to its durable commit.",
  },
  chat_delivery_latency_seconds: {
    type: "histogram",
    help: "From a message's arrival to the receipt of a recipient it was pushed to while online.",
  },
  chat_deliveries_total: {
    type: "counter",
    help: "Receipts, by how the message had gone out: live, or from the pending rows.",
    label: "path",
  },
  chat_bytes_queued: { type: "gauge", help: "Bytes that wait for sockets." },
  chat_frames_unfinished: {
    type: "gauge",
    help: "Requests that sessions have not finished, chats before their commit among them.",
  },
  chat_replay_bytes: {
    type: "gauge",
    help: "Bytes of frames kept in case their session worker dies.",
  },
  chat_mailbox_messages: {
    type: "gauge",
    help: "Messages that wait in mailboxes, by actor; sessions: over all of a worker's.",
    label: "actor",
  },
  chat_store_unfiled: {
    type: "gauge",
    help: "Acknowledged messages that have yet to be filed into the tables.",
  },
  chat_store_queue: { type: "gauge", help: "Messages that wait for a commit." },
  chat_store_up: { type: "gauge", help: "1 when the last commit or probe succeeded." },
  chat_store_failures_total: { type: "counter", help: "Commits and questions that failed." },
  chat_store_commit_seconds: { type: "histogram", help: "Time of one commit." },
  chat_store_batch_messages: { type: "histogram", help: "Messages in one commit.", unit: 1 },
  chat_store_batch_receipts: { type: "histogram", help: "Receipts in one commit.", unit: 1 },
  chat_history_pruned_total: { type: "counter", help: "Messages removed by --history-days." },
  chat_bridge_up: { type: "gauge", help: "1 when envelopes get through to other nodes." },
  chat_bridge_sent_total: { type: "counter", help: "Envelopes given to the bus." },
  chat_bridge_received_total: { type: "counter", help: "Envelopes from other nodes." },
  chat_bridge_dropped_total: {
    type: "counter",
    help: "Envelopes that could not be given to the bus; pending rows deliver what was in them.",
  },
  chat_bridge_resets_total: {
    type: "counter",
    help: "Times that nodes announced everything again, after the bus may have lost something.",
  },
  chat_dead_letters_total: { type: "counter", help: "Messages to actors that nobody took." },
  chat_actor_restarts_total: { type: "counter", help: "Actors started again after a failure." },
  chat_thread_restarts_total: {
    type: "counter",
    help: "Threads started again after they died.",
    label: "name",
  },
  chat_thread_up: { type: "gauge", help: "1 when the thread answers within a second." },
  chat_event_loop_lag_seconds: {
    type: "histogram",
    help: "How late a timer ran that is due twice a second.",
  },
  chat_log_lines_dropped_total: {
    type: "counter",
    help: "Lines of the log that could not be written.",
  },
  chat_memory_bytes: { type: "gauge", help: "Resident memory of the process." },
  chat_ready: {
    type: "gauge",
    help: "1 when messages got through at the last check, at most 10 s ago.",
  },
} as const satisfies Record<string, MetricSpec>;

/** A metric's name. */
export type MetricName = keyof typeof METRICS;

/** One value at one moment; `label` is "" where the metric has none of its own. */
export type Reading =
  | { readonly name: MetricName; readonly label: string; readonly value: number }
  /** Counts by bucket, see {@linkcode bucketBound}, and the sum of what was measured. */
  | { readonly name: MetricName; readonly buckets: readonly number[]; readonly sum: number };

/** A number that only grows. */
export class Counter {
  value = 0;
}

/** Counters of one metric, by a small index. An index without a label is not counted. */
export class Counters {
  readonly #values: Float64Array;

  constructor(size: number) {
    this.#values = new Float64Array(size);
  }

  inc(index: number): void {
    this.#values[index] = (this.#values[index] ?? 0) + 1;
  }

  get(index: number): number {
    return this.#values[index] ?? 0;
  }
}

/** Buckets of a histogram: the last holds everything from 2^16 on. */
const BUCKETS = 18;

/** Largest integer that bucket `index` holds; Infinity for the last. */
export function bucketBound(index: number): number {
  return index >= BUCKETS - 1 ? Infinity : 2 ** index - 1;
}

/** Counts of integers by their power of two: 0, 1, to 3, to 7, to 15 … */
export class Histogram {
  readonly #buckets = new Float64Array(BUCKETS);
  #sum = 0;

  /** A count or whole ms; what is negative (another node's clock) counts as 0. */
  observe(value: number): void {
    const positive = value > 0 ? value : 0;
    const index = positive > 0xffff ? BUCKETS - 1 : 32 - Math.clz32(positive);
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1;
    this.#sum += positive;
  }

  get buckets(): number[] {
    return [...this.#buckets];
  }

  get sum(): number {
    return this.#sum;
  }
}

/** Labels of the metrics that are counted by msgid: the index is the msgid. */
export const KINDS: readonly string[] = Object.entries(MSGID).reduce<string[]>(
  (kinds, [name, msgid]) => {
    kinds[msgid] = name;
    return kinds;
  },
  ["unknown"],
);

/** All that one thread counts. */
export class Meter {
  readonly #read: (() => Iterable<Reading>)[] = [];

  counter(name: MetricName): Counter {
    const counter = new Counter();
    this.#read.push(() => [{ name, label: "", value: counter.value }]);
    return counter;
  }

  /** @param labels By index; those never counted are left out of the reading. */
  counters(name: MetricName, labels: readonly string[]): Counters {
    const counters = new Counters(labels.length);
    this.#read.push(() =>
      labels.flatMap((label, i) =>
        counters.get(i) === 0 ? [] : [{ name, label, value: counters.get(i) }]
      )
    );
    return counters;
  }

  histogram(name: MetricName): Histogram {
    const histogram = new Histogram();
    this.#read.push(() => [{ name, buckets: histogram.buckets, sum: histogram.sum }]);
    return histogram;
  }

  /** A value that is looked at when somebody asks. */
  gauge(name: MetricName, read: () => number, label = ""): void {
    this.#read.push(() => [{ name, label, value: read() }]);
  }

  /** Values of one metric by label, looked at when somebody asks. */
  byLabel(name: MetricName, read: () => Iterable<readonly [label: string, value: number]>): void {
    this.#read.push(() => Array.from(read(), ([label, value]) => ({ name, label, value })));
  }

  snapshot(): Reading[] {
    return this.#read.flatMap((read) => [...read()]);
  }
}

/** How often the event loop's lag is measured, ms. */
const LAG_EVERY_MS = 500;

/** Measures how late this thread's timers run, until the returned function is called. */
export function measureLag(meter: Meter): () => void {
  const lag = meter.histogram("chat_event_loop_lag_seconds");
  let due = performance.now() + LAG_EVERY_MS;
  const id = setInterval(() => {
    const now = performance.now();
    lag.observe(Math.round(now - due));
    due = now + LAG_EVERY_MS;
  }, LAG_EVERY_MS);
  Deno.unrefTimer(id);
  return () => clearInterval(id);
}

/** What a session worker counts. */
export class SessionMeters {
  readonly received: Counters;
  readonly sent: Counters;
  /** By errno. */
  readonly rejected: Counters;
  readonly ack: Histogram;
  readonly delivery: Histogram;
  /** 0 live, 1 from the pending rows. */
  readonly deliveries: Counters;

  constructor(meter: Meter) {
    this.received = meter.counters("chat_messages_received_total", KINDS);
    this.sent = meter.counters("chat_messages_sent_total", KINDS);
    this.rejected = meter.counters(
      "chat_requests_rejected_total",
      Array.from({ length: 16 }, (_, errno) => String(errno)),
    );
    this.ack = meter.histogram("chat_ack_latency_seconds");
    this.delivery = meter.histogram("chat_delivery_latency_seconds");
    this.deliveries = meter.counters("chat_deliveries_total", ["live", "pending"]);
  }
}
