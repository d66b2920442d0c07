/**
 * What one client's socket has still to take: the write in hand, and the frames that wait behind it.
 * It writes nothing itself; how much may wait is its owner's decision.
 *
 * Invariants: frames leave in the order they came, each once; one write is in hand at a time; a
 * frame that comes meanwhile is copied, so that a slow reader keeps one turn's block alive at most.
 */

/** Most bytes in one joined write: bounds the copy that joins frames. */
const MAX_WRITE_BYTES = 256 * 1024;

interface Piece {
  readonly bytes: Uint8Array;
  readonly push: number;
}

/** See the module's header. */
export class OutQueue {
  #waiting: Piece[] = [];
  #waitingBytes = 0;
  #writing = false;
  /** Of the write in hand; see `done`. */
  #push = 0;

  /** Bytes that wait behind the write in hand. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Whether a write is in hand. */
  get writing(): boolean {
    return this.#writing;
  }

  /** Whether nothing is in hand and nothing waits. */
  get isEmpty(): boolean {
    return !this.#writing && this.#waiting.length === 0;
  }

  /**
   * A frame comes.
   * @param bytes Borrowed until they are written; copied if a write is in hand.
   * @param push Its number, higher than any before it, or 0: it has none.
   */
  add(bytes: Uint8Array, push: number): void {
    this.#waiting.push({ bytes: this.#writing ? bytes.slice() : bytes, push });
    this.#waitingBytes += bytes.length;
  }

  /**
   * Takes what is to be written next in hand, where nothing is.
   * @param joined What has gathered goes in one write; otherwise each frame in one of its own.
   * @returns Undefined when nothing waits.
   */
  next(joined: boolean): Uint8Array | undefined {
    const first = this.#waiting[0];
    if (first === undefined) return undefined;
    this.#writing = true;
    if (joined && this.#waiting.length > 1) return this.#join();
    this.#waiting.shift();
    this.#waitingBytes -= first.bytes.length;
    this.#push = first.push;
    return first.bytes;
  }

  /** The write in hand is done; returns its number, that of its last frame that has one, or 0. */
  done(): number {
    this.#writing = false;
    return this.#push;
  }

  /** Forgets what waits; the write in hand goes on. */
  drop(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  #join(): Uint8Array {
    let count = 0;
    let total = 0;
    this.#push = 0;
    for (const { bytes, push } of this.#waiting) {
      if (count > 0 && total + bytes.length > MAX_WRITE_BYTES) break;
      total += bytes.length;
      if (push !== 0) this.#push = push; // they grow; PUSH_CLOSE is the last
      count++;
    }
    const joined = new Uint8Array(total);
    let at = 0;
    for (const { bytes } of this.#waiting.splice(0, count)) {
      joined.set(bytes, at);
      at += bytes.length;
    }
    this.#waitingBytes -= total;
    return joined;
  }
}
