/**
 * The storm after a node's death: everybody who was online there resumes on another node, each with
 * a message that waits. A session is back once it has its LOGIN_ACK and that message.
 */

import { Accounts } from "./accounts.ts";
import { Histogram } from "./histogram.ts";
import { frame, type Link, type Loop, type Owner, parseFrame } from "./loop.ts";
import type { Scanner } from "./scanner.ts";
import { resumeFrame, type SessionResult, tokenOf } from "./sessions.ts";
import type { Settings } from "./settings.ts";

const LOGIN_ACK = 2;
const ONE_CHAT = 6;
const ERROR = 11;
const CHAT_ACK = 12;
const BYE = 21;
/** A session that is refused or cut off tries again, this often at most. */
const TRIES = 50;
const PAUSE_MS = [50, 100, 200, 400, 800, 1_600, 2_000] as const;
const LIMIT_MS = 60_000;
/** Who writes the messages that wait, one after the other each. */
const SENDERS = 20;
const STALL_MS = 30_000;

/** What a storm finds; durations in µs, from the kill. */
export interface StormResult extends SessionResult {
  /** -1: not all came back. */
  readonly secondsUntilAllBack: number;
  /** From the kill to LOGIN_ACK. */
  readonly resumed: Histogram;
  /** Messages that waited and came more than once to the same connection. */
  readonly doubled: number;
}

/** See the module's header: online on `port` when that node is killed, back on `port2`. */
export class Storm implements Owner {
  readonly #tokens: string[] = [];
  readonly #latency = new Histogram();
  readonly #resumed = new Histogram();
  readonly #tries: number[] = [];
  /** Sessions to begin again, and when; unsorted. */
  readonly #due = new Map<number, number>();
  /** Connections that resumed and wait for their message. */
  readonly #waiting = new Set<Link>();
  #killedMs = 0;
  #lost = 0;
  #back = 0;
  #refused = 0;
  #givenUp = 0;
  #doubled = 0;
  #note = "";

  constructor(readonly loop: Loop, readonly settings: Settings) {}

  /** Logs everyone in on `port`, and has a message written to each that nobody confirms. */
  prepare(): void {
    const { port, port2, n, setup } = this.settings;
    const accounts = new Accounts(this.loop, true, setup);
    const ids = accounts.register(port, n);
    const links = accounts.login(ids, () => port, (i, answer) => {
      this.#tokens[i] = tokenOf(answer);
    });
    const writers = new Accounts(this.loop, true, setup);
    const senders = writers.login(writers.register(port2, Math.min(SENDERS, n)), () => port2);
    new Letters(this.loop, ids).send(senders);
    links.forEach((link, i) => {
      link.owner = this;
      link.flow = i;
    });
  }

  /** Kills the node and waits until everyone is back. */
  run(): StormResult {
    this.#killedMs = performance.now();
    Deno.kill(this.settings.kill, "SIGKILL");
    const { n } = this.settings;
    while (this.#back + this.#givenUp < n && performance.now() - this.#killedMs < LIMIT_MS) {
      this.loop.turn(5);
      const now = performance.now();
      for (const [session, dueMs] of this.#due) {
        if (dueMs > now) continue;
        this.#due.delete(session);
        this.#begin(session);
      }
    }
    const elapsedS = (performance.now() - this.#killedMs) / 1000;
    return {
      done: this.#back,
      refused: this.#refused,
      perS: this.#back / elapsedS,
      latency: this.#latency,
      resumed: this.#resumed,
      secondsUntilAllBack: this.#back === n ? elapsedS : -1,
      doubled: this.#doubled,
      note: this.#note,
    };
  }

  #begin(session: number): void {
    const link = this.loop.dial(this.settings.port2, this);
    link.flow = session;
    const request = resumeFrame(this.#tokens[session] ?? "");
    this.loop.write(link, request, request.length);
  }

  #again(session: number): void {
    const tries = (this.#tries[session] ?? 0) + 1;
    this.#tries[session] = tries;
    if (tries > TRIES) {
      this.#givenUp++;
      return;
    }
    const pauseMs = PAUSE_MS[Math.min(tries, PAUSE_MS.length) - 1] ?? 0;
    this.#due.set(session, performance.now() + pauseMs * (0.5 + Math.random()));
  }

  onFrame(link: Link, buffer: Uint8Array, scanner: Scanner): void {
    if (this.#killedMs === 0) return; // the message as it was pushed before
    switch (scanner.msgid) {
      case LOGIN_ACK:
        if (scanner.errno !== 0) break;
        this.#resumed.add((this.loop.nowMs - this.#killedMs) * 1000);
        this.#waiting.add(link);
        return;
      case ONE_CHAT:
        if (!this.#waiting.delete(link)) {
          this.#doubled++;
          return;
        }
        this.#back++;
        this.#latency.add((this.loop.nowMs - this.#killedMs) * 1000);
        return;
      case BYE:
        break;
      default:
        return;
    }
    this.#refused++;
    this.#note ||= JSON.stringify(parseFrame(buffer, scanner)).slice(0, 160);
    this.#waiting.delete(link);
    this.loop.close(link);
    this.#again(link.flow);
  }

  onTurn(): void {}

  onClosed(link: Link, why: string): void {
    this.#waiting.delete(link);
    if (this.#lost < this.settings.n) {
      // The killed node's sessions, each cut off once; with a spread they come back one by one.
      const { spread, n } = this.settings;
      this.#due.set(link.flow, this.#killedMs + spread * this.#lost++ / n);
      return;
    }
    this.#note ||= why;
    this.#again(link.flow);
  }
}

/** One durable message to each of some users. */
class Letters implements Owner {
  #next = 0;
  #acked = 0;
  #failure: string | undefined;

  constructor(readonly loop: Loop, readonly ids: readonly number[]) {}

  /** @throws {Error} One was refused, or not acknowledged. */
  send(senders: readonly Link[]): void {
    for (const sender of senders) {
      sender.owner = this;
      this.#write(sender);
    }
    const done = () => this.#acked === this.ids.length || this.#failure !== undefined;
    const ok = this.loop.until(done, () => this.#acked, STALL_MS);
    if (this.#failure !== undefined) throw new Error(this.#failure);
    if (!ok) throw new Error(`set-up: only ${this.#acked} of ${this.ids.length} messages stored`);
  }

  #write(sender: Link): void {
    const i = this.#next++;
    const to = this.ids[i];
    if (to === undefined) return;
    const data = frame(`{"msgid":${ONE_CHAT},"toid":${to},"cid":"letter-${i}","msg":"it waits"}`);
    this.loop.write(sender, data, data.length);
  }

  onFrame(link: Link, buffer: Uint8Array, scanner: Scanner): void {
    if (scanner.msgid === CHAT_ACK) {
      this.#acked++;
      this.#write(link);
    } else if (scanner.msgid === ERROR || scanner.msgid === BYE) {
      this.#failure ??= `set-up: ${JSON.stringify(parseFrame(buffer, scanner)).slice(0, 160)}`;
    }
  }

  onTurn(): void {}

  onClosed(_: Link, why: string): void {
    this.#failure ??= `set-up: ${why}`;
  }
}
