/**
 * A connection's pushes that lack a receipt, and those whose receipt may have been lost. For v2 a
 * receipt is a RECV_ACK; for v1 it is that the socket has taken the push.
 *
 * Invariant: what lacks a receipt is bounded in number and in length, so that neither a slow reader
 * nor a lost receipt costs more than the window.
 */

import { MAX_UNRECEIPTED, MAX_UNRECEIPTED_UNITS } from "@chat/wire/limits.ts";
import type { Delivery } from "./delivery.ts";
import type { Mid, UserId } from "../ports.ts";

/** Receipts remembered, so that a row that is still to be deleted is not pushed again. */
const MAX_REMEMBERED = 4_096;
/**
 * Receipts for what is not in the window: of an earlier worker of this session, or a client's fancy. One
 * more is taken for each that is for something.
 */
const MAX_UNKNOWN = 2 * MAX_UNRECEIPTED;

/** Who is told of receipts. */
export interface ReceiptOutlet {
  /** `user` has received `mid`; `delivery` is undefined when it is not known what that was. */
  received(user: UserId, mid: Mid, delivery: Delivery | undefined): void;
}

/** See the module's header. */
export class PushWindow {
  readonly #outlet: ReceiptOutlet;
  readonly #maxUnits: number;
  // Made when first used: most sessions are idle, and each collection costs 200 bytes.
  /** v2: pushed, no receipt yet. */
  #unreceipted: Map<Mid, Delivery> | undefined;
  /** v1: pushed, not yet written; oldest first, with the push's number. */
  #unwritten: { number: number; user: UserId; delivery: Delivery; units: number }[] = [];
  #remembered: Set<Mid> | undefined;
  /** Length of the texts of both, UTF-16 units. */
  #units = 0;
  #number = 0;

  /** @param maxUnits Length of the pushes that may lack a receipt: less than a socket may queue. */
  constructor(outlet: ReceiptOutlet, maxUnits = MAX_UNRECEIPTED_UNITS) {
    this.#outlet = outlet;
    this.#maxUnits = maxUnits;
  }

  /** Pushes without a receipt. */
  get size(): number {
    return (this.#unreceipted?.size ?? 0) + this.#unwritten.length;
  }

  /** No push may go out until receipts come. */
  get isFull(): boolean {
    return this.size >= MAX_UNRECEIPTED || this.#units >= this.#maxUnits;
  }

  /** Half of what may lack a receipt has one: pushes may go on. */
  get isHalfEmpty(): boolean {
    return this.size <= MAX_UNRECEIPTED / 2 && this.#units <= this.#maxUnits / 2;
  }

  /** Whether the connection was pushed this message, and either lacks its receipt or may again. */
  has(mid: Mid): boolean {
    return this.#unreceipted?.has(mid) === true || this.isRemembered(mid) ||
      (this.#unwritten.length > 0 && this.#unwritten.some((e) => e.delivery.message.mid === mid));
  }

  /** Whether it has a receipt already. */
  isRemembered(mid: Mid): boolean {
    return this.#remembered?.has(mid) === true;
  }

  /** A number for a frame whose writing is to be reported: greater than all before. */
  nextNumber(): number {
    return ++this.#number;
  }

  /** Numbers up to this one were used by an earlier worker. */
  passNumber(last: number): void {
    this.#number = last;
  }

  /** v2: a push goes out. */
  awaitReceipt(delivery: Delivery): void {
    (this.#unreceipted ??= new Map()).set(delivery.message.mid, delivery);
    this.#units += delivery.text(2).length;
  }

  /** v1: a push goes out. @returns Its number, to be reported when it is written. */
  awaitWriting(delivery: Delivery, user: UserId): number {
    const number = this.nextNumber();
    this.#await(delivery, user, number);
    return number;
  }

  /** v1: a message goes out in the next frame, the answer to a login. */
  handOver(delivery: Delivery, user: UserId): void {
    this.#await(delivery, user, this.#number + 1);
  }

  /** The number of the frame that carries what was handed over; 0 when nothing was. */
  handOverNumber(): number {
    return this.#unwritten.length === 0 ? 0 : this.nextNumber();
  }

  #await(delivery: Delivery, user: UserId, number: number): void {
    const units = delivery.text(1).length;
    this.#unwritten.push({ number, user, delivery, units });
    this.#units += units;
  }

  /** RECV_ACK of a v2 client. @param isPulling Rows are being read: the page may have this one. */
  receipt(user: UserId, mid: Mid, isPulling: boolean): void {
    const delivery = this.#unreceipted?.get(mid);
    if (delivery !== undefined) {
      this.#unreceipted?.delete(mid);
      this.#units -= delivery.text(2).length;
      if (this.#unknownLeft < MAX_UNKNOWN) this.#unknownLeft++;
    } else if (this.#unknownLeft-- <= 0) {
      this.#unknownLeft = 0;
      return;
    }
    this.#remember(mid, delivery, isPulling);
    this.#outlet.received(user, mid, delivery);
  }

  /** The socket has taken every push up to `number`. `user` is who is logged in now. */
  written(user: UserId, number: number, isPulling: boolean): void {
    let count = 0;
    for (const entry of this.#unwritten) {
      if (entry.number > number) break;
      count++;
      this.#units -= entry.units;
      const { mid } = entry.delivery.message;
      if (entry.user === user) this.#remember(mid, entry.delivery, isPulling);
      this.#outlet.received(entry.user, mid, entry.delivery);
    }
    if (count > 0) this.#unwritten = this.#unwritten.slice(count);
  }

  /** Receipts that are taken for what was not pushed here: the store is asked about each. */
  #unknownLeft = MAX_UNKNOWN;

  /** Nobody is logged in. Pushes on their way to a v1 socket stay: written they count as received. */
  end(): void {
    this.#unknownLeft = MAX_UNKNOWN;
    this.#unreceipted = undefined;
    this.#remembered = undefined;
    this.#units = this.#unwritten.reduce((sum, entry) => sum + entry.units, 0);
  }

  /** A row can outlive its receipt where another node deletes it, or in a page being read. */
  #remember(mid: Mid, delivery: Delivery | undefined, isPulling: boolean): void {
    const { origin = 1, pulled = true } = delivery ?? {};
    if (origin === 0 && !pulled && !isPulling) return;
    const remembered = this.#remembered ??= new Set();
    remembered.add(mid);
    if (remembered.size > MAX_REMEMBERED) {
      for (const oldest of remembered) {
        remembered.delete(oldest);
        break;
      }
    }
  }
}
