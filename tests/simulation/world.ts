/**
 * A simulated cluster with its clients, as one seed plans it, and the nemesis that carries the
 * plan's faults out.
 */

import { createLocalBus } from "../../actors/adapters/local_bus.ts";
import type { Mid, UserId } from "../../actors/ports.ts";
import { createHub, type Hub } from "../hub_bus.ts";
import { ClientV1 } from "./client_v1.ts";
import { ClientV2 } from "./client_v2.ts";
import { Database } from "./database.ts";
import { Ledger } from "./ledger.ts";
import type { Mutation } from "./mutations.ts";
import { Wire, type WireClient } from "./network.ts";
import { type NodeParts, SimNode } from "./node.ts";
import { type Fault, LEASE_MS, type Plan, type StepCrash, type Victim } from "./plan.ts";
import { Random } from "./random.ts";
import { NOBODY, type Owner, Scheduler } from "./scheduler.ts";
import { SimThread } from "./thread.ts";
import { Trace } from "./trace.ts";

/** A client of either version. */
export type Client = ClientV1 | ClientV2;

/** The world as clients see it. */
export interface ClientWorld {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly trace: Trace;
  readonly ledger: Ledger;
  /** Opens a connection to some node; undefined when none takes it. */
  connect(client: WireClient, done: (wire: Wire | undefined) => void): void;
  loggedIn(client: Client): void;
  loginRefused(client: Client, errno: number): void;
  saidBye(client: Client, errno: number): void;
  /** A push has reached a v2 client. */
  pushed(client: ClientV2, mid: Mid): void;
}

/**
 * How long a login may take to bring everything that waits while nothing goes wrong, ms. With a
 * small window each message waits for a receipt before it.
 */
const HAND_OVER_MS = 2_500;
const HAND_OVER_IN_STEPS_MS = 30_000;
/** How long before its LOGIN_ACK comes a login may have read what waits, ms. */
const MISSED_MS = 1_500;

/** How a schedule is run. */
export interface WorldOptions {
  readonly trace: boolean;
  readonly mutation: Mutation | undefined;
  readonly settleRounds?: number;
}

/** See the module's header. */
export class World implements ClientWorld {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly trace: Trace;
  readonly ledger = new Ledger();
  readonly database: Database;
  readonly hub: Hub;
  readonly clients: Client[] = [];
  /** By index; undefined while one is down. */
  readonly nodes: (SimNode | undefined)[] = [];
  /** Steps after which something was crashed: `step/victim`. */
  readonly crashedAfter = new Set<string>();
  /** Crashes and other faults carried out. */
  faults = 0;
  healed = false;
  readonly #mutation: Mutation | undefined;
  readonly #runs: number[] = [];
  #crashes: StepCrash[];
  readonly #stepCounts = new Map<string, number>();
  readonly #latencies: Random;

  constructor(plan: Plan, options: WorldOptions) {
    this.plan = plan;
    this.scheduler = new Scheduler(options.settleRounds);
    this.trace = new Trace(this.scheduler, options.trace);
    this.#mutation = options.mutation;
    const random = new Random(plan.seed ^ 0x5bd1e995);
    this.#latencies = random.fork();
    this.random = random.fork();
    const { scheduler, trace } = this;
    this.database = new Database({
      scheduler,
      random: random.fork(),
      trace,
      latency: () => this.#latency(plan.databaseMs),
    });
    this.hub = createHub({
      clock: {
        now: () => scheduler.now,
        after: (ms, fn) => scheduler.at(ms, NOBODY, "bus", fn),
      },
      seed: random.int(1, 1e9),
      leaseMs: LEASE_MS,
    });
    this.hub.faults.delayMs = [0, plan.busMs];
    this.#crashes = [...plan.stepCrashes];
    this.#populate();
    options.mutation?.world?.(this);
    for (let index = 0; index < plan.nodes; index++) this.#startNode(index);
    this.#schedule();
    scheduler.onStep = (step, place) => this.#stepped(step, place);
  }

  /** Nodes that run. */
  get running(): SimNode[] {
    return this.nodes.filter((node) => node !== undefined);
  }

