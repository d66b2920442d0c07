/**
 * The bridge actor: what this node's workers and registry say to other nodes, and the reverse, over
 * a BusPort. It addresses envelopes and never reads what is in one: the text goes
 * through as it is.
 *
 * An envelope is `target|sender worker|text`, target a worker index, `*` for all workers, `r` for
 * the registry, `g` for the guard, `a` for administration.
 * Losing one is no loss: pending rows are the truth.
 */

import type { BusHandler, BusPort, NodeId } from "../ports.ts";
import type { PeerMessage, RegistryMessage } from "./registry.ts";
import { type BridgeSend, workerThread } from "./router.ts";
import type { Actor, ActorSystem, Ref } from "../runtime/runtime.ts";

/** What the bridge takes. */
export type BridgeMessage =
  | BridgeSend
  /** A registry's message to one other node, or to all. */
  | { readonly type: "peer"; readonly node: NodeId | undefined; readonly message: PeerMessage }
  /** A worker's notice to the workers of all other nodes. */
  | { readonly type: "broadcast"; readonly text: string }
  /** The guard's word to those of all other nodes. */
  | { readonly type: "guard"; readonly text: string }
  /** Administration's message to that of one other node. */
  | { readonly type: "admin"; readonly node: NodeId; readonly text: string };

/** An envelope from another node, as a worker gets it. */
export interface BusEnvelope {
  readonly type: "bus";
  readonly node: NodeId;
  readonly worker: number;
  readonly text: string;
}

/** What administration gets from that of another node. */
export interface AdminEnvelope {
  readonly node: NodeId;
  readonly text: string;
}

/** What the guard gets from that of another node. */
export interface FailedElsewhere {
  readonly type: "failed_elsewhere";
  readonly keys: readonly string[];
}

/** The actor that takes each {@linkcode AdminEnvelope}. */
export const ADMIN_ACTOR = "admin";

const TO_REGISTRY = "r";
const TO_ADMIN = "a";
const TO_GUARD = "g";
const TO_ALL_WORKERS = "*";

/** See the module's header. */
export class Bridge implements Actor<BridgeMessage>, BusHandler {
  readonly #system: ActorSystem;
  readonly #bus: BusPort;
  readonly #registry: Ref<RegistryMessage>;
  readonly #workers: () => Iterable<number>;
  /** Envelopes given to the bus, and come from it. */
  sent = 0;
  received = 0;

  constructor(system: ActorSystem, bus: BusPort, workers: () => Iterable<number>) {
    this.#system = system;
    this.#bus = bus;
    this.#registry = system.ref<RegistryMessage>(system.thread, "registry");
    this.#workers = workers;
  }

  receive(m: BridgeMessage): void {
    this.sent++;
    switch (m.type) {
      case "send":
        return this.#bus.send(m.node, `${m.worker}|${m.from}|${m.text}`);
      case "broadcast":
        return this.#bus.broadcast(`${TO_ALL_WORKERS}|0|${m.text}`);
      case "guard":
        return this.#bus.broadcast(`${TO_GUARD}|0|${m.text}`);
      case "admin":
        return this.#bus.send(m.node, `${TO_ADMIN}|0|${m.text}`);
      case "peer": {
        const text = `${TO_REGISTRY}|0|${JSON.stringify(m.message)}`;
        return m.node === undefined ? this.#bus.broadcast(text) : this.#bus.send(m.node, text);
      }
      default:
        return m satisfies never;
    }
  }

  onEnvelope(from: NodeId, envelope: string): void {
    this.received++;
    const first = envelope.indexOf("|");
    const second = envelope.indexOf("|", first + 1);
    if (first < 0 || second < 0) return; // not one of ours
    const target = envelope.slice(0, first);
    const text = envelope.slice(second + 1);
    if (target === TO_REGISTRY) {
      const message = JSON.parse(text) as PeerMessage; // our own nodes' words
      this.#registry.tell({ type: "peer", from, message });
      return;
    }
    if (target === TO_GUARD) {
      const keys = JSON.parse(text) as string[]; // our own nodes' words
      const guard = this.#system.ref<FailedElsewhere>(this.#system.thread, "guard");
      guard.tell({ type: "failed_elsewhere", keys });
      return;
    }
    if (target === TO_ADMIN) {
      this.#system.ref<AdminEnvelope>(this.#system.thread, ADMIN_ACTOR).tell({ node: from, text });
      return;
    }
    const worker = Number(envelope.slice(first + 1, second));
    const message: BusEnvelope = { type: "bus", node: from, worker, text };
    const targets = target === TO_ALL_WORKERS ? this.#workers() : [Number(target)];
    for (const index of targets) {
      this.#system.ref<BusEnvelope>(workerThread(index), "sessions").tell(message);
    }
  }

  onNodeUp(node: NodeId): void {
    this.#registry.tell({ type: "node_up", node });
  }

  onNodeDown(node: NodeId): void {
    this.#registry.tell({ type: "node_down", node });
  }

  onReset(): void {
    this.#registry.tell({ type: "reset" });
  }
}
