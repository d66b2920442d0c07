/** How a run went, in figures: the longest silences, and what each kind of fault cost. */

import type { Line } from "./record.ts";

/** Recovery after one kind of fault. */
export interface Recovery {
  readonly name: string;
  readonly count: number;
  /** From a fault's begin until every user that was sending had an acknowledgement: ms. */
  readonly medianMs: number;
  readonly maxMs: number;
}

/** See the module's header. */
export interface Rates {
  /** Longest time that a sending user waited for the next acknowledgement, ms. */
  readonly maxGapMs: number;
  readonly recoveries: readonly Recovery[];
}

/**
 * @param records User ⇒ record.
 * @param harness The harness's record, for the faults.
 * @param until When senders were told to stop, epoch ms.
 */
export function rates(
  records: ReadonlyMap<number, readonly Line[]>,
  harness: readonly Line[],
  until: number,
): Rates {
  const acks = [...records.values()].map((lines) =>
    lines.filter((l) => l.k === "acked" && l.t <= until).map((l) => l.t)
  ).filter((times) => times.length > 1);
  let maxGapMs = 0;
  for (const times of acks) {
    for (let i = 1; i < times.length; i++) {
      maxGapMs = Math.max(maxGapMs, (times[i] ?? 0) - (times[i - 1] ?? 0));
    }
  }
  const byName = new Map<string, number[]>();
  for (const line of harness) {
    if (line.k !== "fault") continue;
    // The last ack of a user who had none afterwards tells nothing.
    const waits = acks.map((times) => firstAfter(times, line.until)).filter((t) => t !== undefined);
    if (waits.length === 0) continue;
    const list = byName.get(line.name) ?? [];
    list.push(Math.max(...waits) - line.t);
    byName.set(line.name, list);
  }
  const recoveries = [...byName].map(([name, list]) => {
    const sorted = list.toSorted((a, b) => a - b);
    return {
      name,
      count: sorted.length,
      medianMs: sorted[Math.floor(sorted.length / 2)] ?? 0,
      maxMs: sorted.at(-1) ?? 0,
    };
  });
  return { maxGapMs, recoveries: recoveries.toSorted((a, b) => a.name.localeCompare(b.name)) };
}

/** First of ascending `times` that is after `t`. */
function firstAfter(times: readonly number[], t: number): number | undefined {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? 0) > t) high = middle;
    else low = middle + 1;
  }
  return times[low];
}
