/**
 * A seed's schedule as data: how large the cluster is, how slow everything is, who says what when,
 * and what goes wrong. Nothing here acts.
 */

import type { Target } from "./ledger.ts";
import { Random } from "./random.ts";

/** What can be killed between two steps. */
export type Victim = "worker" | "store" | "node";
export const VICTIMS: readonly Victim[] = ["worker", "store", "node"];

/**
 * Steps of the delivery path, as the scheduler labels them: a crash is planned right after one.
 * "end of turn" stands for each single post of a turn.
 */
export const PATH_STEPS: readonly string[] = [
  "net→main",
  "end of turn: main",
  "main→sessions",
  "end of turn: sessions",
  "sessions→sessions",
  "sessions→store append",
  "sessions→store receipts",
  "sessions→store",
  "end of turn: store",
  "db:arrive",
  "db:durable",
  "db:filed",
  "db:answer",
  "store→sessions",
  "store→main",
  "sessions→main",
  "bus",
  "socket takes",
  "net→client",
];

/** Only one node files: it has the database alone. */
const LONE_STEPS = ["db:filed"];

/** Those that happen on some of several nodes, and those that a chat passes until it is stored. */
export const NODE_STEPS = PATH_STEPS.filter((step) => step !== "bus" && !LONE_STEPS.includes(step));
const STORING_STEPS = [
  "net→main",
  "main→sessions",
  "sessions→store append",
  "end of turn: store",
  "db:arrive",
  "db:durable",
];

/** Something that goes wrong at a time. `node` and `client` are indexes. */
export type Fault =
  | { readonly kind: "crash"; readonly victim: Victim; readonly node: number }
  | { readonly kind: "cut"; readonly client: number; readonly halfOpen: boolean }
  | { readonly kind: "away"; readonly client: number; readonly ms: number }
  | { readonly kind: "stall"; readonly client: number; readonly ms: number }
  | { readonly kind: "database crash"; readonly ms: number }
  | { readonly kind: "database away"; readonly ms: number }
  | { readonly kind: "database stuck"; readonly ms: number }
  | { readonly kind: "database flaky"; readonly ms: number; readonly rate: number }
  | { readonly kind: "bus cut"; readonly node: number; readonly ms: number }
  | { readonly kind: "bus flush" }
  | { readonly kind: "bus lossy"; readonly ms: number; readonly rate: number }
  | { readonly kind: "bus slow"; readonly ms: number; readonly delayMs: number }
  | { readonly kind: "pause"; readonly node: number; readonly ms: number }
  | { readonly kind: "clock step"; readonly node: number; readonly ms: number };

/** A crash right after the `nth` occurrence of a step. */
export interface StepCrash {
  readonly step: string;
  readonly nth: number;
  readonly victim: Victim;
}

/**
 * The node that `client` is connected to is frozen right after the `nth` occurrence of `step` there
 * from `at` on. Once one of its clients is back elsewhere, it goes on right after the `thawNth`
 * occurrence of `thawStep` on another node; at the latest `mostMs` after it was frozen.
 */
export interface Freeze {
  readonly at: number;
  readonly client: number;
  readonly step: string;
  readonly nth: number;
  readonly thawStep: string;
  readonly thawNth: number;
  readonly mostMs: number;
  /** Its timers run before what has come meanwhile. */
  readonly timersFirst: boolean;
}

/** A client of a schedule. Its user id is its index plus 1. */
export interface PlannedClient {
  readonly version: 1 | 2;
  /** When it first connects, virtual ms; Infinity: only once the faults are over. */
  readonly startsAt: number;
  readonly window: number;
  readonly handlingMs: number;
  readonly replyRate: number;
  /** Offline once the faults are over. */
  readonly leaves: boolean;
}

/** One schedule. */
export interface Plan {
  readonly seed: number;
  readonly nodes: number;
  readonly workers: number;
  /** Nodes speak over the hub; a lone node may have the local bus. */
  readonly hub: boolean;
  readonly skewMs: readonly number[];
  readonly threadMs: number;
  readonly netMs: number;
  readonly databaseMs: number;
  readonly busMs: number;
  /** Probability that a step takes `spikeMs`. */
  readonly spikeRate: number;
  readonly spikeMs: number;
  readonly maxQueued: number;
  /** Length of pushes without a receipt, UTF-16 units. */
  readonly windowUnits: number;
  readonly clients: readonly PlannedClient[];
  /** Members of each group; group ids count from 1. */
  readonly groups: readonly (readonly number[])[];
  readonly friends: readonly (readonly [number, number])[];
  readonly says: readonly { readonly at: number; readonly client: number; readonly to: Target }[];
  readonly joins: readonly {
    readonly at: number;
    readonly client: number;
    readonly groupid: number;
  }[];
  readonly faults: readonly { readonly at: number; readonly fault: Fault }[];
  readonly stepCrashes: readonly StepCrash[];
  readonly freezes: readonly Freeze[];
  /** When faults end and everybody comes back, virtual ms. */
  readonly healAt: number;
  /** When the last planned chat is sent, ms; possibly after the faults. */
  readonly lastSayAt: number;
  /** How long it runs on once everything has arrived, ms. */
  readonly afterMs: number;
}

