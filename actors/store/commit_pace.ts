/**
 * When the next commit should begin: at once while there is hardly anything to do, later under load,
 * so that batches grow and each row costs less. Numbers only; the store actor keeps the queue.
 */

/**
 * Time between two commits under load, ms: the least, and the most. Acks wait for it; but a commit has
 * a price of its own (SQLite's log: 5 µs a message at 50, 3 at 150), and acks that come together share
 * a write to their socket.
 */
const COMMIT_EVERY_MS = 2;
const COMMIT_AT_LATEST_MS = 6;
/**
 * A commit that takes long is followed by a pause as long, up to this, ms: a slow disk makes batches
 * larger and the whole no slower.
 */
const PAUSE_AT_MOST_MS = 40;
/** Rows of the last batch that are worth another ms of waiting. */
const ROWS_PER_MS = 20;
/**
 * How long a commit may wait that nobody waits for, ms: receipts, and v1 messages whose recipients
 * all had them pushed. A crash meanwhile loses of the latter what no client was promised.
 */
const LAZY_MS = 100;
/**
 * After a batch below this size the next commit waits only as long as that one took, and this, ms:
 * what comes meanwhile has to be seen, or each message that waits would get a commit of its own.
 */
const SMALL_BATCH = 3;
const BREATH_MS = 1;

/** Remembers the last commit. */
export class CommitPace {
  #beganAt = 0;
  #tookMs = 0;
  #rows = 0;

  /** A commit of this many messages and receipts begins. */
  began(now: number, rows: number): void {
    this.#beganAt = now;
    this.#rows = rows;
  }

  /** It is done; returns how long it took, ms. */
  ended(now: number): number {
    return this.#tookMs = now - this.#beganAt;
  }

  /** It failed: the next one says how things are. */
  failed(): void {
    this.#rows = 0;
  }

  /** Whether the last one had anything in it and did not fail. */
  get wasUseful(): boolean {
    return this.#rows > 0;
  }

  /**
   * When the next one should begin, epoch ms.
   * @param urgent Somebody waits for it.
   */
  due(now: number, urgent: boolean): number {
    if (!urgent) return now + LAZY_MS;
    // A clock that was put back has the last one in the future.
    return Math.min(now + LAZY_MS, Math.max(now, this.#nextAt()));
  }

  #nextAt(): number {
    const pause = Math.min(PAUSE_AT_MOST_MS, this.#tookMs);
    if (this.#rows < SMALL_BATCH) {
      return this.#beganAt + this.#tookMs + Math.max(BREATH_MS, pause);
    }
    const every = Math.min(
      COMMIT_AT_LATEST_MS,
      Math.max(COMMIT_EVERY_MS, this.#rows / ROWS_PER_MS),
    );
    return this.#beganAt + Math.max(every, this.#tookMs + pause);
  }
}
