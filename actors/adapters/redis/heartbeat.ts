/**
 * Judges one pair of connections by this node's own beats: up, well, or dead. No I/O, no clock.
 *
 * It counts beats and not time, so that a process that was stopped, or was busy, does not take its
 * own pause for a dead Redis. Each beat is answered on the command connection and comes back twice
 * on the subscription, so a connection on which nothing at all arrives from beat to beat is dead.
 */

/** Beats without any sign from a connection until it is dead: 3–4 s at one beat a second. */
export const QUIET_BEATS = 3;
/** Beats that the own beat may lag behind while other traffic still comes. */
const LAGGING_BEATS = 10;

/** Counters that grow with every sign of life. */
export interface Signs {
  /** Answers on the command connection. */
  readonly answers: number;
  /** Messages on the subscription. */
  readonly messages: number;
}

/** The beats of one pair. */
export class Pulse {
  #sent = 0;
  #looped = 0;
  #echoed = 0;
  #upAt = -1;
  #answers = 0;
  #messages = 0;
  #quietAnswers = 0;
  #quietMessages = 0;

  /** The first beat has come back: envelopes get through. */
  get isUp(): boolean {
    return this.#upAt >= 0;
  }

  /** Beats sent since it came up. */
  get age(): number {
    return this.isUp ? this.#sent - this.#upAt : 0;
  }

  /** The last beat but one has come back: what is not heard was not said. */
  get hears(): boolean {
    return this.isUp && this.#sent - this.#echoed <= 2;
  }

  /** Number of the beat to send now, from 1. */
  next(): number {
    return ++this.#sent;
  }

  /**
   * An own beat was heard: first on everyone's channel, then on the own one.
   * @returns Whether this brought the pair up.
   */
  echo(number: number): boolean {
    if (this.#looped < number) {
      this.#looped = number;
      return false;
    }
    this.#echoed = number;
    if (this.isUp) return false;
    this.#upAt = this.#sent;
    return true;
  }

  /** Once before each further beat. @returns Why the pair is dead; undefined while it is not. */
  judge(signs: Signs): string | undefined {
    this.#quietAnswers = signs.answers === this.#answers ? this.#quietAnswers + 1 : 0;
    this.#quietMessages = signs.messages === this.#messages ? this.#quietMessages + 1 : 0;
    this.#answers = signs.answers;
    this.#messages = signs.messages;
    if (this.#quietAnswers >= QUIET_BEATS) return "Redis does not answer";
    if (this.#quietMessages >= QUIET_BEATS) return "nothing comes through the subscription";
    if (this.#sent - this.#echoed >= LAGGING_BEATS) return "own beats do not come back";
    return undefined;
  }
}
