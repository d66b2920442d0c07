/**
 * One connection's session: who is logged in, what was pushed and not yet received, and in which
 * order pushes may go out. Knows no sockets and no storage: it speaks through its {@linkcode Outlet}.
 *
 * Delivery has two modes. Live: a push goes out as it comes, if it follows the sender's previous
 * message in its conversation (`prev`). Pulling: pending rows, the truth, are read and pushed in
 * order while live pushes are held; a login, a lost push, a hint and a restarted worker all end
 * here. The host runs the reading (`pull.ts`); this file decides what may go out.
 */

import { MAX_UNRECEIPTED, MAX_UNRECEIPTED_UNITS } from "@chat/wire/limits.ts";
import type { Delivery } from "./delivery.ts";
import { MAX_RESENT_MS, midAt } from "./hlc.ts";
import type { Refused, SessionMemo } from "./lane.ts";
import { Mailbox, type Turn } from "./mailbox.ts";
import { MAX_FRAMES, OpenFrames } from "./open_frames.ts";
import type { GroupId, Message, Mid, UserId } from "./ports.ts";

/** What a session does to the world; the host implements it. */
export interface Outlet {
  /** Sends a push; `pushNumber` is to be reported back when it is written (v2: 0, it need not). */
  sendPush(session: Session, delivery: Delivery, pushNumber: number): void;
  /** `user` has received `delivery`. */
  received(user: UserId, mid: Mid, delivery: Delivery | undefined): void;
  /** Pending rows have to be read for this session. */
  wantsPull(session: Session): void;
}

/** Live pushes held while pulling; more are dropped, as pending rows bring them anyway. */
const MAX_HELD = 256;
/** Conversations whose last message is remembered; an older one costs a read when it goes on. */
const MAX_FOLLOWED = 512;
/**
 * A message stamped longer ago than this is committed or refused, ms: twice the longest time a store
 * may take to answer, after the earliest that one may be stamped.
 */
export const SETTLED_MS = MAX_RESENT_MS + 30_000;
/** How long a client has to send a chat again that was put off before a later one ends its session, ms. */
const REFUSED_FOR_MS = 10_000;
/** Receipts remembered, so that a row that is still to be deleted is not pushed again. */
const MAX_REMEMBERED = 4_096;

/** One frame of a session and its number. */
export interface Frame {
  readonly seq: number;
  readonly text: string;
}

/** See the module's header. */
export class Session {
  readonly conn: number;
  readonly remote: string;
  readonly mailbox: Mailbox<Frame>;
  /** What the main thread need not replay. */
  readonly frames = new OpenFrames();
  readonly #outlet: Outlet;

  v: 1 | 2 = 1;
  /** 0 while nobody is logged in. */
  user: UserId = 0;
  /** Counts log-ins of this connection. */
  login = 0;
  name = "";
  tokenId = "";
  wantsDelivered = false;
  wantsTyping = false;
  closed = false;
  /** Ids whose coming and going this session is told of. */
  watching: UserId[] = [];

  /** Number of the frame in hand. */
  seq = 0;
  // Collections are made when first used: most sessions are idle, and each costs 200 bytes.
  #sent: Map<number, Mid> | undefined;
  /** After a chat was put off: its cid, which has to come again before any later one. */
  refused: Refused | undefined;

  /** v2: pushed, no receipt yet. */
  #unreceipted: Map<Mid, Delivery> | undefined;
  /** v1: pushed, not yet written; oldest first, with the push's number. */
  #unwritten: { number: number; user: UserId; delivery: Delivery; units: number }[] = [];
  /** Length of the texts of both, UTF-16 units. */
  #units = 0;
  readonly #windowUnits: number;
  #pushNumber = 0;
  #followed: Map<number, Mid> | undefined;
  #newest: Map<GroupId, { from: UserId; mid: Mid }> | undefined;
  #remembered: Set<Mid> | undefined;
  #settledBefore: Mid = "";
  #held: Delivery[] = [];
  #pulling = false;
  /** More was pushed while pulling than is held. */
  #overflowed = false;
  /** A row waits for something held. */
  #keptBack = false;
  /** Too much is unreceipted: nothing goes out until receipts come. */
  #stalled = false;

  /** @param windowUnits Length of the pushes that may lack a receipt: less than a socket may queue. */
  constructor(
    conn: number,
    remote: string,
    outlet: Outlet,
    receive: (frame: Frame) => Turn,
    onError: (error: unknown) => void,
    windowUnits = MAX_UNRECEIPTED_UNITS,
  ) {
    this.#windowUnits = windowUnits;
    this.conn = conn;
    this.remote = remote;
    this.#outlet = outlet;
    this.mailbox = new Mailbox<Frame>(receive, { limit: MAX_FRAMES, onError });
  }

