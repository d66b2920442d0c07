/**
 * One chaos run: sets the scene, lets the nemesis loose, heals, lets clients drain, collects the
 * evidence, has it judged. Whatever happens, nothing that it started is left.
 */

import { join } from "@std/path";
import { delay } from "@std/async/delay";
import { judge, type Verdict } from "./checker.ts";
import { ClientProcesses, seconds } from "./client_processes.ts";
import { type GreedyCounts, GreedyNeighbour } from "./greedy.ts";
import { makePlan } from "./make_plan.ts";
import { type Fault, faultsOf, torment } from "./nemesis.ts";
import { askPresence } from "./observer.ts";
import type { Plan } from "./plan.ts";
import { type Rates, rates } from "./rates.ts";
import { type Evidence, type Line, readRecord, Recorder } from "./record.ts";
import { Rng } from "./rng.ts";
import { startSystem, type System, type SystemOptions } from "./system.ts";

/** What to do. */
export interface RunOptions {
  readonly seed: string;
  readonly minutes: number;
  /** 0: one node on SQLite; else a cluster of so many. */
  readonly nodes: number;
  readonly skewMs: number;
  /** Empty, or new. */
  readonly dir: string;
  /** Messages a minute, all users together, that are aimed at. */
  readonly messagesPerMinute: number;
  readonly users: number;
  readonly earlyAck?: boolean;
  /** Names of the only faults to inject; all by default. */
  readonly only?: readonly string[];
  readonly signal: AbortSignal;
  /** Told how it goes. */
  readonly say: (text: string) => void;
}

/** What came of it. */
export interface RunResult {
  readonly verdict: Verdict;
  readonly evidence: Evidence;
  readonly rates: Rates;
  readonly faults: readonly (Line & { k: "fault" })[];
  /** What did not happen in time: clients that did not drain, and the like. */
  readonly troubles: readonly string[];
  /** What the greedy neighbour did. */
  readonly greedy: GreedyCounts;
}

/** Between two faults, ms. */
const GAP_MS = [200, 2_500] as const;
/** How long things may take, ms. */
const LOGIN_MS = 60_000;
const DRAIN_MS = 90_000;
const HISTORY_MS = 90_000;
const LEAVE_MS = 20_000;
/** For rows to go whose receipts were lost: every session looks for its own within a minute. */
const PENDING_MS = 90_000;
/** A cluster's lease is 10 s; a node that was just killed is forgotten after it. */
const LEASE_MS = 12_000;

/** @throws {Error} The scene could not be set, or the signal's reason. */
export async function run(options: RunOptions): Promise<RunResult> {
  await Deno.mkdir(options.dir, { recursive: true });
  const scene = new Scene(options);
  try {
    return await scene.play();
  } finally {
    await scene.clear();
  }
}

