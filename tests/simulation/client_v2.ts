/**
 * A simulated v2 client: the client library's outbox, sender, dedupe and receipts over a simulated
 * connection. It keeps the rules of docs/protocol.md: what is not acknowledged is sent again under
 * the same cid and in order, what is received is confirmed, repeats are dropped, a lost connection
 * is followed by RESUME at whichever node takes it.
 */

import { type LoginAck, MSGID, ServerMessage } from "@chat/wire/messages.ts";
import type { GroupId, UserId } from "../../actors/ports.ts";
import type { Clock } from "../../client/library/clock.ts";
import { Dedupe } from "../../client/library/inbox.ts";
import { Outbox } from "../../client/library/outbox.ts";
import { Receipts } from "../../client/library/receipts.ts";
import { Sender } from "../../client/library/sender.ts";
import type { Chat, Target } from "./ledger.ts";
import type { Wire, WireClient } from "./network.ts";
import { HEARTBEAT_SECONDS } from "./node.ts";
import type { ClientWorld } from "./world.ts";

/** Longest wait for an answer to LOGIN or RESUME, ms. */
const LOGIN_MS = 5_000;
/** Unacknowledged this long: the connection is of no use, ms. */
const ACK_MS = 8_000;
/** First reconnect waits up to this, ms; doubles up to the cap. */
const RECONNECT_MS = 200;
const RECONNECT_CAP_MS = 3_000;
/** Replies to replies to … end after so many. */
const MAX_DEPTH = 3;

/** What schedules vary. */
export interface ClientSettings {
  /** Chats on the wire without an acknowledgement. */
  readonly window: number;
  /** How long the application takes to take a message, ms: its receipt waits for that. */
  readonly handlingMs: number;
  /** Probability of a reply to a message. */
  readonly replyRate: number;
  /** Repeats are handed over: a defect that the checks must notice. */
  readonly noDedupe: boolean;
  /** A login does not tell what has been seen: another. */
  readonly noSeen: boolean;
}

/** See the module's header. */
export class ClientV2 implements WireClient {
  readonly version = 2;
  readonly id: UserId;
  alive = true;
  pausedUntil = 0;
  wire: Wire | undefined;
  /** Logged in on {@linkcode wire}. */
  online = false;
  /** Wants to be connected. */
  wanted = false;
  /** When it was last answered with LOGIN_ACK, virtual ms. */
  onlineSince = 0;
  /** What it believes of others. */
  readonly presence = new Map<UserId, boolean>();
  readonly #world: ClientWorld;
  readonly #settings: ClientSettings;
  readonly #clock: Clock;
  readonly #outbox: Outbox;
  readonly #sender: Sender;
  readonly #dedupe = new Dedupe(10_000);
  readonly #receipts: Receipts;
  #token: string | undefined;
  #req = 0;
  #loginReq = 0;
  #attempts = 0;
  #retryAfterMs = 0;
  #heardAt = 0;
  #waiting = false;
  /** The connection whose server has to give a sign of life. */
  #probed: Wire | undefined;
  #rest = "";
  #count = 0;
  /** The server's clock less ours, ms, when it was last told. */
  #aheadMs: number | undefined;
  /** The greatest `mid` that has come. */
  #seen = "";

