/**
 * The measured traffic: flows of one sender and its receivers, closed or open loop.
 *
 * A flow's messages are numbered; every receiver's stream is checked for loss, duplicates and
 * order, and in v2 the acks likewise. What the server refuses is not sent again: it is a failure.
 * Invariant: a closed flow has at most `w` messages that some receiver has not got.
 */

import { Flow, NUMBER } from "./flow.ts";
import { Histogram } from "./histogram.ts";
import { type Link, type Loop, type Owner, parseFrame } from "./loop.ts";
import { Receipts } from "./receipts.ts";
import { readNumber, type Scanner } from "./scanner.ts";
import type { Settings } from "./settings.ts";
import { Tracker } from "./tracker.ts";

const ONE_CHAT = 6;
const GROUP_CHAT = 10;
const ERROR = 11;
const CHAT_ACK = 12;
const BYE = 21;
const QUOTE = 0x22;
const DASH = 0x2d;
/** Messages of a flow whose sending time is remembered, by loop. */
const CLOSED_RING = 1 << 13;
const OPEN_RING = 1 << 16;
/** Several messages of one flow go out in one write, up to this size. */
const BURST_BYTES = 64 * 1024;

/** What one measurement found; durations in µs. */
export interface FlowResult {
  readonly perS: number;
  readonly delivery: Histogram;
  readonly ackedPerS: number;
  readonly ack: Histogram;
  /** How late the generator itself was, behind the intended times (open loop). */
  readonly lateness: Histogram;
  readonly expected: number;
  readonly lost: number;
  readonly duplicates: number;
  readonly outOfOrder: number;
  readonly unacked: number;
  readonly errors: number;
  /** Messages without a latency, as their sending time was forgotten: the tail is understated. */
  readonly unmeasured: number;
  /** Deliveries of the slowest, the median and the fastest flow in the measured time. */
  readonly slowestFlow: number;
  readonly medianFlow: number;
  readonly fastestFlow: number;
  readonly note: string;
}

/** Who takes part in a flow, all logged in. */
export interface Party {
  readonly sender: Link;
  readonly senderId: number;
  readonly receivers: readonly Link[];
  /** User or group that is written to. */
  readonly target: number;
}

/** Runs flows over one loop. */
export class Flows implements Owner {
  readonly #flows: Flow[] = [];
  readonly #trackers: Tracker[] = []; // by flow * receivers + member
  readonly #receivers: number;
  readonly #open: boolean;
  readonly #burst = new Uint8Array(BURST_BYTES);
  readonly #receipts = new Receipts();
  #again = 0;
  #measuring = false;
  #stopping = false;
  #openStartMs = 0;
  #opened = 0;
  #acked = 0;
  #delivered = 0;
  #progress = 0;
  #errors = 0;
  #unmeasured = 0;
  #closed = 0;
  #note = "";
  readonly #delivery = new Histogram();
  readonly #ack = new Histogram();
  readonly #lateness = new Histogram();

  constructor(readonly loop: Loop, readonly settings: Settings, parties: readonly Party[]) {
    this.#open = settings.work === "open";
    this.#receivers = parties[0]?.receivers.length ?? 0;
    const pad = "x".repeat(settings.size);
    const ring = this.#open ? OPEN_RING : CLOSED_RING;
    const group = settings.work === "group" || settings.work === "groupoff";
    const msgid = group ? GROUP_CHAT : ONE_CHAT;
    parties.forEach((party, f) => {
      const to = group
        ? `"groupid":${party.target}`
        : settings.v2
        ? `"toid":${party.target}`
        : `"to":${party.target},"toid":${party.target}`;
      const rest = settings.v2
        ? `"cid":"${f}-${NUMBER}","msg":"${NUMBER} ${pad}"`
        : `"time":"2026-01-01 00:00:00","msg":"${NUMBER} ${pad}"`;
      const from = settings.v2 ? "" : `"id":${party.senderId},"name":"bench",`;
      this.#flows.push(new Flow(party.sender, `{"msgid":${msgid},${from}${to},${rest}}`, ring));
      for (const link of [party.sender, ...party.receivers]) link.owner = this;
      party.sender.flow = f;
      party.sender.member = -1;
      party.receivers.forEach((link, member) => {
        link.flow = f;
        link.member = member;
        this.#trackers.push(new Tracker());
      });
    });
  }

