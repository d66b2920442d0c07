/**
 * The actor runtime of one thread: spawn, tell, ask with a deadline, bounded mailboxes,
 * supervision with back-off, dead letters. Knows no sockets, no protocol, no storage.
 *
 * An actor is one object with `receive`; the runtime gives it one message at a time. The same actor
 * runs in any thread: only the place that spawns it knows which. Names are unique in a thread.
 */

import { ChatError, ERRNO, type ErrorCode } from "@chat/wire/errors.ts";
import {
  Link,
  type LinkItem,
  type Payload,
  type PortLike,
  type ThreadId,
  type WireError,
} from "./link.ts";
import { Mailbox, type Turn } from "./mailbox.ts";
import type { Clock } from "../ports.ts";

/** What the runtime runs. The value returned (or resolved) answers an ask. */
export interface Actor<M> {
  receive(message: M): unknown;
  /** Releases what it holds, when it stops or is replaced. */
  stop?(): void | Promise<void>;
}

/** How an actor is kept. */
export interface SpawnOptions {
  /** Most messages waiting; one more is a dead letter, or TRY_LATER for an ask. @default 10_000 */
  readonly mailbox?: number;
  /** Messages in hand at once; more than 1 only for actors whose turns are independent. @default 1 */
  readonly concurrency?: number;
  /**
   * `restart`: a crash replaces the actor, with back-off. `escalate`: its state cannot be made anew
   * here, so that a crash ends the thread. @default "restart"
   */
  readonly onCrash?: "restart" | "escalate";
}

/** What the runtime reports; the thread's owner logs and counts it. */
export interface RuntimeEvents {
  /** A message nobody took: no such actor, or its mailbox was full. */
  onDeadLetter(to: string): void;
  /** An actor threw and is started again after `delayMs`. */
  onCrash(name: string, error: unknown, delayMs: number): void;
  /** An actor failed too often: the thread should end. */
  onGiveUp(name: string, error: unknown): void;
}

/** Restarts within {@linkcode RESTART_WINDOW_MS} before the runtime gives an actor up. */
const MAX_RESTARTS = 10;
const RESTART_WINDOW_MS = 60_000;
/** First restart delay; doubles, with jitter, up to the cap. */
const RESTART_MS = 50;
const RESTART_CAP_MS = 5_000;
/** How often deadlines of asks are looked at: they are accurate to this. */
const ASK_SWEEP_MS = 250;

interface Delivery {
  readonly body: unknown;
  /** Where the answer goes; undefined for a tell. */
  readonly answer: ((reply: { ok: unknown } | { error: WireError }) => void) | undefined;
}

interface Cell {
  actor: Actor<unknown>;
  readonly make: () => Actor<unknown>;
  readonly mailbox: Mailbox<Delivery>;
  readonly escalate: boolean;
  restarts: number[];
}

interface Question {
  readonly deadline: number;
  readonly what: string;
  readonly peer: ThreadId;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** An actor somewhere: this thread or another. */
export interface Ref<M> {
  readonly thread: ThreadId;
  readonly name: string;
  /**
   * Sends and forgets. A lost message is a dead letter, never an exception.
   * @param moved Memory in it that goes over to another thread instead of being copied.
   */
  tell(message: M, moved?: Transferable): void;
  /**
   * Sends and waits for the answer.
   * @param ms Deadline, accurate to 250 ms.
   * @throws {ChatError} what the actor threw, or TRY_LATER when the deadline passed, its mailbox
   * was full or it crashed.
   */
  ask<R>(message: M, ms: number): Promise<R>;
}

/** All actors and links of one thread. */
export class ActorSystem {
  readonly thread: ThreadId;
  readonly clock: Clock;
  readonly #events: RuntimeEvents;
  readonly #later: (fn: () => void) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly #cells = new Map<string, Cell>();
  readonly #links = new Map<ThreadId, Link>();
  readonly #questions = new Map<number, Question>();
  #nextAsk = 1;
  #cancelSweep: (() => void) | undefined;

