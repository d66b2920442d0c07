/**
 * One chaos run: sets the scene, lets the nemesis loose, heals, lets clients drain, collects the
 * evidence, has it judged. Whatever happens, nothing that it started is left.
 */

import { fromFileUrl, join } from "@std/path";
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import { type Client, connect } from "../../client/mod.ts";
import { Child } from "../../server/cluster/child.ts";
import { Service } from "../../server/cluster/services.ts";
import { judge, type Verdict } from "./checker.ts";
import { Controller, type Order, type Phase } from "./control.ts";
import { type Fault, faultsOf, torment } from "./nemesis.ts";
import type { Circle, Habit, Person, Plan } from "./plan.ts";
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
}

const CLIENT_MAIN = fromFileUrl(new URL("client_main.ts", import.meta.url));
const ROOT = fromFileUrl(new URL("../../", import.meta.url));
const PASSWORD = "chaos password";
/** Client processes: few, as each takes its share of two cores. */
const PROCESSES = 4;
/** Between two faults, ms. */
const GAP_MS = [200, 2_500] as const;
/** How long things may take, ms. */
const LOGIN_MS = 60_000;
const DRAIN_MS = 90_000;
const HISTORY_MS = 90_000;
const LEAVE_MS = 20_000;
const END_MS = 20_000;
/** For rows to go whose receipts were lost: every session looks for its own within a minute. */
const PENDING_MS = 90_000;
/** A cluster's lease is 10 s; a node that was just killed is forgotten after it. */
const LEASE_MS = 12_000;
/** Logins of the observer until each node has served one. */
const OBSERVER_ATTEMPTS = 40;

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
  readonly #rng: Rng;
  readonly #recorder: Recorder;
  readonly #controller = new Controller();
  readonly #clients: Service[] = [];
  readonly #troubles: string[] = [];
  #system: System | undefined;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#rng = new Rng(options.seed);
    this.#recorder = new Recorder(join(options.dir, "harness.ndjson"));
  }

  async play(): Promise<RunResult> {
    const { say, signal, minutes, seed } = this.#options;
    say("starting the servers");
    const system = await this.#startSystem();
    say("making users and groups");
    const plan = await this.#makePlan(system);
    const planPath = join(this.#options.dir, "plan.json");
    await Deno.writeTextFile(planPath, JSON.stringify(plan));
    await this.#startClients(planPath, plan);
    await this.#until("login", LOGIN_MS);

    const since = Date.now();
    await this.#order("run", { since });
    const until = since + minutes * 60_000;
    const rng = new Rng(`${seed} nemesis`);
    const deck = this.#deck(faultsOf(system, { all: this.#clients }, rng));
    const stopTelling = this.#tellProgress(since);
    try {
      await torment(deck, rng, GAP_MS, until, signal, (fault) => {
        this.#recorder.add({ k: "fault", ...fault });
        say(`${seconds(fault.t - since)}  ${fault.name} ${fault.what}`);
      });
    } finally {
      stopTelling();
    }
    signal.throwIfAborted();
    system.proxy.heal();

    say("healed; clients drain");
    const stopped = Date.now();
    await this.#order("drain");
    await this.#until("drain", DRAIN_MS);
    await this.#awaitNoPending(system);
    say("reading histories back");
    await this.#order("history");
    await this.#until("history", HISTORY_MS);
    await this.#observe(system, plan);
    await this.#order("end");
    await this.#ended();
    await this.#system?.stop();
    this.#system = undefined;
    say("judging");
    return this.#judge(plan, stopped);
  }

  /** Ends whatever is left. */
  async clear(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.kill9()));
    await this.#controller.close();
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

  async #makePlan({ port }: System): Promise<Plan> {
    const { users, seed, dir, messagesPerMinute } = this.#options;
    const rng = this.#rng;
    const habits = (i: number): Habit => i % 8 === 3 ? "slow" : i % 4 === 1 ? "commuter" : "steady";
    const names = Array.from({ length: users }, (_, i) => `user${i}`);
    const ids: number[] = [];
    for (const name of names) ids.push(await register(port, name));
    const observer = await register(port, "observer");
    const people = names.map((name, i): Person => ({
      id: ids[i] ?? 0,
      name,
      habit: habits(i),
      peers: rng.shuffled(ids.filter((id) => id !== ids[i])).slice(0, 4),
    }));
    const sizes = [4, 5, 6, Math.min(12, users)];
    const circles: Circle[] = [];
    for (const [i, size] of sizes.entries()) {
      const members = rng.shuffled(ids).slice(0, size);
      circles.push({ id: await makeGroup(port, `group${i}`, members), members });
    }
    await as(port, observer, async (client) => {
      for (const id of ids) await client.addFriend(id);
    });
    return {
      seed,
      dir,
      port,
      controlPort: this.#controller.port,
      password: PASSWORD,
      rate: messagesPerMinute / 60 / users,
      people,
      circles,
      processes: Array.from(
        { length: PROCESSES },
        (_, p) => ids.filter((_, i) => i % PROCESSES === p),
      ),
    };
  }

  async #startClients(planPath: string, plan: Plan): Promise<void> {
    const { dir, signal } = this.#options;
    for (const index of plan.processes.keys()) {
      const name = `client${index}`;
      // A process has no port; its first report tells that it runs.
      const service = await Service.start({
        name,
        spawn: () => {
          this.#controller.reports.delete(index);
          return new Child({
            name,
            command: Deno.execPath(),
            args: ["run", "--allow-all", CLIENT_MAIN, planPath, `${index}`],
            cwd: ROOT,
            output: join(dir, `${name}.log`),
          });
        },
        ready: () => Promise.resolve(this.#controller.reports.has(index)),
        readyMs: 30_000,
        stopSignal: "SIGTERM",
      }, { port: 0, signal });
      this.#clients.push(service);
    }
  }

  #deck(faults: Fault[]): Fault[] {
    const { only } = this.#options;
    return only === undefined ? faults : faults.filter(({ name }) => only.includes(name));
  }

  // ── leading it ─────────────────────────────────────────────────────────────────────────────

  async #order(phase: Phase, more: Partial<Order> = {}): Promise<void> {
    await this.#controller.give({ ...this.#controller.order, ...more, phase });
  }

  /** Waits until every process has carried the order out; what does not is a trouble. */
  async #until(phase: Phase, limitMs: number): Promise<void> {
    const end = Date.now() + limitMs;
    const { reports } = this.#controller;
    const missing = () =>
      this.#clients.map((_, i) => reports.get(i)).filter((r) => r?.phase !== phase || !r.done);
    while (missing().length > 0) {
      this.#options.signal.throwIfAborted();
      this.#checkClients();
      if (Date.now() > end) {
        const states = missing().map((r) => JSON.stringify(r)).join("; ");
        this.#trouble(`after ${limitMs} ms clients have not finished "${phase}": ${states}`);
        return;
      }
      await delay(100);
    }
  }

  /** A client process that died by itself is a defect of the harness or the library. */
  #checkClients(): void {
    for (const client of this.#clients) {
      if (!client.running) throw new Error(`${client.name} died:\n${client.tail()}`);
    }
  }

  async #ended(): Promise<void> {
    try {
      await deadline(Promise.all(this.#clients.map((client) => client.ended)), END_MS);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.#trouble("clients did not end in time");
    }
  }

  #trouble(text: string): void {
    this.#troubles.push(text);
    this.#options.say(text);
  }

  #tellProgress(since: number): () => void {
    const timer = setInterval(() => {
      const sum = { sent: 0, acked: 0, seen: 0, online: 0, unsent: 0 };
      for (const report of this.#controller.reports.values()) {
        for (const key of ["sent", "acked", "seen", "online", "unsent"] as const) {
          sum[key] += report[key];
        }
      }
      this.#options.say(
        `${seconds(Date.now() - since)}  sent ${sum.sent}, acknowledged ${sum.acked}, ` +
          `seen ${sum.seen}, online ${sum.online}, waiting ${sum.unsent}`,
      );
    }, 10_000);
    return () => clearInterval(timer);
  }

  async #awaitNoPending(system: System): Promise<void> {
    const end = Date.now() + PENDING_MS;
    const began = Date.now();
    for (;;) {
      this.#options.signal.throwIfAborted();
      const rows = await system.pending();
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
    await this.#order("leave", { leavers });
    await this.#until("leave", LEAVE_MS);
    await this.#clients[0]?.kill9();
    for (const user of doomed ?? []) {
      this.#recorder.add({ k: "left", t: Date.now(), user, how: "its process was killed" });
    }
    this.#clients.shift();
    this.#controller.reports.delete(0);
    await delay(this.#options.nodes === 0 ? 1_000 : LEASE_MS);
    const asked = new Set<string>();
    // The node with the fewest connections gets the next one: those of earlier attempts stay.
    await using clients = new AsyncDisposableStack();
    for (let i = 0; i < OBSERVER_ATTEMPTS && asked.size < system.nodes.length; i++) {
      const client = clients.adopt(
        await connect({ port: system.port, want: [] }),
        (client) => client.close(),
      );
      const session = await client.login({ name: "observer", password: PASSWORD });
      if (!asked.has(session.node)) {
        asked.add(session.node);
        const of = (state: string) =>
          session.friends.filter((f) => f.state === state).map((f) => f.id);
        this.#recorder.add({
          k: "presence",
          t: Date.now(),
          node: session.node,
          online: of("online"),
          offline: of("offline"),
        });
      }
      await client.logout();
    }
    if (asked.size < system.nodes.length) {
      this.#trouble(`only ${asked.size} of ${system.nodes.length} nodes served the observer`);
    }
  }

  #judge(plan: Plan, stopped: number): RunResult {
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
    };
  }
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1).padStart(6)} s`;
}

async function register(port: number, name: string): Promise<number> {
  const client = await connect({ port });
  try {
    return await client.register(name, PASSWORD);
  } finally {
    await client.close();
  }
}

/** Does something as a user, logged in for so long. */
async function as<T>(
  port: number,
  who: number | string,
  act: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect({ port, want: [] });
  try {
    const whom = typeof who === "number" ? { id: who } : { name: who };
    await client.login({ ...whom, password: PASSWORD });
    const result = await act(client);
    await client.logout();
    return result;
  } finally {
    await client.close();
  }
}

async function makeGroup(port: number, name: string, members: number[]): Promise<number> {
  const [creator = 0, ...others] = members;
  const group = await as(port, creator, (client) => client.createGroup(name));
  for (const member of others) await as(port, member, (client) => client.joinGroup(group.id));
  return group.id;
}

/** Where a run keeps its files. */
export async function makeRunDir(): Promise<string> {
  return await Deno.makeTempDir({ prefix: "chaos-" });
}