  /** Starts the traffic and lets it settle. */
  warm(): void {
    this.#openStartMs = performance.now();
    if (!this.#open) { for (const flow of this.#flows) this.#send(flow, this.settings.w); }
    this.#run(this.settings.warm);
  }

  /** Runs for the measured time. */
  measure(): number {
    for (const flow of this.#flows) flow.delivered = 0;
    this.#delivered = this.#acked = 0;
    this.#measuring = true;
    const start = performance.now();
    this.#run(this.settings.secs);
    this.#measuring = false;
    return (performance.now() - start) / 1000;
  }

  /** Stops sending, waits for what is under way, and counts. */
  finish(elapsedS: number): FlowResult {
    this.#stopping = true;
    const delivered = this.#delivered;
    const acked = this.#acked;
    const limitMs = this.settings.drain * 1000;
    this.loop.until(() => this.#missing() === 0, () => this.#progress, limitMs);
    // What comes twice may come late: a duplicate must have its chance to be seen.
    const graceEnd = performance.now() + 200;
    while (performance.now() < graceEnd) this.loop.turn(20);

    let lost = 0, duplicates = 0, outOfOrder = 0, unacked = 0, sent = 0;
    this.#flows.forEach((flow, f) => {
      sent += flow.sent;
      if (this.settings.v2) unacked += flow.acks.lost(flow.sent);
      for (let m = 0; m < this.#receivers; m++) {
        const tracker = this.#trackers[f * this.#receivers + m];
        lost += tracker?.lost(flow.sent) ?? 0;
        duplicates += tracker?.duplicates ?? 0;
        outOfOrder += tracker?.outOfOrder ?? 0;
      }
    });
    const perFlow = this.#flows.map((flow) => flow.delivered).sort((a, b) => a - b);
    return {
      perS: delivered / elapsedS,
      delivery: this.#delivery,
      ackedPerS: acked / elapsedS,
      ack: this.#ack,
      lateness: this.#lateness,
      expected: sent * this.#receivers,
      lost,
      duplicates,
      outOfOrder,
      unacked,
      errors: this.#errors + this.#closed,
      unmeasured: this.#unmeasured,
      slowestFlow: perFlow[0] ?? 0,
      medianFlow: perFlow[perFlow.length >> 1] ?? 0,
      fastestFlow: perFlow.at(-1) ?? 0,
      note: this.#note,
    };
  }

  #missing(): number {
    let missing = 0;
    this.#flows.forEach((flow, f) => {
      if (this.settings.v2) missing += flow.acks.lost(flow.sent);
      for (let m = 0; m < this.#receivers; m++) {
        missing += this.#trackers[f * this.#receivers + m]?.lost(flow.sent) ?? 0;
      }
    });
    return missing;
  }

  #run(seconds: number): void {
    const end = performance.now() + seconds * 1000;
    for (let now = performance.now(); now < end; now = performance.now()) {
      this.loop.turn(this.#open ? this.#sendDue(now, end) : Math.min(100, end - now));
    }
  }

  /** Sends what is due at a fixed rate; ms until the next is. */
  #sendDue(nowMs: number, endMs: number): number {
    const periodMs = 1000 / this.settings.rate;
    for (;;) {
      const dueMs = this.#openStartMs + this.#opened * periodMs;
      if (dueMs > nowMs) return Math.max(0, Math.min(dueMs, endMs) - performance.now());
      const flow = this.#flows[this.#opened++ % this.#flows.length];
      if (flow === undefined) return 0;
      flow.count(dueMs, this.#receivers);
      this.loop.write(flow.sender, flow.frame, flow.frame.length);
      if (this.#measuring) this.#lateness.add((performance.now() - dueMs) * 1000);
    }
  }

  #send(flow: Flow, count: number): void {
    const nowMs = performance.now();
    const size = flow.frame.length;
    if (count === 1 || size * count > BURST_BYTES) {
      for (let i = 0; i < count; i++) {
        flow.count(nowMs, this.#receivers);
        this.loop.write(flow.sender, flow.frame, size);
      }
      return;
    }
    for (let i = 0; i < count; i++) {
      flow.count(nowMs, this.#receivers);
      this.#burst.set(flow.frame, i * size);
    }
    this.loop.write(flow.sender, this.#burst, size * count);
  }

  onFrame(link: Link, buffer: Uint8Array, scanner: Scanner): void {
    switch (scanner.msgid) {
      case ONE_CHAT:
      case GROUP_CHAT:
        this.#onChat(link, buffer, scanner);
        break;
      case CHAT_ACK:
        this.#onAck(link, buffer, scanner.cidAt);
        break;
      case ERROR:
      case BYE:
        this.#errors++;
        this.#note ||= JSON.stringify(parseFrame(buffer, scanner)).slice(0, 160);
        break;
    }
  }

  #onChat(link: Link, buffer: Uint8Array, scanner: Scanner): void {
    const flow = this.#flows[link.flow];
    if (flow === undefined || link.member < 0 || scanner.msgAt < 0) {
      this.#errors++;
      this.#note ||= "a message came to its sender, or without a text";
      return;
    }
    const seq = readNumber(buffer, scanner.msgAt);
    const first = this.#trackers[link.flow * this.#receivers + link.member]?.see(seq);
    this.#progress++;
    if (this.#measuring) {
      this.#delivered++;
      flow.delivered++;
      const sentMs = flow.timeOf(seq);
      if (sentMs < 0) this.#unmeasured++;
      else this.#delivery.add((this.loop.nowMs - sentMs) * 1000);
    }
    if (this.settings.v2 && scanner.midAt >= 0) {
      this.#receipts.add(buffer, scanner.midAt);
      if (this.#receipts.full) this.#receipts.send(this.loop, link);
    }
    if (!first || this.#open) return;
    if (flow.received(seq) === 0) this.#again++;
  }

  #onAck(link: Link, buffer: Uint8Array, cidAt: number): void {
    const flow = this.#flows[link.flow];
    if (flow === undefined || cidAt < 0) return;
    let at = cidAt;
    while (buffer[at] !== DASH && buffer[at] !== QUOTE && at < buffer.length) at++;
    const seq = readNumber(buffer, at + 1);
    flow.acks.see(seq);
    this.#progress++;
    if (!this.#measuring) return;
    this.#acked++;
    const sentMs = flow.timeOf(seq);
    if (sentMs < 0) this.#unmeasured++;
    else this.#ack.add((this.loop.nowMs - sentMs) * 1000);
  }

  onTurn(link: Link): void {
    if (!this.#receipts.empty) this.#receipts.send(this.loop, link);
    if (this.#again === 0) return;
    const again = this.#again;
    this.#again = 0;
    const flow = this.#flows[link.flow];
    if (flow !== undefined && !this.#stopping) this.#send(flow, again);
  }

  onClosed(_link: Link, why: string): void {
    this.#closed++;
    this.#note ||= why;
  }
}
