/**
 * One connection's session: who is logged in, and which pushes may go out now. Knows no sockets and
 * no storage: it speaks through its {@linkcode Outlet}.
 *
 * Delivery has two modes. Live: a push goes out as it comes, if it follows the sender's previous
 * message in its conversation (`prev`). Pulling: pending rows, the truth, are read and pushed in
 * order while live pushes are held; a login, a lost push, a hint and a restarted worker all end
 * here. The host runs the reading (`pull.ts`); this file decides what may go out: it asks
 * `push_order.ts` what follows, and `push_window.ts` whether there is room.
 */

import { MAX_FRAMES } from "@chat/wire/limits.ts";
import type { Delivery } from "./delivery.ts";
import type { SessionMemo } from "../runtime/lane.ts";
import type { FairTurns } from "../runtime/fair_turns.ts";
import { Mailbox, type Turn } from "../runtime/mailbox.ts";
import { OpenFrames } from "./open_frames.ts";
import type { GroupId, Message, Mid, UserId } from "../ports.ts";
import { PushOrder } from "./push_order.ts";
import { PushWindow, type ReceiptOutlet } from "./push_window.ts";
import { SentChats } from "./sent_chats.ts";

/** What a session does to the world; the host implements it. */
export interface Outlet extends ReceiptOutlet {
  /** Sends a push; `pushNumber` is to be reported back when it is written (v2: 0, it need not). */
  sendPush(session: Session, delivery: Delivery, pushNumber: number): void;
  /** Pending rows have to be read for this session. */
  wantsPull(session: Session): void;
}

/** Live pushes held while pulling; more are dropped, as pending rows bring them anyway. */
const MAX_HELD = 256;

/** One frame of a session and its number. */
export interface Frame {
  readonly seq: number;
  readonly text: string;
}

/** TYPING goes out at most once in so many ms to one target; clients repeat it every few seconds. */
const TYPING_MS = 1_000;
/** Targets whose last TYPING is remembered; nobody types to more within a second. */
const MAX_TYPING_TARGETS = 64;

/** See the module's header. */
export class Session {
  /** See `Sender` of the store's client. */
  rowsInStore = 0;
  onRoom: (() => void) | undefined;
  readonly conn: number;
  readonly remote: string;
  readonly mailbox: Mailbox<Frame>;
  /** What the main thread need not replay. */
  readonly frames = new OpenFrames();
  readonly sent = new SentChats();
  readonly #outlet: Outlet;

  v: 1 | 2 = 1;
  /** 0 while nobody is logged in. */
  user: UserId = 0;
  /** Counts log-ins of this connection. */
  login = 0;
  name = "";
  tokenId = "";
  /** What the client calls itself; "" when it does not say. */
  device = "";
  wantsDelivered = false;
  wantsTyping = false;
  closed = false;
  /** Ids whose coming and going this session is told of. */
  watching: UserId[] = [];

  /** Number of the frame in hand. */
  seq = 0;
  /** Number of the frame that ended the last login: it comes again if a worker dies before its answer. */
  leftBy: number | undefined;
  readonly #window: PushWindow;
  readonly #order: PushOrder;
  #held: Delivery[] = [];
  #pulling = false;
  /** More was pushed while pulling than is held. */
  #overflowed = false;
  /** A row waits for something held. */
  #keptBack = false;
  /** Too much is unreceipted: nothing goes out until receipts come. */
  #stalled = false;

  /** Target of TYPING (as `targetKey`) ⇒ when it was last passed on, ms. */
  readonly #typed = new Map<number, number>();

  /** @param windowUnits Length of the pushes that may lack a receipt: less than a socket may queue. */
  constructor(
    conn: number,
    remote: string,
    outlet: Outlet,
    receive: (frame: Frame) => Turn,
    onError: (error: unknown) => void,
    windowUnits?: number,
    turns?: FairTurns,
  ) {
    this.conn = conn;
    this.remote = remote;
    this.#outlet = outlet;
    this.#window = new PushWindow(outlet, windowUnits);
    this.#order = new PushOrder(this.#window);
    this.mailbox = new Mailbox<Frame>(receive, { limit: MAX_FRAMES, onError, turns });
  }

