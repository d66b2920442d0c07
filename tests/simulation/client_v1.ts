/**
 * A simulated client of the classic protocol: no receipts, no ids of messages, no PING. It logs in
 * again after a loss, and ends its objects with a NUL, as classic clients do.
 */

import { MSGID } from "@chat/wire/messages.ts";
import { z } from "zod";
import type { UserId } from "../../actors/ports.ts";
import type { Target } from "./ledger.ts";
import type { Wire, WireClient } from "./network.ts";
import type { ClientWorld } from "./world.ts";

const LOGIN_MS = 5_000;
const RECONNECT_MS = 1_500;

const Incoming = z.looseObject({
  msgid: z.number(),
  errno: z.number().optional(),
  id: z.number().optional(),
  msg: z.string().optional(),
  offlinemsg: z.array(z.string()).optional(),
});
type Incoming = z.infer<typeof Incoming>;

/** See the module's header. */
export class ClientV1 implements WireClient {
  readonly version = 1;
  readonly id: UserId;
  alive = true;
  pausedUntil = 0;
  wire: Wire | undefined;
  online = false;
  wanted = false;
  onlineSince = 0;
  readonly unacknowledged = 0;
  /** Texts that the server's socket has taken for this user: all that v1 promises. */
  readonly taken = new Set<string>();
  readonly #world: ClientWorld;
  #waiting = false;
  #rest = "";
  #count = 0;

  constructor(id: UserId, world: ClientWorld) {
    this.id = id;
    this.#world = world;
  }

  goOnline(): void {
    this.wanted = true;
    if (this.wire === undefined) this.#connectSoon();
  }

  goOffline(): void {
    this.wanted = false;
    this.#drop("goes offline");
  }

  onClosed(wire: Wire): void {
    if (wire !== this.wire) return;
    this.#note("has lost its connection");
    this.#lost();
  }

  /** Sends a chat if it can; v1 keeps nothing for later. */
  say(target: Target): void {
    if (!this.online || this.wire === undefined) return;
    const n = ++this.#count;
    const key = `${this.id}:${n}`;
    this.#world.ledger.wrote({
      ...target,
      key,
      from: this.id,
      n,
      cid: "",
      at: this.#world.scheduler.now,
      cause: undefined,
      depth: 0,
      ackedMid: undefined,
      refusedErrno: undefined,
    });
    const head = { id: this.id, name: `user${this.id}`, msg: key, time: "2024-01-01 00:00:00" };
    this.#send(
      target.groupid === 0
        ? { msgid: MSGID.ONE_CHAT, ...head, to: target.toid }
        : { msgid: MSGID.GROUP_CHAT, ...head, groupid: target.groupid },
    );
  }

  #connectSoon(): void {
    if (this.#waiting || !this.wanted) return;
    this.#waiting = true;
    const { scheduler, random } = this.#world;
    scheduler.at(random.between(1, RECONNECT_MS), this, "timer", () => {
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
      let rest = "";
      wire.onTaken = (bytes) => rest = this.#onTaken(rest + decoder.decode(bytes));
      this.#send({ msgid: MSGID.LOGIN, id: this.id, password: "pw" });
      this.#world.scheduler.at(LOGIN_MS, this, "timer", () => {
        if (this.wire === wire && !this.online) this.#drop("no answer to its login");
      });
    });
  }

  #send(message: object): void {
    this.wire?.send(encoder.encode(JSON.stringify(message) + "\0"));
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
    this.#connectSoon();
  }

  /** @returns What is left of an object that is not complete. */
  #onTaken(text: string): string {
    const lines = text.split("\n");
    const rest = lines.pop() ?? "";
    if (lines.length > 1) this.#defect("two objects in one write");
    for (const line of lines) {
      for (const key of textsOf(this.#parse(line))) this.taken.add(key);
    }
    return rest;
  }

  onBytes(wire: Wire, bytes: Uint8Array): void {
    if (wire !== this.wire) return;
    const lines = (this.#rest + decoder.decode(bytes)).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (this.wire === wire) this.#receive(this.#parse(line));
    }
  }

  #receive(m: Incoming): void {
    if (m.msgid === MSGID.PING) this.#defect("a PING to a v1 client");
    if (m.msgid === MSGID.LOGIN_ACK) {
      if (m.errno !== 0) {
        this.#note(`cannot log in: ${m.errno}`);
        return this.#drop("login refused");
      }
      this.#note("is online");
      this.online = true;
      this.onlineSince = this.#world.scheduler.now;
      this.#world.loggedIn(this);
    }
    if (m.msgid === MSGID.BYE) this.#world.saidBye(this, m.errno ?? -1);
    for (const key of textsOf(m)) {
      this.#note(`sees ${key}`);
      this.#world.ledger.saw(this.id, { key, mid: "", at: this.#world.scheduler.now });
    }
  }

  #parse(line: string): Incoming {
    return Incoming.parse(JSON.parse(line));
  }

  #defect(text: string): void {
    this.#world.ledger.defects.push(`client ${this.id} (v1): ${text}`);
  }

  #note(text: string): void {
    const { trace } = this.#world;
    if (trace.on) trace.note(`client ${this.id} (v1)`, text);
  }
}

/** Texts of the chats in an object: one, or those of an `offlinemsg`. */
function textsOf(m: Incoming): string[] {
  const offline = (m.offlinemsg ?? []).flatMap((text) => textsOf(Incoming.parse(JSON.parse(text))));
  const isChat = m.msgid === MSGID.ONE_CHAT || m.msgid === MSGID.GROUP_CHAT;
  return isChat && m.msg !== undefined ? [...offline, m.msg] : offline;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
