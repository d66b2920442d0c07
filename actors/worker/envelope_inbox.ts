/**
 * Takes what comes for the users of one worker, from the worker itself, from others of its node and
 * from other nodes: pushes, receipts for this node's store, DELIVERED and TYPING.
 */

import { MSGID } from "@chat/wire/messages.ts";
import { Delivery } from "../sessions/delivery.ts";
import type { Host } from "../handlers/types.ts";
import type { Message, NodeId, UserId } from "../ports.ts";
import { type LocationCode, remoteLocation } from "../routing/replica.ts";
import type { Envelope, LocalDelivery } from "../routing/router.ts";
import type { SessionTable } from "./session_table.ts";

/** See the module's header. */
export class EnvelopeInbox implements LocalDelivery {
  readonly #host: Host;
  readonly #sessions: SessionTable;
  readonly #nodeIndexes = new Map<NodeId, number>();
  #lastDelivery: Delivery | undefined;

  constructor(host: Host, sessions: SessionTable) {
    this.#host = host;
    this.#sessions = sessions;
  }

  /** A node's number in location codes, told before the first location that has it. */
  knowsNode(node: NodeId, index: number): void {
    this.#nodeIndexes.set(node, index);
  }

  /** An envelope from a worker of another node. */
  deliverFrom(node: NodeId, worker: number, envelope: Envelope): void {
    const index = this.#nodeIndexes.get(node);
    // Without its index receipts cannot go back; the pending rows bring these messages.
    if (index !== undefined) this.deliver(envelope, remoteLocation(index, worker));
  }

  /** An envelope for users of this worker; `origin` is where its messages are stored. */
  deliver(envelope: Envelope, origin: LocationCode): void {
    const { hlc, store } = this.#host;
    for (const { m, to, notify } of envelope.pushes) {
      hlc.observe(m.mid);
      const delivery = new Delivery(m, origin, notify);
      for (const user of to) this.#sessions.ofUser(user)?.push(delivery);
    }
    const { receipts } = envelope;
    for (let i = 0; i + 1 < receipts.length; i += 2) {
      const user = receipts[i];
      const mid = receipts[i + 1];
      if (typeof user === "number" && typeof mid === "string") store.receipt(user, mid);
    }
    for (const { to, by, mid } of envelope.delivered) {
      const session = this.#sessions.ofUser(to);
      if (session?.wantsDelivered) {
        this.#host.reply(session, { msgid: MSGID.DELIVERED, id: by, mids: [mid] });
      }
    }
    for (const { to, from, name, groupid } of envelope.typing) {
      for (const user of to) {
        const session = this.#sessions.ofUser(user);
        if (!session?.wantsTyping) continue;
        const target = groupid === 0 ? {} : { groupid };
        this.#host.reply(session, { msgid: MSGID.TYPING, id: from, name, ...target });
      }
    }
  }

  /** A push within this worker. */
  push(message: Message, user: UserId, notify: boolean): void {
    this.#sessions.ofUser(user)?.push(this.#deliveryOf(message, notify));
  }

  /** One object for all recipients of a message in this worker: they share its encoded text. */
  #deliveryOf(message: Message, notify: boolean): Delivery {
    if (this.#lastDelivery?.message === message) return this.#lastDelivery;
    return this.#lastDelivery = new Delivery(message, 0, notify);
  }
}