  /** What the main thread needs to rebuild this session. */
  memo(): SessionMemo {
    const { conn, v, user, name, tokenId, wantsDelivered, wantsTyping, refused } = this;
    return { conn, v, user, name, tokenId, wantsDelivered, wantsTyping, refused };
  }

  /** Takes up what an earlier worker had reached with this connection. */
  restore(memo: SessionMemo, lastPush: number, now: number): void {
    this.v = memo.v;
    this.tokenId = memo.tokenId;
    this.wantsDelivered = memo.wantsDelivered;
    this.wantsTyping = memo.wantsTyping;
    this.refused = memo.refused;
    this.#pushNumber = lastPush;
    if (memo.user !== 0) this.begin(memo.user, memo.name, now);
  }

  /** From here on `user` is logged in; pushes are held until the pending rows were read. */
  begin(user: UserId, name: string, now: number): void {
    this.login++;
    this.user = user;
    this.name = name;
    this.#settledBefore = midAt(now - SETTLED_MS);
    this.#pulling = true;
  }

  /** Nobody is logged in any more; the connection may log in again. */
  end(): void {
    this.user = 0;
    this.name = "";
    this.tokenId = "";
    this.#sent = undefined;
    this.refused = undefined;
    this.#unreceipted = undefined;
    this.#units = this.#unwritten.reduce((sum, entry) => sum + entry.units, 0);
    this.#followed = undefined;
    this.#newest = undefined;
    this.#remembered = undefined;
    this.#held = [];
    this.#pulling = false;
    this.#overflowed = false;
    this.#keptBack = false;
    this.#stalled = false;
    // Pushes on their way to a v1 socket stay: when written they count as received.
  }

  /**
   * The chat of frame `seq` was put off (TRY_LATER): later ones wait until it has come again.
   * Outcomes do not come in the order of the frames: the earliest one counts.
   *
   * What was stamped after it was put off with it. Were that still taken for its sender's last
   * message, the chat that comes again would sort after it, and after replies to its own first
   * attempt (G3): the last message that is stored has to be read.
   */
  putOff(cid: string, seq: number, now: number): void {
    this.#sent = undefined;
    if (this.refused !== undefined && this.refused.seq < seq) return;
    this.refused = { cid, seq, until: now + REFUSED_FOR_MS };
  }

  /** Last `mid` this session stamped in a conversation; undefined when it has to be read. */
  lastSent(target: number): Mid | undefined {
    return this.#sent?.get(target);
  }

