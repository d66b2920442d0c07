/**
 * The workloads by name: what load, on what, which figure counts, and what is aimed at.
 * Data only; measure.ts carries them out. A new workload is a new entry here.
 */

import type { Flags } from "./generator.ts";

/** Which number a workload is about. `p50` in µs, `kib` per connection, `share` slowest ÷ median. */
export type Figure = "perS" | "p50" | "kib" | "share" | "seconds";

/** Sum of several runs, as far as an aim looks at it. */
export interface Outcome {
  readonly value: number;
  readonly ofFloor: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** What a workload should reach. */
export interface Aim {
  readonly text: string;
  met(outcome: Outcome): boolean;
}

/** One row of the table. */
export interface Workload {
  readonly name: string;
  readonly about: string;
  /** How it is carried out; see measure.ts. */
  readonly kind: "flows" | "visits" | "idle" | "storm" | "soak" | "logins";
  /** Work and flags of the generator; see bench/load/settings.ts. */
  readonly work: string;
  readonly flags: Flags;
  readonly figure: Figure;
  /** Work and flags for the floor it is compared with; none: nothing there to compare. */
  readonly floor?: readonly [work: string, flags: Flags];
  /** Two nodes on MariaDB and Redis instead of one on SQLite. */
  readonly cluster?: boolean;
  /** In a cluster: senders and receivers on the same node. */
  readonly oneNode?: boolean;
  /** Session workers of the server, unless `--workers` says otherwise; by default the server's. */
  readonly workers?: number;
  /** Whose figure of other servers it is compared with. @default its own name */
  readonly reference?: string;
  /** Argon2id cost; by default cheap, as set-up logs many in. */
  readonly passwordCost?: string;
  /** Measured once whatever `--runs` says: it takes long or needs no repeating. */
  readonly once?: boolean;
  /** Only when asked for by name. */
  readonly onRequest?: boolean;
  readonly aim?: Aim;
}

/** Argon2id as a server uses by default: 19 MiB, two passes. */
const REAL_PASSWORDS = "19456,2";

const atLeastPerS = (least: number): Aim => ({
  text: `≥ ${least.toLocaleString("en")}/s`,
  met: (o) => o.value >= least,
});
const ofFloor = (least: number): Aim => ({
  text: `≥ ${least.toFixed(2)} of the floor`,
  met: (o) => o.ofFloor >= least,
});

function pairs(
  n: number,
  w: number,
  v: 1 | 2,
  figure: Figure,
  aim?: Aim,
): Workload {
  const inFlight = w === 1 ? "" : `x${w}`;
  return {
    name: `pairs-${n}${inFlight}${v === 2 ? "-v2" : ""}`,
    about: `${n} pair${n === 1 ? "" : "s"}, ${w} in flight each` +
      (v === 2 ? ", receipts and durable acks" : ""),
    kind: "flows",
    work: "pairs",
    flags: { n, w, v },
    figure,
    floor: ["pairs", { n, w }],
    ...(aim === undefined ? {} : { aim }),
  };
}

/** The same with the sessions in the main thread: two cores' best configuration. */
function inMainThread(workload: Workload): Workload {
  const { name, about } = workload;
  return {
    ...workload,
    name: `${name}-w0`,
    about: `${about}; --workers 0`,
    workers: 0,
    reference: name,
  };
}

const PAIRS_1 = pairs(1, 1, 1, "p50", { text: "p50 ≤ 200 µs", met: (o) => o.p50Us <= 200 });
const PAIRS_50 = pairs(50, 1, 1, "perS", ofFloor(0.8));
const PAIRS_50_V2 = pairs(50, 1, 2, "perS", ofFloor(0.5));
const PAIRS_200 = pairs(200, 1, 1, "perS", {
  text: "≥ 60,000/s, p99 ≤ 10 ms",
  met: (o) => o.value >= 60_000 && o.p99Us <= 10_000,
});
const PAIRS_50X4 = pairs(50, 4, 1, "perS", atLeastPerS(150_000));
const CROSS_50: Workload = {
  name: "cross-50",
  about: "50 pairs across two nodes",
  kind: "flows",
  work: "pairs",
  flags: { n: 50, v: 1 },
  figure: "perS",
  floor: ["pairs", { n: 50, w: 1 }],
  cluster: true,
  aim: {
    text: "≥ 35,000/s, p50 ≤ 5 ms",
    met: (o) => o.value >= 35_000 && o.p50Us <= 5_000,
  },
};

/** In the order in which they are run and printed. */
export const WORKLOADS: readonly Workload[] = [
  PAIRS_1,
  pairs(1, 1, 2, "p50"),
  inMainThread(PAIRS_1),
  PAIRS_50,
  PAIRS_50_V2,
  inMainThread(PAIRS_50),
  inMainThread(PAIRS_50_V2),
  PAIRS_200,
  pairs(200, 1, 2, "perS"),
  inMainThread(PAIRS_200),
  PAIRS_50X4,
  pairs(50, 4, 2, "perS"),
  inMainThread(PAIRS_50X4),
  {
    name: "open-10k",
    about: "50 pairs, 10,000 a second offered",
    kind: "flows",
    work: "open",
    flags: { n: 50, rate: 10_000, v: 1 },
    figure: "p50",
    floor: ["open", { n: 50, rate: 10_000 }],
  },
  {
    name: "open-10k-v2",
    about: "the same, receipts and durable acks",
    kind: "flows",
    work: "open",
    flags: { n: 50, rate: 10_000, v: 2 },
    figure: "p50",
    floor: ["open", { n: 50, rate: 10_000 }],
  },
  {
    name: "group-10x20",
    about: "10 groups of 20 online; deliveries",
    kind: "flows",
    work: "group",
    flags: { n: 10, m: 20, v: 1 },
    figure: "perS",
    floor: ["group", { n: 10, m: 20 }],
    aim: atLeastPerS(100_000),
  },
  {
    name: "group-10x20-v2",
    about: "the same, receipts and durable acks",
    kind: "flows",
    work: "group",
    flags: { n: 10, m: 20, v: 2 },
    figure: "perS",
    floor: ["group", { n: 10, m: 20 }],
  },
  {
    name: "group-offline-v2",
    about: "10 groups, 1 online and 5 offline members; messages",
    kind: "flows",
    work: "groupoff",
    flags: { n: 10, m: 5, v: 2 },
    figure: "perS",
    aim: atLeastPerS(5_000),
  },
  {
    name: "fair-400",
    about: "200 busy pairs, v2: slowest ÷ median pair",
    kind: "flows",
    work: "pairs",
    flags: { n: 200, v: 2 },
    figure: "share",
    aim: { text: "≥ 1/3", met: (o) => o.value >= 1 / 3 },
  },
  {
    name: "fair-1000",
    about: "500 busy pairs, v2: slowest ÷ median pair",
    kind: "flows",
    work: "pairs",
    flags: { n: 500, v: 2 },
    figure: "share",
    aim: { text: "≥ 1/3", met: (o) => o.value >= 1 / 3 },
  },
  {
    name: "resume",
    about: "connect, RESUME, close; 16 at a time",
    kind: "visits",
    work: "resume",
    flags: { n: 2_000, w: 16 },
    figure: "perS",
    aim: atLeastPerS(2_000),
  },
  {
    name: "login",
    about: "connect, log in, close; 16 at a time, cheap Argon2id",
    kind: "visits",
    work: "login",
    flags: { n: 2_000, w: 16, v: 2 },
    figure: "perS",
  },
  {
    name: "login-argon2",
    about: "the same with the default Argon2id (19 MiB, 2 passes)",
    kind: "visits",
    work: "login",
    flags: { n: 60, w: 8, v: 2 },
    figure: "perS",
    passwordCost: REAL_PASSWORDS,
  },
  {
    name: "chat-while-login",
    about: "10 pairs at 1,000/s, v2, while others log in without pause",
    kind: "logins",
    work: "open",
    flags: { n: 10, rate: 1_000, v: 2, setup: 4 },
    figure: "p50",
    passwordCost: REAL_PASSWORDS,
  },
  {
    name: "idle",
    about: "10,000 silent sessions; memory of each",
    kind: "idle",
    work: "idle",
    flags: { n: 10_000, v: 2, setup: 32 },
    figure: "kib",
    aim: { text: "≤ 8 KiB", met: (o) => o.value <= 8 },
  },
  {
    name: "soak",
    about: "open loop at 80 % of the peak of pairs-50-v2; memory over time",
    kind: "soak",
    work: "open",
    flags: { n: 50, v: 2 },
    figure: "share",
    once: true,
    onRequest: true,
    aim: { text: "end ≤ 1.1 × start", met: (o) => o.value <= 1.1 },
  },
  CROSS_50,
  inMainThread(CROSS_50),
  {
    name: "cross-50-v2",
    about: "the same, receipts and durable acks",
    kind: "flows",
    work: "pairs",
    flags: { n: 50, v: 2 },
    figure: "perS",
    floor: ["pairs", { n: 50, w: 1 }],
    cluster: true,
  },
  {
    name: "mysql-50-v2",
    about: "50 pairs on one of the two nodes, v2",
    kind: "flows",
    work: "pairs",
    flags: { n: 50, v: 2 },
    figure: "perS",
    floor: ["pairs", { n: 50, w: 1 }],
    cluster: true,
    oneNode: true,
  },
  {
    name: "cross-while-login",
    about: "10 pairs across nodes at 1,000/s, v2, while others log in without pause",
    kind: "logins",
    work: "open",
    flags: { n: 10, rate: 1_000, v: 2, setup: 4 },
    figure: "p50",
    cluster: true,
  },
  {
    name: "storm-2000",
    about: "a node is killed, its 2,000 sessions RESUME on the other, a message waits for each",
    kind: "storm",
    work: "storm",
    flags: { n: 2_000, v: 2 },
    figure: "seconds",
    cluster: true,
    aim: { text: "≤ 1 s", met: (o) => o.value <= 1 },
  },
];

/** A wrong command line: the message says what is wrong, and a stack would say nothing more. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * The workloads asked for.
 * @param names Of workloads, or beginnings of names ("pairs"); none: all that fit `cluster`.
 * @throws {UsageError} For a name that fits none.
 */
export function choose(names: readonly string[], cluster: boolean): Workload[] {
  if (names.length === 0) {
    return WORKLOADS.filter((w) => !w.onRequest && (w.cluster ?? false) === cluster);
  }
  for (const name of names) {
    if (!WORKLOADS.some((w) => w.name === name || w.name.startsWith(`${name}-`))) {
      throw new UsageError(
        `no workload ${name}; there are ${WORKLOADS.map((w) => w.name).join(", ")}`,
      );
    }
  }
  // A full name means just that one: "pairs-50" is not also "pairs-50-v2".
  const exact = new Set(names.filter((name) => WORKLOADS.some((w) => w.name === name)));
  return WORKLOADS.filter((w) =>
    exact.has(w.name) || names.some((name) => !exact.has(name) && w.name.startsWith(`${name}-`))
  );
}