  /** Ends the faults: everything works from now on, and everybody but the leavers comes back. */
  heal(): void {
    this.healed = true;
    if (this.trace.on) this.trace.note("world", "HEALS");
    const { database, hub, plan } = this;
    database.down = false;
    database.faults.refuse = database.faults.loseAnswer = 0;
    hub.faults.dropRate = 0;
    hub.faults.delayMs = [0, plan.busMs];
    this.nodes.forEach((node, index) => {
      if (node === undefined) return this.#startNode(index);
      if (!plan.hub) return;
      hub.resume(node.id);
      hub.heal(node.id);
    });
    plan.clients.forEach(({ leaves }, index) => {
      const client = this.clients[index];
      if (!leaves) client?.goOnline();
      else if (this.random.chance(0.5)) client?.goOffline();
      else this.#vanish(client);
    });
    for (const client of this.clients) client.wire?.setReading(true);
  }

  // ── for clients ─────────────────────────────────────────────────────────────────────────────

  connect(client: WireClient, done: (wire: Wire | undefined) => void): void {
    const { scheduler } = this;
    const node = this.random.pick(this.nodes);
    scheduler.at(this.#latency(this.plan.netMs), client, "connect", () => {
      if (node === undefined || !node.alive || !node.listening) return done(undefined);
      const wire = new Wire(client, node.main, {
        scheduler,
        random: this.#latencies,
        latency: () => this.#latency(this.plan.netMs),
      });
      node.wires.add(wire);
      scheduler.at(this.#latency(this.plan.threadMs), node.main, "accept", () => node.accept(wire));
      done(wire);
    });
  }

  loggedIn(client: Client): void {
    const { faults, stepCrashes, maxQueued, windowUnits } = this.plan;
    const calm = faults.length === 0 && stepCrashes.length === 0 && maxQueued > 100;
    if (!this.healed && !calm) return;
    const limitMs = windowUnits < 10_000 ? HAND_OVER_IN_STEPS_MS : HAND_OVER_MS;
    const { wire } = client;
    const { tables } = this.database;
    // What was stored a moment ago may have missed the login's own reading; then it is hinted at.
    const before = this.scheduler.now - MISSED_MS;
    const waiting = [...tables.pendingMids(client.id)].filter((mid) =>
      (tables.storedAt.get(mid) ?? 0) < before
    );
    this.scheduler.at(limitMs, NOBODY, "judge", () => {
      if (client.wire !== wire) return;
      for (const mid of waiting) {
        const key = tables.messages.get(mid)?.msg;
        if (key === undefined || this.has(client, key)) continue;
        this.ledger.defects.push(
          `${key} (${mid}) waited when ${client.id} logged in and has not come for ${limitMs} ms`,
        );
      }
    });
  }

  loginRefused(_client: Client, _errno: number): void {}

  saidBye(client: Client, errno: number): void {
    // While the bus does not answer, a stale session may be taken for the newer one.
    const busWasAway = this.plan.faults.some(({ fault }) => fault.kind.startsWith("bus"));
    if (errno !== 2 || busWasAway) return;
    this.ledger.defects.push(`${client.id} was told that another took its place`);
  }

  pushed(client: ClientV2, mid: Mid): void {
    const { wire } = client;
    if (wire === undefined) return;
    const mids = this.#pushed.get(wire) ?? new Set();
    this.#pushed.set(wire, mids);
    // A new worker or store does not know of receipts that were on their way, and from another
    // worker a receipt may come before its message.
    const { nodes, workers, stepCrashes, faults } = this.plan;
    const simple = nodes === 1 && workers === 1 && stepCrashes.length === 0 &&
      !faults.some(({ fault }) => fault.kind === "crash" || fault.kind.startsWith("data"));
    if (mids.has(mid) && simple) {
      this.ledger.defects.push(`${mid} was pushed twice to ${client.id} on one connection`);
    }
    mids.add(mid);
  }
  readonly #pushed = new Map<Wire, Set<Mid>>();

  /** Whether a user has a chat, as far as its protocol can tell. */
  has(client: Client, key: string): boolean {
    if (client.version === 1) return client.taken.has(key);
    return this.ledger.seen.get(client.id)?.some((sight) => sight.key === key) ?? false;
  }