  constructor(id: UserId, world: ClientWorld, settings: ClientSettings) {
    this.id = id;
    this.#world = world;
    this.#settings = settings;
    const { scheduler, random } = world;
    this.#clock = {
      ...scheduler.clock(this, { ms: 0 }, () => 0),
      random: () => random.next(),
    };
    const { window } = settings;
    this.#outbox = new Outbox({ maxEntries: 100_000, maxUnits: 1e9, window });
    this.#sender = new Sender(this.#outbox, this.#clock, ACK_MS, {
      send: (text) => this.#send(text),
      onSlow: (withinMs) => this.#probe(withinMs),
      onStalled: () => this.#drop("no acknowledgement in time"),
      moment: (now) =>
        this.#aheadMs === undefined ? undefined : { at: now + this.#aheadMs, seen: this.#seen },
      onFirst: () => {},
      onSent: (chat, ack) => {
        this.#sawMid(ack.mid);
        world.ledger.acked(chat.msg, ack.mid);
        this.#note(`has the ack of ${chat.msg}`);
      },
      onFailed: (chat, error) => {
        const entry = world.ledger.chats.get(chat.msg);
        if (entry !== undefined) entry.refusedErrno = error.errno;
        this.#note(`is refused ${chat.msg}: ${error.errno}`);
      },
    });
    this.#receipts = new Receipts(this.#clock, (ack) => this.#send(JSON.stringify(ack)));
  }

  /** Chats without an acknowledgement. */
  get unacknowledged(): number {
    return this.#outbox.size;
  }

  /** Connects, and again whenever the connection is lost. */
  goOnline(): void {
    this.wanted = true;
    if (this.wire === undefined) this.#connectSoon();
  }

  /** Closes the connection and stays away. */
  goOffline(): void {
    this.wanted = false;
    this.#drop("goes offline");
  }

  /** The connection is found dead by other means, while the node may know nothing. */
  onClosed(wire: Wire): void {
    if (wire !== this.wire) return;
    this.#note("has lost its connection");
    this.#lost();
  }

  /** Takes a chat on; it is sent as soon as it may. */
  say(target: Target, cause?: Chat["cause"]): void {
    const n = ++this.#count;
    const key = `${this.id}:${n}`;
    const { now } = this.#world.scheduler;
    const cid = `c${n}`;
    this.#world.ledger.wrote({
      ...target,
      key,
      from: this.id,
      n,
      cid,
      at: now,
      cause,
      depth: cause === undefined ? 0 : this.#depthOf(cause.key) + 1,
      ackedMid: undefined,
      refusedErrno: undefined,
    });
    this.#outbox.add({ ...target, cid, from: this.id, msg: key, at: this.#clock.now() });
    this.#sender.pump();
  }

  /** Asks to join a group. */
  join(groupid: GroupId): void {
    if (this.online) this.#request({ msgid: MSGID.JOIN_GROUP, groupid });
  }

  // ── the connection ──────────────────────────────────────────────────────────────────────────

  #connectSoon(): void {
    if (this.#waiting || !this.wanted) return;
    this.#waiting = true;
    const { random } = this.#world;
    const window = Math.min(RECONNECT_CAP_MS, RECONNECT_MS * 2 ** this.#attempts++);
    const delay = 1 + this.#retryAfterMs + random.between(0, window);
    this.#retryAfterMs = 0;
    this.#clock.after(delay, () => {
      this.#waiting = false;
      if (this.wanted && this.wire === undefined) this.#connect();
    });
  }

  #connect(): void {
    this.#waiting = true;
    this.#world.connect(this, (wire) => {
      this.#waiting = false;
      if (wire === undefined || !this.wanted) {
        wire?.close();
        return this.#connectSoon();
      }
      this.wire = wire;
      this.#rest = "";
      this.#heardAt = this.#world.scheduler.now;
      this.#logIn();
      this.#watch(wire);
    });
  }

  #logIn(): void {
    const { wire } = this;
    const common = { v: 2, ...(this.#tellsSeen && { seen: this.#seen }) };
    this.#loginReq = this.#request(
      this.#token === undefined
        ? { msgid: MSGID.LOGIN, ...common, id: this.id, password: "pw" }
        : { msgid: MSGID.RESUME, ...common, token: this.#token },
    );
    this.#clock.after(LOGIN_MS, () => {
      if (this.wire === wire && !this.online) this.#drop("no answer to its login");
    });
  }

  /** PINGs a silent server, gives up a dead one. */
  #watch(wire: Wire): void {
    const tickMs = HEARTBEAT_SECONDS * 500;
    this.#clock.after(tickMs, () => {
      if (this.wire !== wire) return;
      const silent = this.#world.scheduler.now - this.#heardAt;
      if (silent > 2.9 * tickMs) return this.#drop("the server has fallen silent");
      if (silent > 0.9 * tickMs) this.#request({ msgid: MSGID.PING });
      this.#watch(wire);
    });
  }

  /** Asks the server for a sign of life, one question at a time. */
  #probe(withinMs: number): void {
    const { wire } = this;
    if (wire === undefined || this.#probed === wire) return;
    this.#probed = wire;
    const askedAt = this.#world.scheduler.now;
    this.#request({ msgid: MSGID.PING });
    this.#clock.after(withinMs, () => {
      if (this.#probed === wire) this.#probed = undefined;
      if (this.wire === wire && this.#heardAt < askedAt) this.#drop("no sign of life");
    });
  }

  #request(message: object): number {
    const req = ++this.#req;
    this.#send(JSON.stringify({ ...message, req }));
    return req;
  }

  #send(text: string): boolean {
    const { wire } = this;
    if (wire === undefined || !wire.open) return false;
    wire.send(encoder.encode(text));
    return true;
  }

  #drop(why: string): void {
    const { wire } = this;
    if (wire === undefined) return;
    this.#note(`drops its connection: ${why}`);
    wire.close();
    this.#lost();
  }

  #lost(): void {
    this.wire = undefined;
    this.online = false;
    this.#sender.stop();
    this.#receipts.clear();
    this.#connectSoon();
  }

  // ── what comes ──────────────────────────────────────────────────────────────────────────────

  onBytes(wire: Wire, bytes: Uint8Array): void {
    if (wire !== this.wire) return;
    this.#heardAt = this.#world.scheduler.now;
    const lines = (this.#rest + decoder.decode(bytes)).split("\n"); // texts here are ASCII
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (this.wire !== wire) return;
      const parsed = ServerMessage.safeParse(JSON.parse(line));
      if (parsed.success) this.#receive(parsed.data);
      else this.#world.ledger.defects.push(`client ${this.id} cannot read ${line}`);
    }
  }

  #receive(m: ServerMessage): void {
    switch (m.msgid) {
      case MSGID.LOGIN_ACK:
        if (m.req === this.#loginReq) this.#loginAnswered(m);
        return;
      case MSGID.ONE_CHAT:
      case MSGID.GROUP_CHAT:
        return this.#onChat(m.mid, m.id, m.cid, m.msg, {
          toid: "toid" in m ? m.id : 0,
          groupid: "groupid" in m ? m.groupid ?? 0 : 0,
        });
      case MSGID.CHAT_ACK:
        return this.#sender.acknowledged(m);
      case MSGID.ERROR:
        if (m.errno === 3) return this.#drop("is not logged in");
        this.#note(`is told ${m.errno} for ${m.cid} (sending ${m.req}): ${m.errmsg}`);
        if (m.cid !== undefined) this.#sender.refused(m, m.cid);
        return;
      case MSGID.PING:
        return void this.#send(JSON.stringify({ msgid: MSGID.PONG, req: m.req }));
      case MSGID.PRESENCE:
        this.#note(`is told that ${m.id} is ${m.state}`);
        this.presence.set(m.id, m.state === "online");
        return;
      case MSGID.OK:
        this.#note(`is told OK: ${JSON.stringify(m.group?.users)}`);
        for (const user of m.group?.users ?? []) this.#sees(user);
        return;
      case MSGID.BYE:
        this.#note(`is told to go: ${m.errmsg}`);
        this.#retryAfterMs = m.retryAfterMs ?? 0;
        this.#world.saidBye(this, m.errno);
        return;
      default:
        return;
    }
  }

  #loginAnswered(ack: LoginAck): void {
    if (ack.errno !== 0) {
      this.#note(`cannot log in: ${ack.errno} ${ack.errmsg}`);
      if (ack.errno === 1) {
        if (this.#token === undefined) {
          this.#world.ledger.defects.push(`client ${this.id}: its password is refused`);
        }
        this.#token = undefined;
      }
      this.#retryAfterMs = ack.retryAfterMs ?? 0;
      return this.#drop("login refused");
    }
    this.#note(`is online at ${ack.node}`);
    this.online = true;
    this.onlineSince = this.#world.scheduler.now;
    this.#attempts = 0;
    this.#token = ack.token;
    this.#aheadMs = ack.now === undefined ? undefined : ack.now - this.#clock.now();
    this.presence.clear();
    for (const friend of ack.friends ?? []) this.#sees(friend);
    for (const group of ack.groups ?? []) for (const user of group.users) this.#sees(user);
    this.#receipts.clear();
    this.#world.loggedIn(this);
    this.#sender.start(this.id);
  }

  #sees(person: { readonly id: UserId; readonly state: string }): void {
    if (person.id !== this.id) this.presence.set(person.id, person.state === "online");
  }

  #onChat(mid: string, from: UserId, cid: string, key: string, back: Target): void {
    const { ledger, random, scheduler } = this.#world;
    this.#world.pushed(this, mid);
    this.#sawMid(mid);
    const knownMid = this.#dedupe.seen(mid);
    const knownCid = this.#dedupe.seen(`${from}:${cid}`);
    const repeat = (knownMid || knownCid) && !this.#settings.noDedupe;
    this.#note(`${repeat ? "recognises" : "sees"} ${key} (${mid})`);
    const { wire } = this;
    if (!repeat) ledger.saw(this.id, { key, mid, at: scheduler.now });
    this.#clock.after(this.#settings.handlingMs, () => {
      if (this.wire === wire) this.#receipts.add(mid);
    });
    if (repeat || this.#depthOf(key) >= MAX_DEPTH) return;
    if (!random.chance(this.#settings.replyRate)) return;
    this.#clock.after(random.between(0, 300), () => this.say(back, { key, mid }));
  }

  get #tellsSeen(): boolean {
    return this.#seen !== "" && !this.#settings.noSeen;
  }

  #sawMid(mid: string): void {
    if (mid > this.#seen) this.#seen = mid;
  }

  #depthOf(key: string): number {
    return this.#world.ledger.chats.get(key)?.depth ?? 0;
  }

  #note(text: string): void {
    const { trace } = this.#world;
    if (trace.on) trace.note(`client ${this.id}`, text);
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
