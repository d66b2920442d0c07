/**
 * Buses of several nodes in one process, over a make-believe Redis: for simulations. It keeps the
 * same contract as the Redis bus (tests/support/bus_contract.ts) and fails as that one fails, on command.
 *
 * Deterministic: time and delays come from the given clock and seed, nothing else. Driven by
 * events, no periodic timers: a simulation that is idle stays idle.
 *
 * What a fault stands for:
 * - `faults.delayMs`   time to Redis and from it, drawn for each step. One node's commands, and what
 *                      one node receives, keep their order; different nodes overtake each other.
 * - `faults.dropRate`  a sender's queue is full: the envelope is lost, and the sender is told to
 *                      reset, at most once per lease.
 * - `cut`, `heal`      Redis cannot be reached from a node, then it can.
 * - `kill`             kill -9: nothing more comes from it or is done for it.
 * - `pause`, `resume`  SIGSTOP, SIGCONT. The node's own timers are the simulation's to stop.
 * - `flush`            FLUSHALL.
 */

import type {
  BusHandler,
  BusPort,
  Claim,
  Clock,
  Location,
  NodeId,
  UserId,
} from "../../actors/ports.ts";

/** Settings of a hub. */
export interface HubOptions {
  readonly clock: Clock;
  /** @default 1 */
  readonly seed?: number;
  /** A node that stops is dead after this. @default 10_000 */
  readonly leaseMs?: number;
  /** Longest wait of a claim. @default 1_000 */
  readonly claimMs?: number;
}

/** Random faults; change them at any time. */
export interface HubFaults {
  /** Shortest and longest time of one step, ms. */
  delayMs: readonly [number, number];
  /** Probability, 0 to 1. */
  dropRate: number;
}

/** Time within which a node notices that its lease is missing: its next beat. */
const BEAT_MS = 1_000;

/** One direction between a node and Redis: steps are done in order, each after its delay. */
class Path {
  #steps: (() => void)[] = [];
  #owed = 0;
  #held = false;

