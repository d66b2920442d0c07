/**
 * Stops whole nodes in the midst of their work, as SIGSTOP does, and lets them go on at a bad moment:
 * while their clients, who have gone elsewhere, send again what the stopped node still holds.
 *
 * A frozen node runs nothing and loses nothing. Its connections are open and silent, its lease runs
 * out, and what it had handed to the network, the bus or the database takes its way.
 */

import type { SimNode } from "./node.ts";
import type { Freeze } from "./plan.ts";
import { NOBODY, type Owner } from "./scheduler.ts";
import { SimThread } from "./thread.ts";
import type { Client, World } from "./world.ts";

/** A node that stands still. */
interface Frozen {
  readonly freeze: Freeze;
  readonly node: SimNode;
  /** Who was connected to it. */
  readonly clients: ReadonlySet<Client>;
  /** One of them is back elsewhere. */
  escaped: boolean;
  steps: number;
}

/** See the module's header. */
export class Freezer {
  /** Nodes frozen so far. */
  count = 0;
  /** Steps after which a node was let go while its clients were elsewhere. */
  readonly thawedAfter = new Set<string>();
  readonly #world: World;
  /** Planned ones whose time has come. */
  readonly #due = new Map<Freeze, number>();
  readonly #frozen = new Set<Frozen>();
  #over = false;

  constructor(world: World) {
    this.#world = world;
    for (const freeze of world.plan.freezes) {
      world.scheduler.at(freeze.at, NOBODY, "plan", () => {
        if (!this.#over) this.#due.set(freeze, 0);
      });
    }
  }

  /** Lets all go on; none is frozen any more. */
  end(): void {
    this.#over = true;
    this.#due.clear();
    for (const frozen of this.#frozen) this.#thaw(frozen);
  }

  /** A client has logged in. */
  loggedIn(client: Client): void {
    for (const frozen of this.#frozen) {
      if (frozen.clients.has(client) && this.#nodeOf(client) !== frozen.node) frozen.escaped = true;
    }
  }

  /** A step has ended; nothing runs. */
  stepped(step: string, place: Owner): void {
    if (this.#due.size === 0 && this.#frozen.size === 0) return;
    if (!(place instanceof SimThread)) return;
    const { machine } = place.parts;
    for (const frozen of this.#frozen) {
      const { freeze, node, escaped } = frozen;
      if (!escaped || machine === node || step !== freeze.thawStep) continue;
      if (++frozen.steps < freeze.thawNth) continue;
      this.thawedAfter.add(step);
      this.#thaw(frozen);
    }
    for (const [freeze, steps] of this.#due) {
      const node = this.#nodeOf(this.#world.clients[freeze.client]);
      if (node !== machine || node === undefined || step !== freeze.step) continue;
      this.#due.set(freeze, steps + 1);
      if (steps + 1 >= freeze.nth) this.#freeze(freeze, node);
    }
  }

  #freeze(freeze: Freeze, node: SimNode): void {
    this.#due.delete(freeze);
    if (node.pausedUntil === Infinity) return;
    this.count++;
    const { scheduler, hub, trace, clients, plan } = this.#world;
    if (trace.on) trace.note(node.id, "FREEZES");
    const there = new Set(clients.filter((client) => this.#nodeOf(client) === node));
    const frozen: Frozen = { freeze, node, clients: there, escaped: false, steps: 0 };
    this.#frozen.add(frozen);
    node.pausedUntil = Infinity;
    if (plan.hub) hub.pause(node.id);
    scheduler.at(freeze.mostMs, NOBODY, "plan", () => this.#thaw(frozen));
  }

  #thaw(frozen: Frozen): void {
    if (!this.#frozen.delete(frozen)) return;
    const { scheduler, hub, trace, plan } = this.#world;
    const { node, freeze } = frozen;
    if (!node.alive) return;
    if (trace.on) trace.note(node.id, "GOES ON");
    node.pausedUntil = 0;
    scheduler.release(freeze.timersFirst);
    if (plan.hub) hub.resume(node.id);
  }

  #nodeOf(client: Client | undefined): SimNode | undefined {
    const { wire } = client ?? {};
    return wire && this.#world.running.find((node) => node.wires.has(wire));
  }
}
