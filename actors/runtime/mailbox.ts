/**
 * One actor's queue: hands over one message at a time (or up to `concurrency`), in order, bounded.
 * Costs nothing when the actor is idle and its receiver returns synchronously: no promise, no queue.
 */

import { type FairTurns, MESSAGES_PER_TURN, TURN_MS } from "./fair_turns.ts";

/** What a receiver may return: nothing yet to wait for, or a promise that ends its turn. */
export type Turn = void | Promise<void>;

/** Settings of a mailbox. */
export interface MailboxOptions {
  /** Most messages waiting; one more is refused. */
  readonly limit: number;
  /** Messages in hand at once; 1 makes an actor. */
  readonly concurrency?: number;
  /** Shared with other mailboxes of the thread. @default as many messages as there are, at once */
  readonly turns?: FairTurns | undefined;
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
  #awaitsTurn = false;
  readonly #turns: FairTurns | undefined;
  /** The turn in which messages were last handed over, how many, and when it began, epoch ms. */
  #turn = -1;
  #handed = 0;
  #turnBegan = 0;

  constructor(receive: (message: M) => Turn, options: MailboxOptions) {
    this.#receive = receive;
    this.#limit = options.limit;
    this.#concurrency = options.concurrency ?? 1;
    this.#onError = options.onError;
    this.#turns = options.turns;
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
    const isFree = this.#busy < this.#concurrency && this.length === 0 && !this.#isHeld;
    if (isFree && this.#hasTurn()) {
      this.#run(message);
      if (this.#head < this.#waiting.length) this.#drain(); // what the receiver sent itself
      return true;
    }
    while (this.length >= this.#limit) {
      // What waits for its turn only is no reason to refuse anything: it goes before its turn.
      if (!this.#awaitsTurn || this.#paused || this.#busy >= this.#concurrency) return false;
      this.#run(this.#takeFirst());
    }
    this.#waiting.push(message);
    if (isFree) this.#awaitTurn();
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

  /** Whether one more message may be handed over in this turn; counts it. */
  #hasTurn(): boolean {
    const turns = this.#turns;
    if (turns === undefined) return true;
    if (this.#turn !== turns.current) {
      this.#turn = turns.current;
      this.#handed = 0;
      this.#turnBegan = turns.now();
    }
    if (this.#handed++ === 0) return true;
    // A clock that was put back ends a turn early.
    return this.#handed <= MESSAGES_PER_TURN &&
      Math.abs(turns.now() - this.#turnBegan) < TURN_MS;
  }

  #awaitTurn(): void {
    this.#awaitsTurn = true;
    this.#turns?.wait(() => {
      this.#awaitsTurn = false;
      this.#drain();
    });
  }

  get #isHeld(): boolean {
    return this.#paused || this.#awaitsTurn;
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
    while (!this.#isHeld && this.#busy < this.#concurrency && this.length > 0) {
      if (!this.#hasTurn()) return this.#awaitTurn();
      this.#run(this.#takeFirst());
    }
  }

  #takeFirst(): M {
    const message = this.#waiting[this.#head] as M;
    this.#head++;
    if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return message;
  }
}
