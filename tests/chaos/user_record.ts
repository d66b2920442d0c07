/**
 * What one simulated user writes down, and what it knows by it: numbers of its messages, what it has
 * seen, which clients it had. It talks to nobody.
 *
 * Invariants: a number is used once, over all processes of the user; a message seen through an earlier
 * client is known again.
 */

import type { ClientEvent, Message, Outgoing, Target } from "../../client/mod.ts";
import { groupConv, type Key, pairConv, parseText, type Said } from "./plan.ts";
import { type LineOf, nameOf, readRecord, Recorder } from "./record.ts";

/** A numbering that is continued leaves room for numbers whose line was torn. */
const TORN_ROOM = 100;

/** A part of a history: sender, number and id of each message, oldest first. */
export type HistoryPart = LineOf<"history">["part"];

/** The record of one user, continued by every process. */
export class UserRecord {
  readonly #user: number;
  readonly #recorder: Recorder;
  /** Seen through earlier clients, of this process and of those before. */
  readonly #before = new Set<string>();
  /** Seen through the present client, which has to know repeats by itself. */
  #now = new Set<string>();
  #clients = 0;
  /** cid ⇒ number, of what is not acknowledged. */
  readonly #open = new Map<string, number>();
  #next = 1;
  #sent = 0;
  #acked = 0;
  #seen = 0;
  #seenAt = 0;

  constructor(user: number, path: string) {
    this.#user = user;
    for (const line of readRecord(path)) {
      if (line.k === "client") this.#clients = line.number;
      if (line.k === "send") {
        this.#next = Math.max(this.#next, line.n + TORN_ROOM);
        this.#sent++;
      }
      if (line.k === "acked") this.#acked++;
      if (line.k === "seen") {
        this.#before.add(nameOf(line.from, line.n));
        this.#seen++;
      }
    }
    this.#recorder = new Recorder(path);
  }

  /** How many clients it has had. */
  get clients(): number {
    return this.#clients;
  }

  /** Messages sent, without those that the library did not take. */
  get sent(): number {
    return this.#sent;
  }

  get acked(): number {
    return this.#acked;
  }

  get seen(): number {
    return this.#seen;
  }

  /** When a message was last seen, epoch ms. */
  get seenAt(): number {
    return this.#seenAt;
  }

  /** How the connection stands. */
  state(state: string, why: string): void {
    this.#recorder.add({ k: "state", t: Date.now(), state, why });
  }

  /** The session is ended for good. */
  left(how: string): void {
    this.#recorder.add({ k: "left", t: Date.now(), user: this.#user, how });
  }

  /** A client of the library begins to act. */
  client(): void {
    for (const name of this.#now) this.#before.add(name);
    this.#now = new Set();
    this.#recorder.add({ k: "client", t: Date.now(), number: ++this.#clients });
  }

  /** What the present client found in its outbox. */
  unsent(chats: Iterable<Outgoing>): void {
    this.#open.clear();
    for (const chat of chats) {
      const said = parseText(chat.msg);
      if (said !== undefined) this.#open.set(chat.cid, said.n);
    }
  }

  /** A message is about to be sent. @returns Its number. */
  send(target: Target, re: Key | undefined): number {
    const n = this.#next++;
    const conv = target.kind === "user" ? pairConv(this.#user, target.id) : groupConv(target.id);
    this.#recorder.add({ k: "send", t: Date.now(), conv, n, ...re !== undefined && { re } });
    this.#sent++;
    return n;
  }

  /** The library has queued it. */
  queued(n: number, cid: string): void {
    // The acknowledgement may have come before: its event names the cid, and the text the number.
    this.#open.set(cid, n);
    this.#recorder.add({ k: "queued", t: Date.now(), n, cid });
  }

  /** The library did not take it. */
  untaken(n: number, why: string): void {
    this.#sent--;
    this.#recorder.add({ k: "untaken", t: Date.now(), n, why });
  }

  /** `sent` */
  acknowledged({ cid, msg, mid }: Extract<ClientEvent, { type: "sent" }>): void {
    this.#recorder.add({ k: "acked", t: Date.now(), n: this.#number(cid, msg), mid });
    this.#acked++;
  }

  /** `failed` */
  failed({ cid, msg, errno, errmsg }: Extract<ClientEvent, { type: "failed" }>): void {
    const n = this.#number(cid, msg);
    this.#recorder.add({ k: "failed", t: Date.now(), n, errno, why: errmsg });
  }

  /**
   * A message was handed over.
   *
   * @returns What it says; undefined when it was seen through an earlier client, or says nothing.
   */
  see({ id: from, msg, mid, groupid }: Message): Said | undefined {
    const conv = groupid === undefined ? pairConv(from, this.#user) : groupConv(groupid);
    const said = parseText(msg);
    const n = said?.n ?? 0;
    const t = Date.now();
    this.#seenAt = t;
    const name = nameOf(from, n);
    if (this.#before.has(name)) {
      this.#recorder.add({ k: "again", t, from, n, mid });
      return undefined;
    }
    const intact = said?.intact === true && said.from === from;
    this.#recorder.add({
      k: "seen",
      t,
      conv,
      from,
      n: n || 1,
      mid,
      ...said?.re !== undefined && { re: said.re },
      ...!intact && { intact: false as const },
    });
    this.#seen++;
    this.#now.add(name);
    return said;
  }

  /** A conversation's whole history, in parts, oldest first. */
  history(conv: string, parts: readonly HistoryPart[]): void {
    const t = Date.now();
    this.#recorder.addAll(
      parts.map((part, i) => ({ k: "history", t, conv, part, last: i === parts.length - 1 })),
    );
  }

  close(): void {
    this.#recorder.close();
  }

  #number(cid: string, msg: string): number {
    const n = this.#open.get(cid) ?? parseText(msg)?.n ?? 0;
    this.#open.delete(cid);
    return n;
  }
}
