/**
 * Works about sessions rather than messages: log-in and RESUME rates, and idle connections. Each
 * session is either waiting for one answer or silent.
 */

import { Accounts, type Answer } from "./accounts.ts";
import { Histogram } from "./histogram.ts";
import { frame, type Link, type Loop, type Owner, parseFrame } from "./loop.ts";
import { residentKib } from "./processes.ts";
import type { Scanner } from "./scanner.ts";
import type { Settings } from "./settings.ts";

const LOGIN_ACK = 2;
const BYE = 21;
/** Memory is read once it has stopped falling: the server collects garbage in between. */
const SETTLE_MS = 3_000;

/** What the works of this file find; durations in µs. */
export interface SessionResult {
  readonly done: number;
  readonly refused: number;
  readonly perS: number;
  readonly latency: Histogram;
  readonly note: string;
}

/** The token of a LOGIN_ACK. */
export function tokenOf(answer: Answer): string {
  if (typeof answer.token !== "string") throw new Error("LOGIN_ACK without a token");
  return answer.token;
}

/** A RESUME request. */
export function resumeFrame(token: string): Uint8Array<ArrayBuffer> {
  return frame(`{"msgid":16,"v":2,"token":${JSON.stringify(token)}}`);
}

/** Connects, sends one request, waits for LOGIN_ACK, closes; `w` at a time, users in turn. */
export class Visits implements Owner {
  readonly #started = new Map<Link, number>();
  readonly #latency = new Histogram();
  #next = 0;
  #done = 0;
  #refused = 0;
  #running = true;
  #note = "";

  constructor(
    readonly loop: Loop,
    readonly settings: Settings,
    readonly requests: readonly Uint8Array<ArrayBuffer>[],
  ) {}

  run(seconds: number): SessionResult {
    const start = performance.now();
    const end = start + seconds * 1000;
    for (let i = 0; i < this.settings.w; i++) this.#begin();
    while (performance.now() < end) this.loop.turn(Math.min(50, end - performance.now()));
    const elapsedS = (performance.now() - start) / 1000;
    const done = this.#done;
    this.#running = false;
    this.loop.until(() => this.#started.size === 0, () => this.#started.size, 5_000);
    return {
      done,
      refused: this.#refused,
      perS: done / elapsedS,
      latency: this.#latency,
      note: this.#note,
    };
  }

  #begin(): void {
    if (!this.#running) return;
    const request = this.requests[this.#next++ % this.requests.length];
    if (request === undefined) return;
    const link = this.loop.dial(this.settings.port, this);
    this.#started.set(link, performance.now());
    this.loop.write(link, request, request.length);
  }

  onFrame(link: Link, buffer: Uint8Array, scanner: Scanner): void {
    if (scanner.msgid !== LOGIN_ACK && scanner.msgid !== BYE) return;
    const startedMs = this.#started.get(link);
    if (startedMs === undefined) return;
    if (scanner.msgid === LOGIN_ACK && scanner.errno === 0) {
      this.#done++;
      this.#latency.add((this.loop.nowMs - startedMs) * 1000);
    } else {
      this.#refused++;
      this.#note ||= JSON.stringify(parseFrame(buffer, scanner)).slice(0, 160);
    }
    this.#end(link);
  }

  onTurn(): void {}

  onClosed(link: Link, why: string): void {
    this.#refused++;
    this.#note ||= why;
    this.#end(link);
  }

  #end(link: Link): void {
    this.#started.delete(link);
    this.loop.close(link);
    this.#begin();
  }
}

/** LOGIN requests of `n` new users. */
export function prepareLogins(loop: Loop, settings: Settings): Uint8Array<ArrayBuffer>[] {
  const accounts = new Accounts(loop, settings.v2, settings.setup);
  const ids = accounts.register(settings.port, settings.n);
  return ids.map((id) => frame(accounts.loginText(id)));
}

/** RESUME requests of `n` users who were logged in and have gone. */
export function prepareResumes(loop: Loop, settings: Settings): Uint8Array<ArrayBuffer>[] {
  const accounts = new Accounts(loop, true, settings.setup);
  const ids = accounts.register(settings.port, settings.n);
  const requests: Uint8Array<ArrayBuffer>[] = [];
  const links = accounts.login(ids, () => settings.port, (i, answer) => {
    requests[i] = resumeFrame(tokenOf(answer));
  });
  for (const link of links) loop.close(link);
  return requests;
}

function settle(loop: Loop): void {
  const end = performance.now() + SETTLE_MS;
  while (performance.now() < end) loop.turn(50);
}

/** Memory of the server before and after `n` sessions are online and silent. */
export function measureIdle(loop: Loop, settings: Settings): Record<string, number> {
  const accounts = new Accounts(loop, settings.v2, settings.setup);
  const ids = accounts.register(settings.port, settings.n);
  settle(loop);
  const beforeKib = residentKib(settings.pids);
  accounts.login(ids, () => settings.port);
  settle(loop);
  const afterKib = residentKib(settings.pids);
  return {
    connections: settings.n,
    rssBeforeKib: beforeKib,
    rssAfterKib: afterKib,
    kibPerConnection: (afterKib - beforeKib) / settings.n,
  };
}