  /**
   * @param later Runs a function at the end of the current turn, see {@linkcode Link}.
   * @param random Uniform in [0, 1), for the jitter of retries; seeded in simulation.
   */
  constructor(
    thread: ThreadId,
    clock: Clock,
    events: RuntimeEvents,
    later: (fn: () => void) => void,
    random: () => number = Math.random,
  ) {
    this.thread = thread;
    this.clock = clock;
    this.#events = events;
    this.#later = later;
    this.random = random;
  }

  /**
   * Connects this thread with another, replacing an earlier link to it.
   * @param onLane Receives the lane of each post, after its envelopes.
   */
  link(peer: ThreadId, port: PortLike, onLane?: (lane: unknown) => void): Link {
    this.unlink(peer);
    const link = new Link(port, this.#later);
    this.#links.set(peer, link);
    port.listen((payload) => this.#receive(link, payload, onLane));
    return link;
  }

  /** Drops the link; questions asked over it fail at once with TRY_LATER. */
  unlink(peer: ThreadId): void {
    const link = this.#links.get(peer);
    if (link === undefined) return;
    this.#links.delete(peer);
    link.close();
    for (const [id, question] of this.#questions) {
      if (question.peer !== peer) continue;
      this.#questions.delete(id);
      question.reject(new ChatError("TRY_LATER", `${question.what}: its thread ended`));
    }
  }

  /** Starts an actor. `make` is called again whenever it has crashed. */
  spawn<M>(name: string, make: () => Actor<M>, options: SpawnOptions = {}): Ref<M> {
    if (this.#cells.has(name)) throw new Error(`an actor named ${name} runs in this thread`);
    const erased = make as () => Actor<unknown>;
    const cell: Cell = {
      actor: erased(),
      make: erased,
      escalate: options.onCrash === "escalate",
      restarts: [],
      mailbox: new Mailbox<Delivery>((delivery) => this.#turn(name, cell, delivery), {
        limit: options.mailbox ?? 10_000,
        concurrency: options.concurrency,
        onError: (error) => this.#crashed(name, cell, error),
      }),
    };
    this.#cells.set(name, cell);
    return this.ref<M>(this.thread, name);
  }

  /** Ends an actor; what waits for it becomes dead letters. */
  async stop(name: string): Promise<void> {
    const cell = this.#cells.get(name);
    if (cell === undefined) return;
    this.#cells.delete(name);
    for (const delivery of cell.mailbox.clear()) this.#refuse(name, delivery, "it stopped");
    await cell.actor.stop?.();
  }

  /** Messages waiting for an actor of this thread. */
  waiting(name: string): number {
    return this.#cells.get(name)?.mailbox.length ?? 0;
  }

  /** An actor by thread and name; it need not exist yet. */
  ref<M>(thread: ThreadId, name: string): Ref<M> {
    return {
      thread,
      name,
      tell: (message, moved) => this.#tell(thread, name, message, moved),
      ask: <R>(message: M, ms: number) => this.#ask(thread, name, message, ms) as Promise<R>,
    };
  }

  /** Ends all links and timers, so that the thread can end. */
  close(): void {
    for (const peer of [...this.#links.keys()]) this.unlink(peer);
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  #tell(thread: ThreadId, name: string, body: unknown, moved?: Transferable): void {
    if (thread === this.thread) {
      this.#offer(name, { body, answer: undefined });
      return;
    }
    const link = this.#links.get(thread);
    if (link === undefined) this.#events.onDeadLetter(name);
    else link.push({ to: name, body }, moved);
  }

  #ask(thread: ThreadId, name: string, body: unknown, ms: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.#nextAsk++;
      const deadline = this.clock.now() + ms;
      this.#questions.set(id, { deadline, what: name, peer: thread, resolve, reject });
      this.#armSweep();
      if (thread === this.thread) {
        this.#offer(name, { body, answer: (reply) => this.#answered({ re: id, ...reply }) });
        return;
      }
      const link = this.#links.get(thread);
      if (link !== undefined) link.push({ to: name, body, ask: id });
      else {
        this.#questions.delete(id);
        reject(new ChatError("TRY_LATER", `${name}: its thread is not running`));
      }
    });
  }

  /** Answers go back over the link that brought the question: a successor has its own numbers. */
  #receive(link: Link, payload: Payload, onLane: ((lane: unknown) => void) | undefined): void {
    for (const item of payload.items) {
      if ("re" in item) this.#answered(item);
      else {
        const ask = "ask" in item ? item.ask : undefined;
        this.#offer(item.to, {
          body: item.body,
          answer: ask === undefined ? undefined : (reply) => link.push({ re: ask, ...reply }),
        });
      }
    }
    if (payload.lane !== undefined) onLane?.(payload.lane);
  }

  #offer(name: string, delivery: Delivery): void {
    const cell = this.#cells.get(name);
    if (cell === undefined) this.#refuse(name, delivery, "no such actor");
    else if (!cell.mailbox.offer(delivery)) this.#refuse(name, delivery, "its mailbox is full");
  }

  #refuse(name: string, delivery: Delivery, why: string): void {
    this.#events.onDeadLetter(name);
    delivery.answer?.({ error: { code: "TRY_LATER", text: `${name}: ${why}` } });
  }

  #turn(name: string, cell: Cell, delivery: Delivery): Turn {
    const { answer } = delivery;
    let result: unknown;
    try {
      result = cell.actor.receive(delivery.body);
    } catch (error) {
      this.#failedTurn(name, cell, answer, error);
      return;
    }
    if (result instanceof Promise) {
      return result.then(
        (ok) => answer?.({ ok }),
        (error) => this.#failedTurn(name, cell, answer, error),
      );
    }
    answer?.({ ok: result });
  }

  /** A ChatError is an answer; anything else means that the actor's state is not to be trusted. */
  #failedTurn(name: string, cell: Cell, answer: Delivery["answer"], error: unknown): void {
    if (error instanceof ChatError) {
      if (answer === undefined) this.#events.onDeadLetter(name);
      else answer({ error: { code: error.code, text: error.message } });
      return;
    }
    answer?.({ error: { code: "TRY_LATER", text: ERRNO.TRY_LATER.text } });
    this.#crashed(name, cell, error);
  }

  #crashed(name: string, cell: Cell, error: unknown): void {
    const now = this.clock.now();
    cell.restarts = cell.restarts.filter((at) => now - at < RESTART_WINDOW_MS);
    if (cell.escalate || cell.restarts.length >= MAX_RESTARTS) {
      cell.mailbox.pause(); // nothing more reaches a state that is not to be trusted
      this.#events.onGiveUp(name, error);
      return;
    }
    const delayMs = backoffMs(cell.restarts.length, RESTART_MS, RESTART_CAP_MS, this.random);
    cell.restarts.push(now);
    cell.mailbox.pause();
    this.#events.onCrash(name, error, delayMs);
    this.clock.after(delayMs, () => {
      void Promise.resolve(cell.actor.stop?.()).catch((e) => this.#events.onCrash(name, e, 0));
      try {
        cell.actor = cell.make();
      } catch (again) {
        this.#crashed(name, cell, again);
        return;
      }
      cell.mailbox.resume();
    });
  }

  #answered(item: Extract<LinkItem, { re: number }>): void {
    const question = this.#questions.get(item.re);
    if (question === undefined) return; // its deadline has passed
    this.#questions.delete(item.re);
    if ("ok" in item) question.resolve(item.ok);
    else question.reject(fromWireError(item.error));
  }

  #armSweep(): void {
    if (this.#cancelSweep !== undefined) return;
    this.#cancelSweep = this.clock.after(ASK_SWEEP_MS, () => {
      this.#cancelSweep = undefined;
      const now = this.clock.now();
      for (const [id, question] of this.#questions) {
        if (question.deadline > now) continue;
        this.#questions.delete(id);
        question.reject(new ChatError("TRY_LATER", `${question.what} did not answer in time`));
      }
      if (this.#questions.size > 0) this.#armSweep();
    });
  }
}

function fromWireError(error: WireError): Error {
  const { code, text } = error;
  return code !== undefined && code in ERRNO
    ? new ChatError(code as ErrorCode, text)
    : new Error(text);
}

/** Exponential back-off with full jitter: between 0 and `min(cap, first × 2^attempt)`, in ms. */
export function backoffMs(
  attempt: number,
  firstMs: number,
  capMs: number,
  random: () => number = Math.random,
): number {
  return random() * Math.min(capMs, firstMs * 2 ** Math.min(attempt, 30));
}
