/** Runs schedules: one seed, or many; says what failed and how to see it again. */

import { countSights, unfinished, violations } from "./judge.ts";
import type { Mutation } from "./mutations.ts";
import { type Plan, planOf } from "./plan.ts";
import { World } from "./world.ts";

/** How long after the faults everything must have arrived, ms: sessions are checked every 60 s. */
const FINISH_MS = 90_000;
/** What began meanwhile (a check, a receipt) may take this long to end, ms. */
const SETTLE_MS = 5_000;
/** How often the end is looked for, ms. */
const LOOK_MS = 250;

/** What a schedule came to. */
export interface Result {
  readonly seed: number;
  readonly plan: Plan;
  /** Empty when it passed. */
  readonly violations: readonly string[];
  readonly steps: number;
  readonly faults: number;
  readonly messages: number;
  readonly sights: number;
  /** From the end of the faults until everything had arrived, ms. */
  readonly finishedInMs: number;
  readonly crashedAfter: ReadonlySet<string>;
  readonly thawedAfter: ReadonlySet<string>;
  readonly trace: readonly string[];
}

/** How a schedule is run. */
export interface RunOptions {
  readonly trace?: boolean;
  readonly mutation?: Mutation | undefined;
  readonly settleRounds?: number;
}

/** Runs until everything has arrived; returns what has not by `until`. */
async function arrive(world: World, until: number): Promise<string[]> {
  const { scheduler, ledger, plan } = world;
  for (;;) {
    const open = scheduler.now < plan.lastSayAt ? ["somebody will speak"] : unfinished(world);
    if (open.length === 0 || scheduler.now >= until || ledger.defects.length > 0) return open;
    await scheduler.run(scheduler.now + LOOK_MS);
  }
}

/** Runs the schedule of one seed. */
export async function runSchedule(seed: number, options: RunOptions = {}): Promise<Result> {
  const plan = planOf(seed);
  const world = new World(plan, {
    trace: options.trace ?? false,
    mutation: options.mutation,
    settleRounds: options.settleRounds,
  });
  const { scheduler, ledger, database } = world;
  await scheduler.run(plan.healAt);
  world.heal();
  const until = plan.healAt + FINISH_MS;
  await arrive(world, until);
  const finishedInMs = scheduler.now - plan.healAt;
  await scheduler.run(scheduler.now + plan.afterMs);
  const open = await arrive(world, Math.max(until, scheduler.now + SETTLE_MS));
  world.hub.close();
  const stuck = ledger.defects.length > 0 ? [] : open.map((what) => `in the end, ${what}`);
  return {
    seed,
    plan,
    violations: [...violations(world), ...stuck],
    steps: scheduler.steps,
    faults: world.nemesis.faults + world.nemesis.freezer.count,
    messages: database.tables.messages.size,
    sights: countSights(ledger.seen),
    finishedInMs,
    crashedAfter: world.nemesis.crashedAfter,
    thawedAfter: world.nemesis.freezer.thawedAfter,
    trace: world.trace.lines,
  };
}