  /** The client of a user. */
  clientOf(user: UserId): Client | undefined {
    return this.clients[user - 1];
  }

  // ── the beginning ───────────────────────────────────────────────────────────────────────────

  #populate(): void {
    const { tables } = this.database;
    const { clients, groups, friends } = this.plan;
    tables.transaction(() => {
      for (const i of clients.keys()) tables.register(`user${i + 1}`, "hash of pw");
      groups.forEach((members, i) => {
        const [creator, ...others] = members;
        const id = tables.createGroup((creator ?? 0) + 1, `group${i + 1}`, "");
        for (const member of others) tables.joinGroup(member + 1, id ?? 0);
      });
      for (const [a, b] of friends) tables.addFriend(a + 1, b + 1);
    });
    const noDedupe = this.#mutation?.noDedupe ?? false;
    clients.forEach((planned, i) => {
      const id = i + 1;
      const client = planned.version === 1
        ? new ClientV1(id, this)
        : new ClientV2(id, this, { ...planned, noDedupe });
      this.clients.push(client);
    });
  }

  #startNode(index: number): void {
    const { plan, scheduler, trace, database } = this;
    const run = (this.#runs[index] ?? 0) + 1;
    this.#runs[index] = run;
    const parts: NodeParts = {
      scheduler,
      random: this.random.fork(),
      trace,
      database,
      latency: () => this.#latency(plan.threadMs),
      jitter: () => this.#latencies.next(),
      settings: plan,
      bus: (id) => plan.hub ? this.hub.bus(id) : createLocalBus(id),
      onDefect: (text) => this.ledger.defects.push(text),
      onFatal: () => this.#crashNode(index),
      breakHost: this.#mutation?.host,
    };
    const node = new SimNode(`n${index + 1}.${run}`, plan.skewMs[index] ?? 0, parts);
    this.#mutation?.node?.(node);
    this.nodes[index] = node;
  }

  #schedule(): void {
    const { scheduler, plan } = this;
    const at = (ms: number, run: () => void) => scheduler.at(ms, NOBODY, "plan", run);
    plan.clients.forEach(({ startsAt }, i) => {
      if (startsAt !== Infinity) at(startsAt, () => this.clients[i]?.goOnline());
    });
    for (const { at: ms, client, to } of plan.says) {
      at(ms, () => this.clients[client]?.say(to));
    }
    for (const { at: ms, client, groupid } of plan.joins) {
      at(ms, () => {
        const joiner = this.clients[client];
        if (joiner?.version === 2) joiner.join(groupid);
      });
    }
    for (const { at: ms, fault } of plan.faults) at(ms, () => this.#inflict(fault));
  }

  // ── the nemesis ─────────────────────────────────────────────────────────────────────────────

  /** Carries out crashes that were planned for right after a step. */
  #stepped(step: string, place: Owner): void {
    if (this.#crashes.length === 0 || this.healed) return;
    const count = (this.#stepCounts.get(step) ?? 0) + 1;
    this.#stepCounts.set(step, count);
    const due = this.#crashes.filter((crash) => crash.step === step && crash.nth <= count);
    if (due.length === 0) return;
    this.#crashes = this.#crashes.filter((crash) => !due.includes(crash));
    for (const { victim } of due) {
      const node = this.#nodeOf(place);
      const thread = place instanceof SimThread ? place : undefined;
      if (this.#crash(victim, node, thread)) this.crashedAfter.add(`${step}/${victim}`);
    }
  }

  #nodeOf(place: Owner): number {
    const { running, nodes } = this;
    const machine = place instanceof SimThread ? place.parts.machine : undefined;
    const index = nodes.findIndex((node) => node !== undefined && node === machine);
    if (index >= 0 || running.length === 0) return index;
    return nodes.indexOf(this.random.pick(running));
  }

  /** @returns False when there is nothing to crash. */
  #crash(victim: Victim, index: number, thread: SimThread | undefined): boolean {
    const node = this.nodes[index];
    if (node === undefined) return false;
    this.faults++;
    if (victim === "node") this.#crashNode(index);
    else if (victim === "store") node.crashStore();
    else {
      const own = thread?.kind === "sessions" && thread.parts.machine === node;
      node.crashWorker(own ? thread.id - 1 : this.random.int(0, this.plan.workers - 1));
    }
    return true;
  }

  #crashNode(index: number): void {
    const node = this.nodes[index];
    if (node === undefined) return;
    node.crash();
    if (this.plan.hub) this.hub.kill(node.id);
    this.nodes[index] = undefined;
    this.scheduler.at(this.random.logBetween(50, 8_000), NOBODY, "plan", () => {
      if (this.nodes[index] === undefined) this.#startNode(index);
    });
  }

  #inflict(fault: Fault): void {
    if (this.healed) return;
    this.faults++;
    if (this.trace.on) this.trace.note("world", `FAULT ${JSON.stringify(fault)}`);
    const { database, hub, scheduler, plan, random } = this;
    const undo = (ms: number, run: () => void) => scheduler.at(ms, NOBODY, "plan", run);
    switch (fault.kind) {
      case "crash":
        this.#crash(fault.victim, fault.node, undefined);
        return;
      case "cut":
        return this.#cut(this.clients[fault.client], fault.halfOpen);
      case "away": {
        const client = this.clients[fault.client];
        client?.goOffline();
        undo(fault.ms, () => this.healed || client?.goOnline());
        return;
      }
      case "stall": {
        const wire = this.clients[fault.client]?.wire;
        wire?.setReading(false);
        undo(fault.ms, () => wire?.setReading(true));
        return;
      }
      case "database crash":
        database.crash();
        undo(fault.ms, () => database.down = false);
        return;
      case "database away":
        database.down = true;
        undo(fault.ms, () => database.down = false);
        return;
      case "database flaky":
        database.faults.refuse = database.faults.loseAnswer = fault.rate;
        undo(fault.ms, () => database.faults.refuse = database.faults.loseAnswer = 0);
        return;
      case "bus flush":
        if (plan.hub) hub.flush();
        return;
      case "bus cut": {
        const node = this.nodes[fault.node];
        if (node === undefined || !plan.hub) return;
        hub.cut(node.id);
        undo(fault.ms, () => node.alive && hub.heal(node.id));
        return;
      }
      case "bus lossy":
        hub.faults.dropRate = fault.rate;
        undo(fault.ms, () => hub.faults.dropRate = 0);
        return;
      case "bus slow":
        hub.faults.delayMs = [0, fault.delayMs];
        undo(fault.ms, () => hub.faults.delayMs = [0, plan.busMs]);
        return;
      case "pause": {
        const node = this.nodes[fault.node];
        if (node === undefined) return;
        node.pausedUntil = Math.max(node.pausedUntil, scheduler.now + fault.ms);
        if (!plan.hub) return;
        hub.pause(node.id);
        undo(fault.ms, () => {
          if (node.alive && node.pausedUntil <= scheduler.now) hub.resume(node.id);
        });
        return;
      }
      case "clock step": {
        const node = this.nodes[fault.node];
        if (node !== undefined) node.skew.ms += fault.ms;
        return;
      }
      default:
        fault satisfies never;
        random.next();
    }
  }

  #cut(client: Client | undefined, halfOpen: boolean): void {
    const { random } = this;
    const silent = random.between(5_000, 15_000); // v1: until TCP's keep-alive gives up
    const serverMs = !halfOpen
      ? random.logBetween(0.1, 500)
      : client?.version === 1
      ? silent
      : undefined;
    client?.wire?.cut(random.logBetween(0.1, 3_000), serverMs);
  }

  /** Gone without a word: only the node's heartbeat can tell. */
  #vanish(client: Client | undefined): void {
    if (client === undefined) return;
    this.#cut(client, true);
    client.goOffline();
  }

  // ── time ────────────────────────────────────────────────────────────────────────────────────

  /** A step's time around `ms`: usually less than twice as much, at times a spike. */
  #latency(ms: number): number {
    const r = this.#latencies;
    const { spikeRate, spikeMs } = this.plan;
    const usual = ms * (0.2 - Math.log(1 - r.next()) * 0.8);
    return spikeRate > 0 && r.chance(spikeRate) ? usual + r.next() * spikeMs : usual;
  }
}
