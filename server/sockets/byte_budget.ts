/**
 * What all connections together may have of this process: bytes of frames that are in hand, and what
 * is read of strangers from one address. Counts only; each connection's pace asks it.
 *
 * Whose share is what: while less than MAX_BYTES is in hand nobody is held back; beyond that, whoever
 * has more than his equal part is read no further until he has less or there is room. What strangers
 * at one address may send in a tick, they share.
 */

/** Bytes in hand of all connections, sessions' and the process's, about a quarter of what it costs. */
const MAX_BYTES = 32 * 1_024 * 1_024;
/** The part of one connection that is never held back, bytes: a large frame. */
const LEAST_PART = 64 * 1_024;
/** What strangers at one address may send between two ticks, bytes: 1 MiB a second. */
const STRANGERS_PER_TICK = 512 * 1_024;

/** See the module's header. */
export class ByteBudget {
  #inHand = 0;
  #holders = 0;
  /** Bytes of strangers since the last tick, by address. */
  readonly #strangers = new Map<string, number>();

  /** Bytes in hand. */
  get inHand(): number {
    return this.#inHand;
  }

  /** What one connection has in hand has changed. */
  changed(before: number, now: number): void {
    this.#inHand += now - before;
    if (before === 0 && now > 0) this.#holders++;
    if (before > 0 && now === 0) this.#holders--;
  }

  /** Whether a connection that has so much in hand is to be read no further. */
  isOver(own: number): boolean {
    if (this.#inHand <= MAX_BYTES) return false;
    return own > Math.max(LEAST_PART, MAX_BYTES / Math.max(1, this.#holders));
  }

  /** A stranger has sent `bytes`. @param network "" for one whose address is not counted. */
  tookOfStranger(network: string, bytes: number): void {
    if (network !== "") this.#strangers.set(network, (this.#strangers.get(network) ?? 0) + bytes);
  }

  /** Whether strangers at this address have sent what they may until the next tick. */
  isStrangerOver(network: string): boolean {
    return (this.#strangers.get(network) ?? 0) >= STRANGERS_PER_TICK;
  }

  /** Call at a steady pace, twice a second; what was sent over the share counts in the next. */
  tick(): void {
    for (const [network, bytes] of this.#strangers) {
      if (bytes > STRANGERS_PER_TICK) this.#strangers.set(network, bytes - STRANGERS_PER_TICK);
      else this.#strangers.delete(network);
    }
  }
}
