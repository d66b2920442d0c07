/**
 * From a session to the sessions of others: the same worker at once, another worker of this node by
 * its link, another node through the bridge. One batch per turn and destination; a message for many
 * recipients at one destination crosses once.
 */

import { WORKER_SPAN } from "../runtime/lane.ts";
import type { ThreadId } from "../runtime/link.ts";
import type { GroupId, Message, Mid, NodeId, UserId } from "../ports.ts";
import { type LocationCode, remoteNodeIndex, remoteWorker, type Replica } from "./replica.ts";
import type { ActorSystem } from "../runtime/runtime.ts";

/** A turn's traffic for one worker. */
export interface Envelope {
  /** Message, its recipients there, and whether its sender wants to be told of receipts. */
  readonly pushes: { readonly m: Message; readonly to: UserId[]; readonly notify: boolean }[];
  /** Recipient and mid: receipts for the store of the node that gets this. */
  readonly receipts: (UserId | Mid)[];
  /** `to` is told that `by` has received `mid`. */
  readonly delivered: { readonly to: UserId; readonly by: UserId; readonly mid: Mid }[];
  readonly typing: Typed[];
}

/** Somebody types. */
export interface Typed {
  readonly to: UserId[];
  readonly from: UserId;
  readonly name: string;
  /** 0: to the recipient alone. */
  readonly groupid: GroupId;
}

/** An envelope as it reaches a worker. */
export interface EnvelopeMessage {
  readonly type: "envelope";
  readonly envelope: Envelope;
}

/** An envelope for another node, as text, for the bridge. */
export interface BridgeSend {
  readonly type: "send";
  readonly node: NodeId;
  readonly worker: number;
  /** The sending worker: receipts come back to it. */
  readonly from: number;
  readonly text: string;
}

/** Deliveries in this worker; the host implements it. */
export interface LocalDelivery {
  deliver(envelope: Envelope, origin: LocationCode): void;
  push(message: Message, user: UserId, notify: boolean): void;
}

/** Thread number of a session worker, by its index. */
export function workerThread(index: number): ThreadId {
  return index + 1;
}

/** See the module's header. */
export class Router {
  readonly #system: ActorSystem;
  readonly #replica: Replica;
  readonly #self: number;
  readonly #local: LocalDelivery;
  readonly #later: (fn: () => void) => void;
  /** Key: worker index of this node, or a (negative) remote location. */
  readonly #envelopes = new Map<number, Envelope>();
  #scheduled = false;

  /** @param self This worker's index. */
  constructor(
    system: ActorSystem,
    replica: Replica,
    self: number,
    local: LocalDelivery,
    later: (fn: () => void) => void,
  ) {
    this.#system = system;
    this.#replica = replica;
    this.#self = self;
    this.#local = local;
    this.#later = later;
  }

  /** Pushes a message to one user; false when that user is offline. */
  pushTo(message: Message, user: UserId, notify: boolean): boolean {
    const location = this.#replica.location(user);
    if (location === 0) return false;
    if (location > 0 && location % WORKER_SPAN === this.#self) {
      this.#local.push(message, user, notify);
      return true;
    }
    const { pushes } = this.#envelope(location);
    const last = pushes[pushes.length - 1];
    if (last !== undefined && last.m === message) last.to.push(user);
    else pushes.push({ m: message, to: [user], notify });
    return true;
  }

  /** Sends a receipt to the store of another node. */
  receiptTo(origin: LocationCode, user: UserId, mid: Mid): void {
    this.#envelope(origin).receipts.push(user, mid);
  }

  /** Tells the sender that `by` has received `mid`. */
  deliveredTo(to: UserId, by: UserId, mid: Mid): void {
    const location = this.#replica.location(to);
    if (location !== 0) this.#envelope(location).delivered.push({ to, by, mid });
  }

  /** Tells users that somebody types. */
  typingTo(users: readonly UserId[], from: UserId, name: string, groupid: GroupId): void {
    const byEnvelope = new Map<Envelope, UserId[]>();
    for (const user of users) {
      const location = this.#replica.location(user);
      if (location === 0) continue;
      const envelope = this.#envelope(location);
      const to = byEnvelope.get(envelope);
      if (to === undefined) byEnvelope.set(envelope, [user]);
      else to.push(user);
    }
    for (const [envelope, to] of byEnvelope) envelope.typing.push({ to, from, name, groupid });
  }

  #envelope(location: LocationCode): Envelope {
    const key = location > 0 ? location % WORKER_SPAN : location;
    let envelope = this.#envelopes.get(key);
    if (envelope === undefined) {
      envelope = { pushes: [], receipts: [], delivered: [], typing: [] };
      this.#envelopes.set(key, envelope);
      if (!this.#scheduled) {
        this.#scheduled = true;
        this.#later(this.#flush);
      }
    }
    return envelope;
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    const envelopes = [...this.#envelopes];
    this.#envelopes.clear();
    for (const [key, envelope] of envelopes) {
      if (key === this.#self) this.#local.deliver(envelope, 0);
      else if (key >= 0) {
        this.#system.ref<EnvelopeMessage>(workerThread(key), "sessions").tell({
          type: "envelope",
          envelope,
        });
      } else {
        const node = this.#replica.nodeId(remoteNodeIndex(key));
        if (node === undefined) continue; // it has just gone; pending rows remain
        this.#system.ref<BridgeSend>(0, "bridge").tell({
          type: "send",
          node,
          worker: remoteWorker(key),
          from: this.#self,
          text: JSON.stringify(envelope),
        });
      }
    }
  };
}
