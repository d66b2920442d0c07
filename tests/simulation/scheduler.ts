/**
 * Virtual time: events in the order of their times, one at a time, each followed by everything it
 * set off at once. No real timer, no clock, no thread.
 *
 * Invariants: nothing runs for an owner that is dead; what an owner runs at the end of a turn
 * (`later`) runs before its next event, as microtasks do; the same seed gives the same run.
 */

import type { Clock } from "../../actors/ports.ts";

/** What events belong to: a thread, a node, a client. */
export interface Owner {
  /** Once false, its events are dropped. */
  readonly alive: boolean;
  /** Its events wait until then, virtual ms: a stopped process. Infinity: until `release`. */
  readonly pausedUntil: number;
}

/** For what nobody can stop. */
export const NOBODY: Owner = { alive: true, pausedUntil: 0 };

/** Epoch ms at virtual time 0. */
export const EPOCH_MS = 1_700_000_000_000;

/**
 * Rounds of the microtask queue after a step: more than the longest chain of promises that one step
 * sets off. Too few would still be deterministic, but would let the next step overtake.
 */
const SETTLE_ROUNDS = 12;

/** More than any virtual time, ms: what is due so much earlier comes first, in its own order. */
const FIRST_MS = 1e7;

interface Event {
  /** When it runs: when it is due, or later if its owner is stopped then. */
  time: number;
  due: number;
  readonly order: number;
  readonly owner: Owner;
  readonly place: Owner;
  readonly label: string;
  run: (() => void) | undefined;
}

/** Told after every step, while nothing runs: the place to crash something. */
export type StepListener = (label: string, place: Owner) => void;

/** See the module's header. */
export class Scheduler {
  /** Virtual ms since the start. */
  now = 0;
  /** Steps run. */
  steps = 0;
  onStep: StepListener | undefined;
  readonly #settleRounds: number;
  readonly #heap: Event[] = [];
  #order = 0;
  #laters: { owner: Owner; label: string; run: () => void }[] = [];
  #stopped = false;

  constructor(settleRounds = SETTLE_ROUNDS) {
    this.#settleRounds = settleRounds;
  }

  /**
   * Runs `run` after `ms`; returns a function that cancels it.
   * @param place Where the step counts as happening, for the listener.
   */
  at(ms: number, owner: Owner, label: string, run: () => void, place = owner): () => void {
    return this.atTime(this.now + ms, owner, label, run, place);
  }

  /** As `at`, at a time: what has to keep its order must not be rounded apart. */
  atTime(due: number, owner: Owner, label: string, run: () => void, place = owner): () => void {
    const event: Event = { time: due, due, order: this.#order++, owner, place, label, run };
    this.#push(event);
    return () => event.run = undefined;
  }

  /** Runs `run` at the end of the present turn. */
  later(owner: Owner, label: string, run: () => void): void {
    this.#laters.push({ owner, label, run });
  }

  /** Time and timers as one owner sees them. `skew.ms` is added to the time of day. */
  clock(owner: Owner, skew: { readonly ms: number }, jitter: () => number): Clock {
    return {
      now: () => Math.floor(EPOCH_MS + this.now + skew.ms),
      after: (ms, fn) => this.at(ms + jitter(), owner, "timer", fn),
    };
  }

  /**
   * Owners that had been stopped without an end go on: what waits for them is due.
   * @param timersFirst An event loop may look at timers before what has come meanwhile, or after it.
   */
  release(timersFirst: boolean): void {
    for (const event of this.#heap.splice(0)) {
      if (event.time === Infinity && event.owner.pausedUntil <= this.now) {
        event.time = this.now;
        if (timersFirst && event.label === "timer") event.due -= FIRST_MS;
      }
      this.#push(event);
    }
  }

  /** Makes {@linkcode run} return after the present step. */
  stop(): void {
    this.#stopped = true;
  }

  /** Runs events up to `untilMs`, or until `stop`. */
  async run(untilMs: number): Promise<void> {
    this.#stopped = false;
    await this.#finish("", NOBODY); // what was set off from outside
    while (!this.#stopped) {
      const event = this.#heap[0];
      if (event === undefined || event.time > untilMs) break;
      this.#pop();
      const { owner, run } = event;
      if (run === undefined || !owner.alive) continue;
      if (owner.pausedUntil > event.time) {
        event.time = owner.pausedUntil;
        this.#push(event);
        continue;
      }
      this.now = event.time;
      event.run = undefined;
      run();
      await this.#finish(event.label, event.place);
    }
    if (!this.#stopped) this.now = untilMs;
  }

  /** Settles promises, then runs the turn's ends one by one. */
  async #finish(label: string, place: Owner): Promise<void> {
    await this.#settle();
    this.#stepped(label, place);
    while (this.#laters.length > 0) {
      const laters = this.#laters;
      this.#laters = [];
      for (const { owner, label, run } of laters) {
        if (!owner.alive) continue;
        if (owner.pausedUntil > this.now) { // stopped in the midst of its turn
          const [time, due, order] = [owner.pausedUntil, this.now - 2 * FIRST_MS, this.#order++];
          this.#push({ time, due, order, owner, place: owner, label, run });
          continue;
        }
        run();
        await this.#settle();
        this.#stepped(label, owner);
      }
    }
  }

  async #settle(): Promise<void> {
    for (let i = 0; i < this.#settleRounds; i++) await null;
  }

  #stepped(label: string, place: Owner): void {
    this.steps++;
    this.onStep?.(label, place);
  }

  // ── a binary heap by time, then as they were due ────────────────────────────────────────

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !isBefore(event, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      let child = heap[down];
      if (child === undefined) break;
      const right = heap[down + 1];
      if (right !== undefined && isBefore(right, child)) {
        child = right;
        down++;
      }
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = down;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  if (a.time !== b.time) return a.time < b.time;
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}