/** Leases of nodes on the hub, ms. */
export const LEASE_MS = 5_000;

/** Longest a node stays frozen, ms: clients leave a silent one within 15 s, and find another. */
const FROZEN_MS = 25_000;
/** Of schedules with several nodes, those in which one is frozen. */
const FREEZE_RATE = 0.35;

/** The schedule of a seed. */
export function planOf(seed: number): Plan {
  return withFreeze(basePlan(seed), new Random(seed ^ 0x2c1b3c6d));
}

/** Whether nothing is made to go wrong. */
export function isCalm({ faults, stepCrashes, freezes }: Plan): boolean {
  return faults.length + stepCrashes.length + freezes.length === 0;
}

function basePlan(seed: number): Plan {
  const r = new Random(seed);
  const nodes = r.pick([1, 1, 2, 2, 3]);
  const gapMs = r.chance(0.12) ? r.between(31_000, 45_000) : 0;
  const activeMs = r.logBetween(1_000, 12_000);
  const healAt = activeMs + gapMs;
  /** A time of activity: before the gap or after it. */
  const time = () => {
    const t = r.between(0, activeMs);
    return t < activeMs / 2 ? t : t + gapMs;
  };
  const clients = Array.from({ length: r.int(2, 5) }, (_, i) => planClient(r, i, time));
  const groups = Array.from(
    { length: r.int(0, 2) },
    () => clients.map((_, i) => i).filter(() => r.chance(0.7)),
  ).filter((members) => members.length > 0);
  const calm = r.chance(0.15);
  const says = planSays(r, clients.length, groups, time);
  const faults = calm ? [] : planFaults(r, nodes, clients.length, time);
  return {
    seed,
    nodes,
    workers: r.pick([1, 1, 2]),
    hub: nodes > 1 || r.chance(0.3),
    skewMs: Array.from({ length: nodes }, () => r.chance(0.5) ? 0 : r.between(-8_000, 8_000)),
    threadMs: r.logBetween(0.01, 3),
    netMs: r.logBetween(0.05, 30),
    databaseMs: r.logBetween(0.05, 20),
    busMs: r.logBetween(0.05, 20),
    spikeRate: r.pick([0, 0, 0.01, 0.05]),
    spikeMs: r.logBetween(5, 500),
    maxQueued: r.pick([3, 20, 50_000]),
    windowUnits: r.chance(0.2) ? r.int(100, 1_000) : 100_000,
    clients,
    groups,
    friends: clients.flatMap((_, a) =>
      clients.flatMap((_, b): [number, number][] => a !== b && r.chance(0.3) ? [[a, b]] : [])
    ),
    says,
    joins: groups.length > 0 && r.chance(0.3)
      ? [{ at: time(), client: r.int(0, clients.length - 1), groupid: r.int(1, groups.length) }]
      : [],
    faults,
    stepCrashes: calm ? [] : planStepCrashes(r, nodes),
    freezes: [],
    healAt: faults.reduce(
      (end, { at, fault }) => fault.kind === "pause" ? Math.max(end, at + fault.ms) : end,
      healAt,
    ),
    lastSayAt: Math.max(...says.map((say) => say.at)),
    afterMs: r.chance(0.05) ? 62_000 : 2_000,
  };
}

function planClient(r: Random, index: number, time: () => number): PlannedClient {
  return {
    version: r.chance(0.15) ? 1 : 2,
    startsAt: index === 0 ? 0 : r.pick<() => number>([
      () => r.between(0, 200),
      () => r.between(0, 200),
      () => r.between(0, 200),
      time,
      () => Infinity,
    ])(),
    window: r.pick([1, 3, 64]),
    handlingMs: r.pick([0, 0, 5, 500]),
    replyRate: r.pick([0, 0.1, 0.4]),
    leaves: r.chance(0.1),
  };
}

