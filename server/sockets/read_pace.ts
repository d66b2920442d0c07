/**
 * How far one client may be read: not while too many of its frames, or too many bytes of them, are
 * unfinished, nor while it has sent more since the last tick than the rates allow. Until somebody has
 * logged in it may send and leave unfinished much less. Counts only; its owner reads, warns and closes.
 *
 * Invariants: what is over a rate counts in the ticks to come, nothing is forgiven; a reader that
 * waits is let on as soon as half of `maxUnfinished` or fewer are unfinished and the rest allows it.
 */

import type { ByteBudget } from "./byte_budget.ts";

/** Limits of one client's pace. */
export interface PaceLimits {
  /** Frames read but not finished, before reading stops. */
  readonly maxUnfinished: number;
  /** Frames between two ticks before reading stops until the next; 0: no limit. */
  readonly framesPerTick: number;
  /** Bytes between two ticks; 0: no limit. @default 0 */
  readonly bytesPerTick?: number;
  /** What all connections share. @default nothing */
  readonly budget?: ByteBudget;
}

/** Bytes of frames in hand of one client before reading stops, and of one that has not logged in. */
const MAX_BYTES_IN_HAND = 1_024 * 1_024;
const MAX_STRANGER_BYTES_IN_HAND = 32 * 1_024;
/** Ticks in a row over the rate of frames before the client is told, and before it is closed. */
const TICKS_UNTIL_TOLD = 4;
const TICKS_UNTIL_CLOSED = 20;

/** See the module's header. */
export class ReadPace {
  readonly #limits: PaceLimits;
  readonly #network: string;
  #unfinished = 0;
  #inHand = 0;
  /** Frames and bytes since the last tick, and for how many ticks the frames were too many. */
  #frames = 0;
  #bytes = 0;
  #ticksOver = 0;
  #resume: (() => void) | undefined;
  /** Somebody has logged in. */
  isKnown = false;

  /** @param network What its address counts as; "" where it is not counted. @default "" */
  constructor(limits: PaceLimits, network = "") {
    this.#limits = limits;
    this.#network = network;
  }

  /** Frames handed to the session that are not finished; as the session last said, and since. */
  get unfinished(): number {
    return this.#unfinished;
  }

  /** A frame of so many bytes was read, and is handed to the session. */
  took(bytes = 0): void {
    this.#frames++;
    this.#unfinished++;
    this.#bytes += bytes;
    this.#holds(this.#inHand + bytes);
    if (!this.isKnown) this.#limits.budget?.tookOfStranger(this.#network, bytes);
  }

  /**
   * The session says how many frames it has unfinished. Those on their way to it are not counted:
   * the limit is exceeded by one turn's.
   */
  finished(unfinished: number): void {
    // Which of them are finished is not said: each counts with the mean size.
    const left = this.#unfinished === 0 ? 0 : Math.min(1, unfinished / this.#unfinished);
    this.#holds(Math.ceil(this.#inHand * left));
    this.#unfinished = unfinished;
    if (this.#resume !== undefined) this.#mayGoOn();
  }

  /**
   * Call at a steady pace.
   * @returns What the client has earned by keeping over the rate: `tell` comes once before `close`.
   */
  tick(): "tell" | "close" | undefined {
    const { framesPerTick, bytesPerTick = 0 } = this.#limits;
    this.#ticksOver = this.#tooManyFrames() ? this.#ticksOver + 1 : 0;
    // One read brings thousands of small frames: what is over the limit counts in the next ticks.
    this.#frames = Math.max(0, this.#frames - framesPerTick);
    this.#bytes = Math.max(0, this.#bytes - bytesPerTick);
    if (this.#resume !== undefined) this.#mayGoOn();
    if (this.#ticksOver >= TICKS_UNTIL_CLOSED) return "close";
    return this.#ticksOver === TICKS_UNTIL_TOLD ? "tell" : undefined;
  }

  /** Whether the reader has to wait, with {@linkcode untilLetOn}. */
  get mustWait(): boolean {
    return this.#unfinished > this.#limits.maxUnfinished || this.#isOver();
  }

  /** Resolves when reading may go on. One reader waits at a time. */
  untilLetOn(): Promise<void> {
    return new Promise((resolve) => this.#resume = resolve);
  }

  /** Lets a reader that waits on, whatever the pace: there is nothing more to read. */
  letOn(): void {
    this.#resume?.();
    this.#resume = undefined;
  }

  /** The connection is closed: it has nothing in hand. */
  end(): void {
    this.#holds(0);
    this.letOn();
  }

  #holds(bytes: number): void {
    this.#limits.budget?.changed(this.#inHand, bytes);
    this.#inHand = bytes;
  }

  #isOver(): boolean {
    const { bytesPerTick = 0, budget } = this.#limits;
    const mostInHand = this.isKnown ? MAX_BYTES_IN_HAND : MAX_STRANGER_BYTES_IN_HAND;
    return this.#tooManyFrames() || this.#inHand > mostInHand ||
      (bytesPerTick > 0 && this.#bytes >= bytesPerTick) ||
      (budget?.isOver(this.#inHand) ?? false) ||
      (!this.isKnown && (budget?.isStrangerOver(this.#network) ?? false));
  }

  #tooManyFrames(): boolean {
    const { framesPerTick } = this.#limits;
    return framesPerTick > 0 && this.#frames >= framesPerTick;
  }

  #mayGoOn(): void {
    if (this.#unfinished > this.#limits.maxUnfinished / 2 || this.#isOver()) return;
    this.letOn();
  }
}