  /** A message was stamped. */
  stamped(target: number, mid: Mid): void {
    (this.#sent ??= new Map()).set(target, mid);
  }

  /** Frames that came and are not finished. */
  get unfinished(): number {
    return this.mailbox.length + this.frames.held;
  }

  // ── deliveries ─────────────────────────────────────────────────────────────────────────────

  /** True while pending rows are being read for this session. */
  get pulling(): boolean {
    return this.#pulling;
  }

  /** Pushes without a receipt. */
  get outstanding(): number {
    return (this.#unreceipted?.size ?? 0) + this.#unwritten.length;
  }

  /** No push may go out until receipts come. */
  get full(): boolean {
    return this.outstanding >= MAX_UNRECEIPTED || this.#units >= this.#windowUnits;
  }

  /** A live push. */
  push(delivery: Delivery): void {
    // While stalled everything waits as a pending row: a later push must not overtake one.
    if (this.user === 0 || this.closed || this.#stalled) return;
    if (this.#pulling) {
      if (this.#held.length < MAX_HELD) this.#held.push(delivery);
      else this.#overflowed = true; // a later pass brings it
      return;
    }
    switch (this.#position(delivery.message)) {
      case "next":
        this.#sendNext(delivery);
        return;
      case "seen":
        return;
      case "gap":
        this.#held.push(delivery);
        this.pull();
    }
  }

  /** Goes over to pulling; a no-op while it is, or while receipts are awaited. */
  pull(): void {
    if (this.#pulling || this.user === 0 || this.closed) return;
    this.#pulling = true;
    this.#outlet.wantsPull(this);
  }

  /**
   * A pending row, in `mid` order.
   *
   * @param patient Keeps it back while something that it may answer is held and cannot go: a message
   *   that was pushed and is not committed yet.
   * @returns False when no more may go out until receipts come.
   */
  pushRow(delivery: Delivery, patient = false): boolean {
    const { mid } = delivery.message;
    if (this.#remembered?.has(mid)) {
      // Its receipt may have been lost with another node's store: without one the row would stay.
      this.#outlet.received(this.user, mid, undefined);
      return true;
    }
    if (this.#has(mid)) return true;
    if (this.#held.length > 0 && !this.#pushHeldBefore(delivery.message) && patient) {
      this.#keptBack = true;
      return true;
    }
    if (this.full) {
      this.#stalled = true;
      return false;
    }
    delivery.pulled = true;
    this.#follow(delivery.message);
    this.#send(delivery);
    this.#dropHeld(delivery.message);
    return true;
  }

  /** Pushes what is held of a row's group and sorts before it; false when some of it cannot go yet. */
  #pushHeldBefore(row: Message): boolean {
    if (row.groupid === 0) return true; // all of one sender, whose order rows have
    const before = this.#held.filter(({ message: m }) =>
      m.groupid === row.groupid && m.mid < row.mid && !this.#has(m.mid)
    ).sort((a, b) => a.message.mid < b.message.mid ? -1 : 1);
    for (const delivery of before) {
      if (this.full) return true; // so is the row
      if (this.#position(delivery.message) !== "next") return false;
      this.#sendNext(delivery);
    }
    return true;
  }

  /** A row has come: earlier attempts of its sender need not be waited for. */
  #dropHeld({ from, cid }: Message): void {
    if (this.#held.length === 0) return;
    this.#held = this.#held.filter(({ message: m }) => m.from !== from || m.cid !== cid);
  }

  /** A pending row that went out in LOGIN_ACK instead of a push (v1). */
  handOver(delivery: Delivery): void {
    delivery.pulled = true;
    this.#follow(delivery.message);
    this.#awaitWriting(delivery, this.#pushNumber + 1);
  }

  /** The number of the frame that carries what was handed over. */
  handOverNumber(): number {
    return this.#unwritten.length === 0 ? 0 : this.nextPushNumber();
  }

  /** A number for a frame whose writing is to be reported: greater than all before. */
  nextPushNumber(): number {
    return ++this.#pushNumber;
  }

  /**
   * All pending rows were read: pushes what was held meanwhile, as far as it follows.
   * @returns False when something held lacks its predecessor or a row was kept back: read again.
   */
  endPass(): boolean {
    const held = this.#held;
    const complete = !this.#overflowed && !this.#keptBack;
    this.#held = [];
    this.#overflowed = false;
    this.#keptBack = false;
    for (const delivery of held) {
      if (this.#stalled) break;
      const { message } = delivery;
      const position = this.#position(message);
      if (position === "seen" || this.#has(message.mid)) continue;
      // Whoever sent it: what came after a message that is held may answer it.
      if (position === "gap" || this.#held.length > 0) this.#held.push(delivery);
      else this.#sendNext(delivery);
    }
    if (this.#stalled) this.stopPulling();
    else if (this.#held.length > 0 || !complete) return false;
    this.#pulling = false;
    return true;
  }

  /**
   * Ends pulling without what is held: receipts are awaited (they start a new pull), or a held
   * push's predecessor never came (what is stored comes with a hint or the next check).
   */
  stopPulling(): void {
    this.#held = [];
    this.#overflowed = false;
    this.#keptBack = false;
    this.#pulling = false;
  }

  /** RECV_ACK of a v2 client. */
  receipt(mid: Mid): void {
    const delivery = this.#unreceipted?.get(mid);
    if (delivery !== undefined) {
      this.#unreceipted?.delete(mid);
      this.#units -= delivery.text(2).length;
    }
    this.#received(mid, delivery);
    this.#resume();
  }

  /** The socket has taken every push up to `number`: for v1 that is a receipt. */
  written(number: number): void {
    let count = 0;
    for (const entry of this.#unwritten) {
      if (entry.number > number) break;
      count++;
      this.#units -= entry.units;
      const { mid } = entry.delivery.message;
      if (entry.user === this.user) this.#remember(mid, entry.delivery);
      this.#outlet.received(entry.user, mid, entry.delivery);
    }
    if (count > 0) this.#unwritten = this.#unwritten.slice(count);
    this.#resume();
  }

  /** Half of what may lack a receipt has one: pushes go on. */
  #resume(): void {
    if (!this.#stalled || this.outstanding > MAX_UNRECEIPTED / 2) return;
    if (this.#units > this.#windowUnits / 2) return;
    this.#stalled = false;
    this.pull();
  }

  #received(mid: Mid, delivery: Delivery | undefined): void {
    this.#remember(mid, delivery);
    this.#outlet.received(this.user, mid, delivery);
  }

  /** A row can outlive its receipt where another node deletes it, or in a page being read. */
  #remember(mid: Mid, delivery: Delivery | undefined): void {
    const { origin = 1, pulled = true } = delivery ?? {};
    if (origin === 0 && !pulled && !this.#pulling) return;
    const remembered = this.#remembered ??= new Set();
    remembered.add(mid);
    if (remembered.size > MAX_REMEMBERED) {
      for (const oldest of remembered) {
        remembered.delete(oldest);
        break;
      }
    }
  }

  #has(mid: Mid): boolean {
    return this.#unreceipted?.has(mid) === true || this.#remembered?.has(mid) === true ||
      (this.#unwritten.length > 0 && this.#unwritten.some((e) => e.delivery.message.mid === mid));
  }

  /** A message that is not sent is not followed: what comes after it must wait for it. */
  #sendNext(delivery: Delivery): void {
    if (this.full) {
      this.#stalled = true;
      return;
    }
    this.#follow(delivery.message);
    this.#send(delivery);
  }

  #send(delivery: Delivery): void {
    if (this.v === 2) {
      (this.#unreceipted ??= new Map()).set(delivery.message.mid, delivery);
      this.#units += delivery.text(2).length;
      this.#outlet.sendPush(this, delivery, 0);
    } else {
      const number = this.nextPushNumber();
      this.#awaitWriting(delivery, number);
      this.#outlet.sendPush(this, delivery, number);
    }
  }

  #awaitWriting(delivery: Delivery, number: number): void {
    const units = delivery.text(1).length;
    this.#unwritten.push({ number, user: this.user, delivery, units });
    this.#units += units;
  }

  /** Where a push stands in its sender's messages to its conversation. */
  #position(m: Message): "next" | "seen" | "gap" {
    const last = this.#followed?.get(conversationKey(m));
    // Sent again it may have an earlier id than its lost first attempt: pending rows tell.
    if (last !== undefined && m.mid <= last) return this.#has(m.mid) ? "seen" : "gap";
    if (m.prev !== last && !this.#isSettled(m.prev, undefined)) return "gap";
    const { after } = m;
    if (after === undefined || after.from === this.user) return "next";
    const answered = this.#followed?.get(groupKey(m.groupid, after.from));
    return this.#isSettled(after.mid, answered) ? "next" : "gap";
  }

  /**
   * Whether nothing that this session is to see of a sender up to `mid` can still come: it was
   * pushed, or is so old that the pending rows had it. Otherwise it may be on its way.
   */
  #isSettled(mid: Mid, last: Mid | undefined): boolean {
    if (last !== undefined && mid <= last) return true;
    return mid < this.#settledBefore || this.#has(mid);
  }

  /** The newest message of a group that this session was pushed, for what is said after it. */
  newestIn(groupid: GroupId): { from: UserId; mid: Mid } | undefined {
    return this.#newest?.get(groupid);
  }

  #follow(m: Message): void {
    const key = conversationKey(m);
    const followed = this.#followed ??= new Map();
    if (followed.size >= MAX_FOLLOWED && !followed.has(key)) {
      for (const oldest of followed.keys()) {
        followed.delete(oldest);
        break;
      }
    }
    const last = followed.get(key);
    if (last === undefined || m.mid > last) followed.set(key, m.mid);
    if (m.groupid === 0 || m.from === this.user) return;
    const newest = this.#newest ??= new Map();
    const known = newest.get(m.groupid);
    if (known === undefined || known.mid < m.mid) {
      newest.set(m.groupid, { from: m.from, mid: m.mid });
    }
  }
}

/**
 * One number for (sender, conversation) as a recipient sees it. Should two ever share a number
 * (groups beyond 2²¹), a gap is seen where none is: one read more, nothing else.
 */
function conversationKey(m: Message): number {
  return m.groupid === 0 ? m.from : groupKey(m.groupid, m.from);
}

function groupKey(groupid: GroupId, from: UserId): number {
  return -(groupid * 0x1_0000_0000 + from);
}

/** One number for a conversation as its sender sees it. */
export function targetKey(toid: UserId, groupid: GroupId): number {
  return groupid === 0 ? toid : -groupid;
}