function planSays(
  r: Random,
  clients: number,
  groups: readonly (readonly number[])[],
  time: () => number,
): Plan["says"] {
  const says: { at: number; client: number; to: Target }[] = [];
  const total = r.int(5, 30);
  while (says.length < total) {
    const client = r.int(0, clients - 1);
    const to = r.chance(0.35) && groups.length > 0
      ? { toid: 0, groupid: r.int(1, groups.length) }
      : { toid: r.chance(0.01) ? 9_999 : r.int(1, clients), groupid: 0 };
    const at = time();
    const burst = r.pick([1, 1, 2, 5]);
    const spread = r.pick([0, 1, 50, 1_000]);
    for (let i = 0; i < burst; i++) says.push({ at: at + i * spread, client, to });
  }
  return says;
}

function planFaults(
  r: Random,
  nodes: number,
  clients: number,
  time: () => number,
): Plan["faults"] {
  const faults: { at: number; fault: Fault }[] = [];
  const count = r.int(0, 5);
  for (let i = 0; i < count; i++) {
    const at = time();
    const node = r.int(0, nodes - 1);
    const client = r.int(0, clients - 1);
    const ms = r.logBetween(20, 6_000);
    const fault = r.pick<() => Fault>([
      () => ({ kind: "crash", victim: r.pick(VICTIMS), node }),
      () => ({ kind: "cut", client, halfOpen: r.chance(0.3) }),
      () => ({ kind: "cut", client, halfOpen: r.chance(0.3) }),
      () => ({ kind: "away", client, ms }),
      () => ({ kind: "stall", client, ms }),
      () => ({ kind: "database crash", ms }),
      () => ({ kind: "database away", ms }),
      () => ({ kind: "database stuck", ms: 1.5 * ms }),
      () => ({ kind: "database flaky", ms, rate: r.between(0.05, 0.6) }),
      () => ({ kind: "bus cut", node, ms: ms * 2 }),
      () => ({ kind: "bus flush" }),
      () => ({ kind: "bus lossy", ms, rate: r.between(0.05, 0.9) }),
      () => ({ kind: "bus slow", ms, delayMs: r.logBetween(10, 2_000) }),
      () => ({ kind: "pause", node, ms: ms * 2 }),
      () => ({ kind: "clock step", node, ms: r.between(-5_000, 5_000) }),
    ])();
    faults.push({ at, fault });
  }
  return faults;
}

function planStepCrashes(r: Random, nodes: number): StepCrash[] {
  const steps = nodes > 1 ? PATH_STEPS : PATH_STEPS.filter((step) => step !== "bus");
  return Array.from({ length: r.int(0, 3) }, () => ({
    step: r.pick(steps),
    nth: Math.floor(r.logBetween(1, 80)),
    victim: r.pick(VICTIMS),
  }));
}

/**
 * Perhaps freezes a node while somebody there has several chats to one conversation under way, and
 * goes on writing.
 */
function withFreeze(plan: Plan, r: Random): Plan {
  const { clients, groups } = plan;
  const writers = [...clients.keys()].filter((i) => {
    const { version, startsAt } = clients[i] ?? {};
    return version === 2 && startsAt !== undefined && startsAt < 1_000;
  });
  if (plan.nodes === 1 || writers.length === 0 || !r.chance(FREEZE_RATE)) return plan;
  const client = r.pick(writers);
  const to = groups.length > 0 && r.chance(0.3)
    ? { toid: 0, groupid: r.int(1, groups.length) }
    : { toid: r.int(1, clients.length), groupid: 0 };
  const at = r.between(300, 5_000);
  const spread = r.pick([0, 1, 50]);
  const says = [
    ...Array.from({ length: r.int(3, 12) }, (_, i) => ({ at: at + i * spread, client, to })),
    ...Array.from({ length: r.int(0, 3) }, () => ({ at: at + r.between(0, 20_000), client, to })),
  ];
  const mostMs = r.chance(0.2) ? r.between(2_000, 8_000) : r.between(8_000, FROZEN_MS);
  return {
    ...plan,
    clients: clients.map((planned, i) => i === client ? { ...planned, window: 64 } : planned),
    says: [...plan.says, ...says],
    freezes: [{
      at,
      client,
      step: r.pick(r.chance(0.5) ? STORING_STEPS : NODE_STEPS),
      nth: r.int(1, 10),
      thawStep: r.pick(r.chance(0.5) ? STORING_STEPS : NODE_STEPS),
      thawNth: Math.floor(r.logBetween(1, 15)),
      mostMs,
      timersFirst: r.chance(0.5),
    }],
    healAt: Math.max(plan.healAt, at + mostMs + 2_000),
    lastSayAt: Math.max(plan.lastSayAt, ...says.map((say) => say.at)),
  };
}
