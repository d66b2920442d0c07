/**
 * Threads of a simulated node and the channels between them: an actor system each, posts that take
 * time and keep their order, and that die with their receiver.
 */

import type { Payload, PortLike, ThreadId } from "../../actors/runtime/link.ts";
import type { Clock } from "../../actors/ports.ts";
import { ActorSystem, type RuntimeEvents } from "../../actors/runtime/runtime.ts";
import type { Owner, Scheduler } from "./scheduler.ts";

/** What a thread does. */
export type ThreadKind = "main" | "sessions" | "store";

/** What threads share. */
export interface ThreadParts {
  readonly scheduler: Scheduler;
  /** The node: dead or stopped with all its threads. */
  readonly machine: Owner;
  readonly skew: { readonly ms: number };
  /** How late a timer fires, ms. */
  readonly jitter: () => number;
  readonly random: () => number;
  /** Time of a post, ms. */
  readonly latency: () => number;
}

/** One run of one thread. */
export class SimThread implements Owner {
  readonly id: ThreadId;
  readonly kind: ThreadKind;
  readonly name: string;
  readonly clock: Clock;
  readonly system: ActorSystem;
  /** For the ends of turns. */
  readonly later: (fn: () => void) => void;
  readonly parts: ThreadParts;
  #killed = false;

  constructor(
    id: ThreadId,
    kind: ThreadKind,
    name: string,
    parts: ThreadParts,
    events: RuntimeEvents,
  ) {
    this.id = id;
    this.kind = kind;
    this.name = name;
    this.parts = parts;
    const label = `end of turn: ${kind}`;
    this.later = (fn) => parts.scheduler.later(this, label, fn);
    this.clock = parts.scheduler.clock(this, parts.skew, parts.jitter);
    this.system = new ActorSystem(id, this.clock, events, this.later, parts.random);
  }

  get alive(): boolean {
    return !this.#killed && this.parts.machine.alive;
  }

  get pausedUntil(): number {
    return this.parts.machine.pausedUntil;
  }

  /** Ends it between two steps: nothing more runs. */
  kill(): void {
    this.#killed = true;
  }
}

/** One side of a {@linkcode Channel}. */
class End implements PortLike {
  readonly #owner: SimThread;
  readonly #label: string;
  #peer: End | undefined;
  #receive: ((payload: Payload) => void) | undefined;
  #early: Payload[] = [];
  #closed = false;
  #lastArrival = 0;

  constructor(owner: SimThread, from: SimThread) {
    this.#owner = owner;
    this.#label = `${from.kind}→${owner.kind}`;
  }

  join(peer: End): void {
    this.#peer = peer;
  }

  post(payload: Payload): void {
    const peer = this.#peer;
    if (peer !== undefined && !this.#closed) peer.take(() => peer.#arrive(payload), payload);
  }

  listen(receive: (payload: Payload) => void): void {
    this.#receive = receive;
    for (const payload of this.#early.splice(0)) receive(payload);
  }

  close(): void {
    this.#closed = true;
  }

  /** Runs `step` on this side's thread, after everything that was sent before. */
  take(step: () => void, payload?: Payload): void {
    const { scheduler, latency } = this.#owner.parts;
    const arrival = Math.max(this.#lastArrival, scheduler.now + latency());
    this.#lastArrival = arrival;
    const label = payload === undefined ? "control" : this.#label + contentOf(payload);
    scheduler.atTime(arrival, this.#owner, label, () => {
      if (!this.#closed) step();
    });
  }

  #arrive(payload: Payload): void {
    if (this.#receive === undefined) this.#early.push(payload);
    else this.#receive(payload);
  }
}

/** What a post to a store carries, as a step of the delivery path. */
function contentOf({ items }: Payload): string {
  for (const item of items) {
    if (!("to" in item) || item.to !== "store") continue;
    const { body } = item;
    if (typeof body === "object" && body !== null && "type" in body) {
      if (body.type === "append") return " append";
      if (body.type === "receipts") return " receipts";
    }
  }
  return "";
}

/** Two threads' connection. */
export class Channel {
  readonly a: PortLike;
  readonly b: PortLike;
  readonly #ends: Map<SimThread, End>;

  constructor(a: SimThread, b: SimThread) {
    const [atA, atB] = [new End(a, b), new End(b, a)];
    atA.join(atB);
    atB.join(atA);
    this.a = atA;
    this.b = atB;
    this.#ends = new Map([[a, atA], [b, atB]]);
  }

  /** Runs `step` on `thread`, after what was posted to it. */
  control(thread: SimThread, step: () => void): void {
    this.#ends.get(thread)?.take(step);
  }

  /** What is under way is lost, both ways. */
  cut(): void {
    for (const end of this.#ends.values()) end.close();
  }
}