  /**
   * Whether TYPING to this target goes out at `nowMs`: one a second to each, so that its fan-out
   * costs others nothing to speak of. The rest is dropped.
   */
  mayType(target: number, nowMs: number): boolean {
    const before = this.#typed.get(target);
    if (before !== undefined && Math.abs(nowMs - before) < TYPING_MS) return false;
    if (before === undefined && this.#typed.size >= MAX_TYPING_TARGETS) {
      for (const [key, at] of this.#typed) {
        if (Math.abs(nowMs - at) >= TYPING_MS) this.#typed.delete(key);
      }
      if (this.#typed.size >= MAX_TYPING_TARGETS) return false;
    }
    this.#typed.set(target, nowMs);
    return true;
  }

  /** What the main thread needs to rebuild this session. */
  memo(): SessionMemo {
    const { conn, v, user, name, tokenId, device, wantsDelivered, wantsTyping, leftBy } = this;
    const { refused } = this.sent;
    return { conn, v, user, name, tokenId, device, wantsDelivered, wantsTyping, refused, leftBy };
  }

  /** Takes up what an earlier worker had reached with this connection. */
  restore(memo: SessionMemo, lastPush: number, now: number): void {
    this.v = memo.v;
    this.tokenId = memo.tokenId;
    this.device = memo.device;
    this.wantsDelivered = memo.wantsDelivered;
    this.wantsTyping = memo.wantsTyping;
    this.leftBy = memo.leftBy;
    this.sent.refused = memo.refused;
    this.#window.passNumber(lastPush);
    if (memo.user !== 0) this.begin(memo.user, memo.name, now);
  }

  /** From here on `user` is logged in; pushes are held until the pending rows were read. */
  begin(user: UserId, name: string, now: number): void {
    this.login++;
    this.user = user;
    this.name = name;
    this.#order.begin(user, now);
    this.#pulling = true;
  }

  /** Nobody is logged in any more; the connection may log in again. */
  end(): void {
    this.user = 0;
    this.name = "";
    this.tokenId = "";
    this.device = "";
    this.sent.end();
    this.#order.end();
    this.#window.end();
    this.stopPulling();
    this.#stalled = false;
  }

  /** Frames that came and are not finished. */
  get unfinished(): number {
    return this.mailbox.length + this.frames.held;
  }

  /** A hint was followed, and no receipt has come since. */
  #isPatient = false;

  // ── deliveries ─────────────────────────────────────────────────────────────────────────────

  /** True while pending rows are being read for this session. */
  get pulling(): boolean {
    return this.#pulling;
  }

  /** No push may go out until receipts come. */
  get full(): boolean {
    return this.#window.isFull;
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
    switch (this.#order.position(delivery.message)) {
      case "next":
        this.#send(delivery);
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
   * A message for this user lacks a receipt: its push may have been lost. Of a client that has pushes
   * and confirms none of them that says nothing, and reading what waits for it, again and again, would
   * cost others: it is read once until a receipt comes.
   */
  hinted(): void {
    if (this.#stalled || (this.#window.size > 0 && this.#isPatient)) return;
    this.#isPatient = true;
    this.pull();
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
    if (this.#window.isRemembered(mid)) {
      // Its receipt may have been lost with another node's store: without one the row would stay.
      this.#outlet.received(this.user, mid, undefined);
      return true;
    }
    if (this.#window.has(mid)) return true;
    if (this.#held.length > 0 && !this.#pushHeldBefore(delivery.message) && patient) {
      this.#keptBack = true;
      return true;
    }
    delivery.pulled = true;
    if (!this.#send(delivery)) return false;
    this.#dropHeld(delivery.message);
    return true;
  }

  /** Pushes what is held of a row's group and sorts before it; false when some of it cannot go yet. */
  #pushHeldBefore(row: Message): boolean {
    if (row.groupid === 0) return true; // all of one sender, whose order rows have
    const before = this.#held.filter(({ message: m }) =>
      m.groupid === row.groupid && m.mid < row.mid && !this.#window.has(m.mid)
    ).sort((a, b) => a.message.mid < b.message.mid ? -1 : 1);
    for (const delivery of before) {
      if (this.full) return true; // so is the row
      if (this.#order.position(delivery.message) !== "next") return false;
      this.#send(delivery);
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
    this.#order.follow(delivery.message);
    this.#window.handOver(delivery, this.user);
  }

  /** The number of the frame that carries what was handed over; 0 when nothing was. */
  handOverNumber(): number {
    return this.#window.handOverNumber();
  }

  /** A number for a frame whose writing is to be reported: greater than all before. */
  nextPushNumber(): number {
    return this.#window.nextNumber();
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
      const position = this.#order.position(message);
      if (position === "seen" || this.#window.has(message.mid)) continue;
      // Whoever sent it: what came after a message that is held may answer it.
      if (position === "gap" || this.#held.length > 0) this.#held.push(delivery);
      else this.#send(delivery);
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
    this.#isPatient = false;
    this.#window.receipt(this.user, mid, this.#pulling);
    this.#resume();
  }

  /** The socket has taken every push up to `number`: for v1 that is a receipt. */
  written(number: number): void {
    this.#isPatient = false;
    this.#window.written(this.user, number, this.#pulling);
    this.#resume();
  }

  #resume(): void {
    if (!this.#stalled || !this.#window.isHalfEmpty) return;
    this.#stalled = false;
    this.pull();
  }

  /**
   * Sends a push whose turn it is. Without room for it the session stalls: what is not sent is not
   * followed, so that what comes after it waits for it.
   */
  #send(delivery: Delivery): boolean {
    if (this.#window.isFull) {
      this.#stalled = true;
      return false;
    }
    this.#order.follow(delivery.message);
    let number = 0;
    if (this.v === 2) this.#window.awaitReceipt(delivery);
    else number = this.#window.awaitWriting(delivery, this.user);
    this.#outlet.sendPush(this, delivery, number);
    return true;
  }

  /** The newest message of a group that this session was pushed, for what is said after it. */
  newestIn(groupid: GroupId): { from: UserId; mid: Mid } | undefined {
    return this.#order.newestIn(groupid);
  }
}