  /** @returns What to run when the step's time has come. */
  push(step: () => void): () => void {
    const steps = this.#steps;
    steps.push(step);
    return () => {
      if (steps !== this.#steps) return; // lost
      if (this.#held) this.#owed++;
      else steps.shift()?.();
    };
  }

  lose(): void {
    this.#steps = [];
    this.#owed = 0;
  }

  hold(held: boolean): void {
    this.#held = held;
    for (; !this.#held && this.#owed > 0; this.#owed--) this.#steps.shift()?.();
  }
}

/** Nodes and what they share. */
export class Hub {
  readonly faults: HubFaults = { delayMs: [0, 0], dropRate: 0 };
  /** user ⇒ location, as the hash in Redis. */
  readonly online = new Map<UserId, Location>();
  readonly leases = new Set<NodeId>();
  readonly nodes = new Map<NodeId, HubNode>();
  readonly leaseMs: number;
  readonly claimMs: number;
  readonly #clock: Clock;
  readonly #timers = new Set<() => void>();
  #random: number;

  constructor(options: HubOptions) {
    this.#clock = options.clock;
    this.#random = options.seed ?? 1;
    this.leaseMs = options.leaseMs ?? 10_000;
    this.claimMs = options.claimMs ?? 1_000;
  }

  /** A new run of a node; its bus is not started. */
  bus(node: NodeId): BusPort {
    const bus = new HubNode(this, node);
    this.nodes.set(node, bus);
    return bus;
  }

  cut(node: NodeId): void {
    this.#node(node).cut();
  }

  heal(node: NodeId): void {
    this.#node(node).heal();
  }

  kill(node: NodeId): void {
    this.#node(node).kill();
  }

  pause(node: NodeId): void {
    this.#node(node).pause();
  }

  resume(node: NodeId): void {
    this.#node(node).resume();
  }

  flush(): void {
    this.online.clear();
    this.leases.clear();
    for (const node of this.nodes.values()) this.later(this.random() * BEAT_MS, () => node.beat());
  }

  /** Stops all timers; nothing happens any more. */
  close(): void {
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
  }

  /** Uniform in [0, 1): mulberry32. */
  random(): number {
    this.#random = (this.#random + 0x6d2b79f5) | 0;
    let x = Math.imul(this.#random ^ (this.#random >>> 15), 1 | this.#random);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Runs `fn` after `ms`; returns a function that cancels it. */
  later(ms: number, fn: () => void): () => void {
    const stop = this.#clock.after(ms, () => {
      this.#timers.delete(cancel);
      fn();
    });
    const cancel = () => {
      this.#timers.delete(cancel);
      stop();
    };
    this.#timers.add(cancel);
    return cancel;
  }

  /** One step on a path. */
  step(path: Path, fn: () => void): void {
    const [min, max] = this.faults.delayMs;
    this.later(min + this.random() * (max - min), path.push(fn));
  }

  /** An entry whose node has no lease counts for nothing. */
  isVoid(location: Location): boolean {
    return !this.leases.has(location.node);
  }

  /** Deletes all void entries. */
  sweep(): void {
    for (const [user, location] of this.online) {
      if (this.isVoid(location)) this.online.delete(user);
    }
  }

  #node(id: NodeId): HubNode {
    const node = this.nodes.get(id);
    if (!node) throw new RangeError(`no node ${id}`);
    return node;
  }
}

/** One node's bus. Public beyond BusPort is what {@linkcode Hub} and other nodes need. */
class HubNode implements BusPort {
  readonly node: NodeId;
  readonly counters = { dropped: 0, resets: 0 };
  readonly #hub: Hub;
  readonly #toRedis = new Path();
  readonly #fromRedis = new Path();
  readonly #known = new Set<NodeId>();
  /** As in the Redis bus: what was claimed and not released. */
  readonly #held = new Map<UserId, number>();
  /** Users with a claim under way. */
  readonly #claiming = new Map<UserId, number>();
  #handler: BusHandler | undefined;
  #state: "new" | "up" | "cut" | "gone" = "new";
  #paused = false;
  /** Redis can be reached again, but the process is stopped. */
  #healDue = false;
  #resetDue = false;
  #cancelExpiry: (() => void) | undefined;

  constructor(hub: Hub, node: NodeId) {
    this.#hub = hub;
    this.node = node;
  }

  async start(handler: BusHandler): Promise<void> {
    if (this.#state === "cut") throw new Error("no bus: cut off");
    this.#handler = handler;
    this.#state = "up";
    const joined = await this.#ask(() => {
      this.#join();
      return true;
    });
    if (!joined) throw new Error("no bus: cut off");
  }

  send(to: NodeId, text: string): void {
    this.#envelope(() => this.#hub.nodes.get(to)?.take(this.node, text));
  }

  broadcast(text: string): void {
    this.#envelope(() => this.#tell((other) => other.take(this.node, text)));
  }

  async claim(user: UserId, conn: number, takeover: boolean): Promise<Claim> {
    this.#held.set(user, conn);
    this.#claiming.set(user, (this.#claiming.get(user) ?? 0) + 1);
    const claim = await this.#ask(() => this.#claim(user, { node: this.node, conn }, takeover));
    const others = (this.#claiming.get(user) ?? 1) - 1;
    if (others > 0) this.#claiming.set(user, others);
    else this.#claiming.delete(user);
    if (claim?.granted === false && this.#held.get(user) === conn) this.#held.delete(user);
    if (claim === undefined) this.#doubt(); // the entry may be missing: a reset repairs it
    return claim ?? { granted: true, previous: undefined, isGuess: true };
  }

  async release(user: UserId, conn: number): Promise<void> {
    if (this.#held.get(user) === conn) this.#held.delete(user);
    await this.#ask(() => {
      const location = this.#hub.online.get(user);
      if (location?.node === this.node && location.conn === conn) this.#hub.online.delete(user);
    });
  }

  async announce(entries: readonly { user: UserId; conn: number }[]): Promise<void> {
    for (const { user, conn } of entries) {
      if (!this.#claiming.has(user)) this.#held.set(user, conn);
    }
    await this.#ask(() => this.#announce(entries));
  }

  problem(): string | undefined {
    return this.#state === "up" ? undefined : `the bus is ${this.#state}`;
  }

  close(): Promise<void> {
    if (this.#state === "up") {
      this.#cancelExpiry?.();
      this.#hub.leases.delete(this.node);
      this.#tell((other) => other.down(this.node));
    }
    this.#end();
    return Promise.resolve();
  }

  // ── what the hub does to a node ─────────────────────────────────────────────────────────────

  cut(): void {
    if (this.#state !== "up") return;
    this.#state = "cut";
    this.#toRedis.lose();
    this.#fromRedis.lose();
    this.#stopHolding();
  }

  heal(): void {
    this.#healDue = this.#paused;
    if (this.#state !== "cut" || this.#paused) return;
    this.#state = "up";
    this.#startHolding();
    this.#hub.step(this.#fromRedis, () => {
      this.#reset();
      this.#hub.later(this.#hub.leaseMs, () => this.#lookAtLeases());
    });
    this.#join();
  }

  kill(): void {
    if (this.#state === "up" && !this.#paused) this.#stopHolding();
    this.#end();
  }

  pause(): void {
    if (this.#state === "gone" || this.#paused) return;
    this.#paused = true;
    this.#toRedis.hold(true);
    this.#fromRedis.hold(true);
    if (this.#state === "up") this.#stopHolding();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#fromRedis.hold(false);
    this.#toRedis.hold(false);
    if (this.#healDue) this.heal();
    if (this.#state !== "up") return;
    this.#cancelExpiry?.();
    this.#hub.later(this.#hub.random() * BEAT_MS, () => this.beat());
  }

  /** Renews the lease; a missing one means that this node was taken for dead. */
  beat(): void {
    if (this.#state !== "up" || this.#paused || this.#hub.leases.has(this.node)) return;
    this.#hub.leases.add(this.node);
    this.#join();
    this.#reset();
  }

  /** A sign of life from another node reaches Redis. */
  up(other: NodeId): void {
    this.#receive(() => this.#hear(other));
  }

  /** Another node's lease is gone. */
  down(other: NodeId): void {
    this.#receive(() => {
      if (!this.#known.delete(other)) return;
      this.#command(() => this.#hub.sweep());
      this.#handler?.onNodeDown(other);
    });
  }

  /** An envelope has reached Redis. */
  take(from: NodeId, text: string): void {
    if (from === this.node) return;
    this.#receive(() => {
      this.#hear(from);
      this.#handler?.onEnvelope(from, text);
    });
  }

  // ── what happens in Redis ───────────────────────────────────────────────────────────────────

  #join(): void {
    this.#hub.leases.add(this.node);
    this.#tell((other) => {
      if (other.#state !== "up") return;
      other.up(this.node);
      this.up(other.node);
    });
  }

  #claim(user: UserId, mine: Location, takeover: boolean): Claim {
    const wasLost = this.#holdLease();
    const held = this.#hub.online.get(user);
    const isMine = held?.node === mine.node && held.conn === mine.conn;
    const previous = held && !isMine && !this.#hub.isVoid(held) ? held : undefined;
    if (previous && previous.node !== this.node && !takeover) return { granted: false };
    this.#hub.online.set(user, mine);
    return { granted: true, previous, ...(wasLost && { isGuess: true }) };
  }

  #announce(entries: readonly { user: UserId; conn: number }[]): void {
    this.#holdLease();
    for (const { user, conn } of entries) {
      if (this.#held.get(user) !== conn) continue;
      const held = this.#hub.online.get(user);
      if (!held || held.node === this.node || this.#hub.isVoid(held)) {
        this.#hub.online.set(user, { node: this.node, conn });
      }
    }
    for (const [user, location] of this.#hub.online) {
      if (location.node === this.node && this.#held.get(user) !== location.conn) {
        this.#hub.online.delete(user);
      }
    }
  }

  /** @returns Whether the lease was missing. */
  #holdLease(): boolean {
    if (this.#hub.leases.has(this.node)) return false;
    this.#hub.leases.add(this.node);
    this.#receive(() => this.#reset());
    return true;
  }

  /** After a reconnection: nodes that died meanwhile. */
  #lookAtLeases(): void {
    if (this.#state !== "up") return;
    for (const other of this.#known) if (!this.#hub.leases.has(other)) this.down(other);
  }

  // ── ways ────────────────────────────────────────────────────────────────────────────────────

  #envelope(deliver: () => void): void {
    if (this.#state !== "up") return;
    if (this.#hub.random() < this.#hub.faults.dropRate) {
      this.counters.dropped++;
      return this.#doubt();
    }
    this.#command(deliver);
  }

  /** Something was lost: a reset follows. */
  #doubt(): void {
    if (this.#resetDue) return;
    this.#resetDue = true;
    this.#hub.later(this.#hub.leaseMs, () => this.#resetDue && this.#reset());
  }

  #reset(): void {
    this.#resetDue = false;
    if (this.#state !== "up") return;
    this.counters.resets++;
    this.#handler?.onReset();
  }

  #hear(other: NodeId): void {
    if (this.#known.has(other)) return;
    this.#known.add(other);
    this.#handler?.onNodeUp(other);
  }

  #tell(fn: (other: HubNode) => void): void {
    for (const other of this.#hub.nodes.values()) if (other !== this) fn(other);
  }

  #command(fn: () => void): void {
    if (this.#state === "up") this.#hub.step(this.#toRedis, fn);
  }

  #receive(fn: () => void): void {
    if (this.#state === "up") this.#hub.step(this.#fromRedis, fn);
  }

  /** A command with an answer; undefined when none comes. */
  #ask<T>(fn: () => T): Promise<T | undefined> {
    return new Promise((resolve) => {
      if (this.#state === "gone") return; // the dead wait for ever
      const cancel = this.#hub.later(this.#state === "up" ? this.#hub.claimMs : 0, () => {
        resolve(undefined);
      });
      this.#command(() => {
        const answer = fn();
        this.#receive(() => {
          cancel();
          resolve(answer);
        });
      });
    });
  }

  #stopHolding(): void {
    this.#cancelExpiry?.();
    this.#cancelExpiry = this.#hub.later(this.#hub.leaseMs, () => {
      this.#hub.leases.delete(this.node);
      this.#tell((other) => other.down(this.node));
    });
  }

  #startHolding(): void {
    this.#cancelExpiry?.();
    this.#hub.leases.add(this.node);
  }

  #end(): void {
    this.#state = "gone";
    this.#toRedis.lose();
    this.#fromRedis.lose();
  }
}

/** A hub without nodes. */
export function createHub(options: HubOptions): Hub {
  return new Hub(options);
}
