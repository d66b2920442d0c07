/**
 * Tells the operator who is held back: a line for an address, a user and a reason, once a minute at
 * most, so that an attack neither fills the log nor hides behind somebody else's lines.
 */

import type { Clock } from "../ports.ts";

const MINUTE_MS = 60_000;
/** Lines a minute. */
const MAX_LINES = 60;
/** Of these, how many may be about one address. */
const MAX_LINES_OF_ADDRESS = 10;

/** Whom a line is about. */
export interface HeldBackLine {
  readonly remote: string;
  /** 0: nobody is logged in there. */
  readonly user: number;
  /** What was answered. */
  readonly why: string;
  /** Refusals since the line before that had none: repeats, and what was over the bounds. */
  readonly leftOut: number;
}

/** Bounds and writes the lines. */
export class HeldBack {
  readonly #clock: Pick<Clock, "now">;
  readonly #write: (line: HeldBackLine) => void;
  #minute = -Infinity;
  /** Of this minute, by address: who and why. */
  readonly #told = new Map<string, Set<string>>();
  #lines = 0;
  #leftOut = 0;

  constructor(clock: Pick<Clock, "now">, write: (line: HeldBackLine) => void) {
    this.#clock = clock;
    this.#write = write;
  }

  /**
   * Something was refused, or is served later.
   * @param why A sentence of ours; but for its numbers the same for the same reason.
   */
  note(remote: string, user: number, why: string): void {
    const now = this.#clock.now();
    if (now - this.#minute >= MINUTE_MS) {
      this.#minute = now;
      this.#told.clear();
      this.#lines = 0;
    }
    let told = this.#told.get(remote);
    const key = `${user} ${why.replace(/\d+/g, "")}`;
    const isOver = told?.has(key) || (told?.size ?? 0) >= MAX_LINES_OF_ADDRESS ||
      this.#lines >= MAX_LINES;
    if (isOver) {
      this.#leftOut++;
      return;
    }
    if (told === undefined) this.#told.set(remote, told = new Set());
    told.add(key);
    this.#lines++;
    this.#write({ remote, user, why, leftOut: this.#leftOut });
    this.#leftOut = 0;
  }
}