class Scene {
  readonly #options: RunOptions;
  readonly #recorder: Recorder;
  readonly #clients: ClientProcesses;
  readonly #troubles: string[] = [];
  #system: System | undefined;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#recorder = new Recorder(join(options.dir, "harness.ndjson"));
    const { dir, signal, say } = options;
    const trouble = (text: string) => this.#trouble(text);
    this.#clients = new ClientProcesses({ dir, signal, say, trouble });
  }

  async play(): Promise<RunResult> {
    const { say, signal, minutes, seed } = this.#options;
    say("starting the servers");
    const system = await this.#startSystem();
    say("making users and groups");
    const { port } = system;
    const { controlPort } = this.#clients;
    const plan = await makePlan({ ...this.#options, port, controlPort });
    const planPath = join(this.#options.dir, "plan.json");
    await Deno.writeTextFile(planPath, JSON.stringify(plan));
    const ids = plan.people.map(({ id }) => id);
    const greedy = await GreedyNeighbour.prepare(port, ids, new Rng(`${seed} greedy`));
    await this.#clients.start(planPath, plan);
    await this.#clients.until("login", LOGIN_MS);

    const since = Date.now();
    await this.#clients.order("run", { since });
    const until = since + minutes * 60_000;
    const rng = new Rng(`${seed} nemesis`);
    const deck = this.#deck(faultsOf(system, this.#clients, rng));
    const stopTelling = this.#clients.tellProgress(since);
    greedy.start();
    let greedyCounts: GreedyCounts;
    try {
      await torment(deck, rng, GAP_MS, until, signal, (fault) => {
        this.#recorder.add({ k: "fault", ...fault });
        say(`${seconds(fault.t - since)}  ${fault.name} ${fault.what}`);
      });
    } finally {
      stopTelling();
      greedyCounts = await greedy.stop();
    }
    signal.throwIfAborted();
    system.proxy.heal();

    say("healed; clients drain");
    const stopped = Date.now();
    await this.#clients.order("drain");
    await this.#clients.until("drain", DRAIN_MS);
    await this.#awaitNoPending(system, plan);
    say("reading histories back");
    await this.#clients.order("history");
    await this.#clients.until("history", HISTORY_MS);
    await this.#observe(system, plan);
    await this.#clients.order("end");
    await this.#clients.ended();
    await this.#system?.stop();
    this.#system = undefined;
    say("judging");
    return this.#judge(plan, stopped, greedyCounts);
  }

  /** Ends whatever is left. */
  async clear(): Promise<void> {
    await this.#clients.clear();
    await this.#system?.kill();
    this.#recorder.close();
  }

  // ── setting the scene ──────────────────────────────────────────────────────────────────────

  async #startSystem(): Promise<System> {
    const { dir, nodes, skewMs, signal, earlyAck } = this.#options;
    const options: SystemOptions = {
      dir: join(dir, "system"),
      nodes,
      skewMs,
      signal,
      ...earlyAck !== undefined && { earlyAck },
    };
    return this.#system = await startSystem(options);
  }

  #deck(faults: Fault[]): Fault[] {
    const { only } = this.#options;
    return only === undefined ? faults : faults.filter(({ name }) => only.includes(name));
  }

  // ── leading it ─────────────────────────────────────────────────────────────────────────────

  #trouble(text: string): void {
    this.#troubles.push(text);
    this.#options.say(text);
  }

  async #awaitNoPending(system: System, plan: Plan): Promise<void> {
    const users = new Set(plan.people.map(({ id }) => id));
    const end = Date.now() + PENDING_MS;
    const began = Date.now();
    for (;;) {
      this.#options.signal.throwIfAborted();
      const rows = (await system.pending()).filter(({ user }) => users.has(user));
      if (rows.length === 0) {
        this.#options.say(`nothing pending after another ${Date.now() - began} ms`);
        return;
      }
      if (Date.now() > end) {
        const t = Date.now();
        for (const row of rows) this.#recorder.add({ k: "pending", t, ...row });
        return;
      }
      await delay(500);
    }
  }

  /** A third of the users leave, some in every way there is; then every node is asked who is there. */
  async #observe(system: System, plan: Plan): Promise<void> {
    const { say } = this.#options;
    say("some leave; who is online?");
    const [doomed] = plan.processes;
    const leavers = plan.people.filter((p) => !doomed?.includes(p.id)).filter((_, i) => i % 3 === 0)
      .map((p, i) => ({ user: p.id, how: i % 2 === 0 ? "logout" as const : "close" as const }));
    await this.#clients.order("leave", { leavers });
    await this.#clients.until("leave", LEAVE_MS);
    await this.#clients.killFirst();
    for (const user of doomed ?? []) {
      this.#recorder.add({ k: "left", t: Date.now(), user, how: "its process was killed" });
    }
    await delay(this.#options.nodes === 0 ? 1_000 : LEASE_MS);
    const nodes = system.nodes.length;
    const asked = await askPresence(plan, nodes, (line) => this.#recorder.add(line));
    if (asked < nodes) this.#trouble(`only ${asked} of ${nodes} nodes served the observer`);
  }

  #judge(plan: Plan, stopped: number, greedy: GreedyCounts): RunResult {
    const { dir } = this.#options;
    const records = new Map(
      plan.people.map(({ id }) => [id, readRecord(join(dir, `${id}.ndjson`))]),
    );
    const harness = readRecord(join(dir, "harness.ndjson"));
    const groups = new Map(plan.circles.map(({ id, members }) => [id, members]));
    const evidence: Evidence = { groups, records, harness };
    return {
      verdict: judge(evidence),
      evidence,
      rates: rates(records, harness, stopped),
      faults: harness.filter((line) => line.k === "fault"),
      troubles: this.#troubles,
      greedy,
    };
  }
}

/** Where a run keeps its files. */
export async function makeRunDir(): Promise<string> {
  return await Deno.makeTempDir({ prefix: "chaos-" });
}
