/** Carries a plan's faults out on a world: at their times, or right after steps of the delivery path. */

import type { Fault, Plan, StepCrash, Victim } from "./plan.ts";
import { Freezer } from "./freezer.ts";
import type { Random } from "./random.ts";
import { NOBODY, type Owner } from "./scheduler.ts";
import { SimThread } from "./thread.ts";
import type { Client, World } from "./world.ts";

/** See the module's header. */
export class Nemesis {
  /** Faults carried out. */
  faults = 0;
  /** Steps after which something was crashed: `step/victim`. */
  readonly crashedAfter = new Set<string>();
  readonly freezer: Freezer;
  readonly #world: World;
  readonly #plan: Plan;
  readonly #random: Random;
  #crashes: readonly StepCrash[];
  readonly #stepCounts = new Map<string, number>();
  #over = false;

  constructor(world: World, random: Random) {
    const { plan, scheduler } = world;
    this.#world = world;
    this.#plan = plan;
    this.#random = random;
    this.#crashes = plan.stepCrashes;
    for (const { at, fault } of plan.faults) {
      scheduler.at(at, NOBODY, "plan", () => this.#inflict(fault));
    }
    this.freezer = new Freezer(world);
    scheduler.onStep = (step, place) => {
      this.#stepped(step, place);
      this.freezer.stepped(step, place);
    };
  }

  /** Ends it: the database, the bus and the network work from now on, and dead nodes start. */
  heal(): void {
    this.#over = true;
    this.freezer.end();
    const { database, hub, nodes, clients } = this.#world;
    database.down = false;
    database.stuckUntil = 0;
    database.faults.refuse = database.faults.loseAnswer = 0;
    hub.faults.dropRate = 0;
    hub.faults.delayMs = [0, this.#plan.busMs];
    nodes.forEach((node, index) => {
      if (node === undefined) return this.#world.startNode(index);
      if (!this.#plan.hub) return;
      hub.resume(node.id);
      hub.heal(node.id);
    });
    for (const client of clients) client.wire?.setReading(true);
  }

  /** A client goes without a word: only the node's heartbeat can tell. */
  vanish(client: Client): void {
    this.#cut(client, true);
    client.goOffline();
  }

  /** The process of a node dies; it is started again after a while. */
  crashNode(index: number): void {
    const { nodes, hub, scheduler } = this.#world;
    const node = nodes[index];
    if (node === undefined) return;
    node.crash();
    if (this.#plan.hub) hub.kill(node.id);
    nodes[index] = undefined;
    scheduler.at(this.#random.logBetween(50, 8_000), NOBODY, "plan", () => {
      if (nodes[index] === undefined) this.#world.startNode(index);
    });
  }

  /** Carries out crashes that were planned for right after a step. */
  #stepped(step: string, place: Owner): void {
    if (this.#crashes.length === 0 || this.#over) return;
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
    const { running, nodes } = this.#world;
    const machine = place instanceof SimThread ? place.parts.machine : undefined;
    const index = nodes.findIndex((node) => node !== undefined && node === machine);
    if (index >= 0 || running.length === 0) return index;
    return nodes.indexOf(this.#random.pick(running));
  }

  /** @returns False when there is nothing to crash. */
  #crash(victim: Victim, index: number, thread: SimThread | undefined): boolean {
    const node = this.#world.nodes[index];
    if (node === undefined) return false;
    this.faults++;
    if (victim === "node") this.crashNode(index);
    else if (victim === "store") node.crashStore();
    else {
      const own = thread?.kind === "sessions" && thread.parts.machine === node;
      node.crashWorker(own ? thread.id - 1 : this.#random.int(0, this.#plan.workers - 1));
    }
    return true;
  }

  #inflict(fault: Fault): void {
    if (this.#over) return;
    this.faults++;
    const { database, hub, scheduler, trace, plan } = this.#world;
    if (trace.on) trace.note("world", `FAULT ${JSON.stringify(fault)}`);
    const undo = (ms: number, run: () => void) => scheduler.at(ms, NOBODY, "plan", run);
    switch (fault.kind) {
      case "crash":
        this.#crash(fault.victim, fault.node, undefined);
        return;
      case "cut":
        return this.#cut(this.#world.clients[fault.client], fault.halfOpen);
      case "away": {
        const client = this.#world.clients[fault.client];
        client?.goOffline();
        undo(fault.ms, () => this.#over || client?.goOnline());
        return;
      }
      case "stall": {
        const wire = this.#world.clients[fault.client]?.wire;
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
      case "database stuck":
        database.stuckUntil = scheduler.now + fault.ms;
        return;
      case "database flaky":
        database.faults.refuse = database.faults.loseAnswer = fault.rate;
        undo(fault.ms, () => database.faults.refuse = database.faults.loseAnswer = 0);
        return;
      case "bus flush":
        if (plan.hub) hub.flush();
        return;
      case "bus cut": {
        const node = this.#world.nodes[fault.node];
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
        const node = this.#world.nodes[fault.node];
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
        const node = this.#world.nodes[fault.node];
        if (node !== undefined) node.skew.ms += fault.ms;
        return;
      }
      default:
        fault satisfies never;
    }
  }

  #cut(client: Client | undefined, halfOpen: boolean): void {
    const random = this.#random;
    const silent = random.between(5_000, 15_000); // v1: until TCP's keep-alive gives up
    const serverMs = !halfOpen
      ? random.logBetween(0.1, 500)
      : client?.version === 1
      ? silent
      : undefined;
    client?.wire?.cut(random.logBetween(0.1, 3_000), serverMs);
  }
}
