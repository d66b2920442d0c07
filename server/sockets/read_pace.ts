/**
 * How far one client may be read: not while too many of its frames are unfinished, nor while it has
 * sent more since the last tick than the rate allows. Counts only; its owner reads, warns and closes.
 *
 * Invariants: a frame over the rate counts in the ticks to come, none is forgiven; a reader that
 * waits is let on as soon as half of `maxUnfinished` or fewer are unfinished and the rate allows it.
 */

/** Limits of one client's pace. */
export interface PaceLimits {
  /** Frames read but not finished, before reading stops. */
  readonly maxUnfinished: number;
  /** Frames between two ticks before reading stops until the next; 0: no limit. */
  readonly framesPerTick: number;
}

/** Ticks in a row over the rate before the client is told, and before it is closed. */
const TICKS_UNTIL_TOLD = 4;
const TICKS_UNTIL_CLOSED = 20;

/** See the module's header. */
export class ReadPace {
  readonly #limits: PaceLimits;
  #unfinished = 0;
  /** Frames since the last tick, and for how many ticks they were too many. */
  #frames = 0;
  #ticksOver = 0;
  #resume: (() => void) | undefined;

  constructor(limits: PaceLimits) {
    this.#limits = limits;
  }

  /** Frames handed to the session that are not finished; as the session last said, and since. */
  get unfinished(): number {
    return this.#unfinished;
  }

  /** A frame was read, and is handed to the session. */
  took(): void {
    this.#frames++;
    this.#unfinished++;
  }

  /**
   * The session says how many frames it has unfinished. Those on their way to it are not counted:
   * the limit is exceeded by one turn's.
   */
  finished(unfinished: number): void {
    this.#unfinished = unfinished;
    if (this.#resume !== undefined) this.#mayGoOn();
  }

  /**
   * Call at a steady pace.
   * @returns What the client has earned by keeping over the rate: `tell` comes once before `close`.
   */
  tick(): "tell" | "close" | undefined {
    this.#ticksOver = this.#tooFast() ? this.#ticksOver + 1 : 0;
    // One read brings thousands of small frames: what is over the limit counts in the next ticks.
    this.#frames = Math.max(0, this.#frames - this.#limits.framesPerTick);
    if (this.#resume !== undefined) this.#mayGoOn();
    if (this.#ticksOver >= TICKS_UNTIL_CLOSED) return "close";
    return this.#ticksOver === TICKS_UNTIL_TOLD ? "tell" : undefined;
  }

  /** Whether the reader has to wait, with {@linkcode untilLetOn}. */
  get mustWait(): boolean {
    return this.#unfinished > this.#limits.maxUnfinished || this.#tooFast();
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

  #tooFast(): boolean {
    const { framesPerTick } = this.#limits;
    return framesPerTick > 0 && this.#frames >= framesPerTick;
  }

  #mayGoOn(): void {
    if (this.#unfinished > this.#limits.maxUnfinished / 2 || this.#tooFast()) return;
    this.letOn();
  }
}
