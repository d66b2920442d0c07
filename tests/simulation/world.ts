/**
 * A simulated cluster with its clients, as one seed plans it, and what can be noticed only while it
 * happens. Faults are nemesis.ts's, the judgement afterwards is judge.ts's.
 */

import { createLocalBus } from "../../actors/adapters/local_bus.ts";
import type { Mid, UserId } from "../../actors/ports.ts";
import { createHub, type Hub } from "../support/hub_bus.ts";
import { ClientV1 } from "./client_v1.ts";
import { ClientV2 } from "./client_v2.ts";
import { Database } from "./database.ts";
import { Ledger } from "./ledger.ts";
import type { Mutation } from "./mutations.ts";
import { Wire, type WireClient } from "./network.ts";
import { type NodeParts, SimNode } from "./node.ts";
import { Nemesis } from "./nemesis.ts";
import { isCalm, LEASE_MS, type Plan } from "./plan.ts";
import { Random } from "./random.ts";
import { NOBODY, Scheduler } from "./scheduler.ts";
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
  saidBye(client: Client, errno: number): void;
  /** A push has reached a v2 client. */
  pushed(client: ClientV2, mid: Mid): void;
}

/**
 * How long a login may take to bring everything that waits while nothing goes wrong, ms: rows may be
 * kept back for 3 s (pull.ts). With a small window each message waits for a receipt before it.
 */
const HAND_OVER_MS = 6_500;
const HAND_OVER_IN_STEPS_MS = 30_000;
/** How long before its LOGIN_ACK comes a login may have read what waits, ms. */
const MISSED_MS = 1_500;

/** How long an attempt to resume that its client has given up may be under way, ms. */
const RACE_MS = 3_000;

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
  readonly nemesis: Nemesis;
  /** The faults are over. */
  healed = false;
  readonly #mutation: Mutation | undefined;
  readonly #runs: number[] = [];
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
      // A mutation of the database is one of the model's.
      embedded: plan.nodes === 1 && options.mutation?.world === undefined,
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
    this.#populate();
    options.mutation?.world?.(this);
    for (let index = 0; index < plan.nodes; index++) this.startNode(index);
    this.#schedule();
    this.nemesis = new Nemesis(this, random.fork());
  }

  /** Nodes that run. */
  get running(): SimNode[] {
    return this.nodes.filter((node) => node !== undefined);
  }

  /** Ends the faults: everything works from now on, and everybody but the leavers comes back. */
  heal(): void {
    this.healed = true;
    if (this.trace.on) this.trace.note("world", "HEALS");
    this.nemesis.heal();
    const { plan } = this;
    plan.clients.forEach(({ leaves }, index) => {
      const client = this.clients[index];
      if (client === undefined) return;
      if (!leaves) client.goOnline();
      else if (this.random.chance(0.5)) client.goOffline();
      else this.nemesis.vanish(client);
    });
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
    this.nemesis.freezer.loggedIn(client);
    const { maxQueued, windowUnits } = this.plan;
    const calm = isCalm(this.plan) && maxQueued > 100;
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

  saidBye(client: Client, errno: number): void {
    // While the bus does not answer, a stale session may be taken for the newer one; and of two
    // attempts to resume, the one that was given up may come second.
    const busWasAway = this.plan.faults.some(({ fault }) => fault.kind.startsWith("bus"));
    const isNew = this.scheduler.now - client.onlineSince < RACE_MS;
    if (errno !== 2 || busWasAway || isNew) return;
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
        const id = Number(tables.createGroup((creator ?? 0) + 1, `group${i + 1}`, ""));
        for (const member of others) tables.joinGroup(member + 1, id);
      });
      for (const [a, b] of friends) tables.addFriend(a + 1, b + 1);
    });
    const { noDedupe = false, noSeen = false } = this.#mutation ?? {};
    clients.forEach((planned, i) => {
      const id = i + 1;
      const client = planned.version === 1
        ? new ClientV1(id, this)
        : new ClientV2(id, this, { ...planned, noDedupe, noSeen });
      this.clients.push(client);
    });
  }

  /** Starts a new run of a node. */
  startNode(index: number): void {
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
      onFatal: () => this.nemesis.crashNode(index),
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
