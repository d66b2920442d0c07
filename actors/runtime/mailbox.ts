/**
 * One actor's queue: hands over one message at a time (or up to `concurrency`), in order, bounded.
 * Costs nothing when the actor is idle and its receiver returns synchronously: no promise, no queue.
 */

/** What a receiver may return: nothing yet to wait for, or a promise that ends its turn. */
export type Turn = void | Promise<void>;

/** Settings of a mailbox. */
export interface MailboxOptions {
  /** Most messages waiting; one more is refused. */
  readonly limit: number;
  /** Messages in hand at once; 1 makes an actor. */
  readonly concurrency?: number;
  /** Told of whatever the receiver throws; the mailbox goes on with the next message. */
  readonly onError: (error: unknown) => void;
}

/** A bounded queue in front of one receiver. */
export class Mailbox<M> {
  readonly #receive: (message: M) => Turn;
  readonly #limit: number;
  readonly #concurrency: number;
  readonly #onError: (error: unknown) => void;
  #waiting: M[] = [];
  #head = 0;
  #busy = 0;
  #paused = false;

  constructor(receive: (message: M) => Turn, options: MailboxOptions) {
    this.#receive = receive;
    this.#limit = options.limit;
    this.#concurrency = options.concurrency ?? 1;
    this.#onError = options.onError;
  }

  /** Messages that wait. */
  get length(): number {
    return this.#waiting.length - this.#head;
  }

  /** True when nothing waits and nothing is in hand. */
  get idle(): boolean {
    return this.#busy === 0 && this.length === 0;
  }

  /**
   * Hands `message` over now, or queues it.
   * @returns False when the queue is full; the message is then not taken.
   */
  offer(message: M): boolean {
    if (this.#busy < this.#concurrency && this.length === 0 && !this.#paused) {
      this.#run(message);
      if (this.#head < this.#waiting.length) this.#drain(); // what the receiver sent itself
      return true;
    }
    if (this.length >= this.#limit) return false;
    this.#waiting.push(message);
    return true;
  }

  /** Holds everything back until `resume`, as while an actor restarts. */
  pause(): void {
    this.#paused = true;
  }

  /** Goes on after `pause`. */
  resume(): void {
    this.#paused = false;
    this.#drain();
  }

  /** Drops and returns what waits. */
  clear(): M[] {
    const rest = this.#waiting.slice(this.#head);
    this.#waiting = [];
    this.#head = 0;
    return rest;
  }

  #run(message: M): void {
    let turn: Turn;
    this.#busy++;
    try {
      turn = this.#receive(message);
    } catch (error) {
      this.#busy--;
      this.#onError(error);
      return;
    }
    if (turn === undefined) this.#busy--;
    else turn.then(() => this.#ended(), (error) => this.#failed(error));
  }

  #ended(): void {
    this.#busy--;
    this.#drain();
  }

  #failed(error: unknown): void {
    this.#onError(error);
    this.#ended();
  }

  #drain(): void {
    while (!this.#paused && this.#busy < this.#concurrency && this.#head < this.#waiting.length) {
      const message = this.#waiting[this.#head] as M;
      this.#head++;
      if (this.#head === this.#waiting.length) {
        this.#waiting = [];
        this.#head = 0;
      } else if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
        this.#waiting = this.#waiting.slice(this.#head);
        this.#head = 0;
      }
      this.#run(message);
    }
  }
}
