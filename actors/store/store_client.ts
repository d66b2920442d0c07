/**
 * A worker's side of the store actor: gathers a turn's appends and receipts into one message each,
 * keeps every append until its outcome is known, and sends them again when the store's thread is
 * replaced (the store recognises what it had committed by `(from, cid)`).
 */

import { ChatError } from "@chat/wire/errors.ts";
import type { ThreadId } from "../runtime/link.ts";
import type { Message, Mid, UserId } from "../ports.ts";
import { RecordWriter } from "../record.ts";
import type { ActorSystem, Ref } from "../runtime/runtime.ts";
import {
  type Outcomes,
  type RefusedOutcome,
  type StoreCall,
  type StoreCalls,
  type StoreMessage,
} from "./store_protocol.ts";

/** Deadline of a question to the store, ms: above the adapters' own (5 s). */
const CALL_MS = 8_000;
/**
 * Most questions on the way, of one worker: one that has started again asks two for each of its
 * sessions. Thousands more would only wait in the store's mailbox, and fill it.
 */
const MAX_CALLS = 2_000;
/** How long receipts may wait for appends to go with, ms: alone they would wake the store's thread. */
const RECEIPTS_MS = 5;
/** So many do not wait. */
const MAX_HELD_RECEIPTS = 512;

/** Messages sent again in one post, to a store's thread that has started anew. */
const MAX_RESENT = 256;

/**
 * Rows that one sender may have on their way to a commit, so that what others send waits behind few of
 * them (SQLite: 4 µs a row). One message may be more.
 */
export const MAX_OWN_ROWS = 2_000;

/** Groups of more members have one row a message, whose members are not free either. */
const LARGE_GROUP = 64;
const MEMBERS_PER_ROW = 25;

/** Rows that a message to a group of so many members may become, or what it costs as much as. */
export function rowsOf(members: number): number {
  return members <= LARGE_GROUP ? 1 + members : 2 + Math.ceil(members / MEMBERS_PER_ROW);
}

/** Who sends: told apart by identity. */
export interface Sender {
  /** Rows of it on their way to a commit. */
  rowsInStore: number;
  /** Called once when they are fewer than MAX_OWN_ROWS again. */
  onRoom: (() => void) | undefined;
}

/** An append whose outcome is awaited. */
export interface Submission<S extends Sender> {
  readonly session: S;
  readonly seq: number;
  /** The client's `req`, echoed in the answer. */
  readonly req: string | number | undefined;
  readonly message: Message;
  /** Rows that it may become. */
  readonly cost: number;
  /** See `StoreMessage`'s append. */
  readonly urgent: boolean;
  /** Whom it was pushed to, or would have been had they been online; all others are late. */
  readonly pushed: ReadonlySet<UserId> | UserId | undefined;
}

/** What became of a submission. */
export type Outcome = { readonly status: "stored" } | RefusedOutcome;

/** See the module's header. */
export class StoreClient<S extends Sender> {
  readonly #system: ActorSystem;
  readonly #store: Ref<StoreMessage>;
  readonly #run = crypto.randomUUID();
  readonly #onOutcome: (submission: Submission<S>, outcome: Outcome) => void;
  readonly #onLate: (submission: Submission<S>, user: UserId) => void;
  readonly #later: (fn: () => void) => void;
  readonly #waiting = new Map<number, Submission<S>>();
  #roomless: { readonly limit: number; readonly resolve: () => void }[] = [];
  #calls = 0;
  #callers: (() => void)[] = [];
  #next = 1;
  #generation = 0;
  /**
   * Sessions that had appends on the way when the generation rose: what became of those is not known
   * yet, and what follows them goes under the generation before, so that it is refused if they are.
   */
  readonly #doubtful = new Map<S, Doubt>();
  /** What the next post to the store carries, all of one generation. */
  #draftGeneration = 0;
  readonly #records = new RecordWriter();
  #keys = "";
  #costs: number[] = [];
  #urgent = false;
  #first = 0;
  #pairs: (UserId | Mid)[] = [];
  #cancelReceipts: (() => void) | undefined;
  #scheduled = false;

  /** @param onLate A stored message has a recipient that it was not pushed to. */
  constructor(
    system: ActorSystem,
    storeThread: ThreadId,
    later: (fn: () => void) => void,
    onOutcome: (submission: Submission<S>, outcome: Outcome) => void,
    onLate: (submission: Submission<S>, user: UserId) => void,
  ) {
    this.#system = system;
    this.#store = system.ref<StoreMessage>(storeThread, "store");
    this.#later = later;
    this.#onOutcome = onOutcome;
    this.#onLate = onLate;
  }

  /** Appends whose outcome is not known. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Resolves when fewer than `limit` appends wait, in the order of asking. It has no deadline of its
   * own: every append gets an outcome, a refusal when the database is away, and that makes room.
   */
  room(limit: number): Promise<void> {
    return new Promise((resolve) => this.#roomless.push({ limit, resolve }));
  }

  /** Resolves when `sender` may append again; as {@linkcode room}, without a deadline of its own. */
  ownRoom(sender: S): Promise<void> {
    return new Promise((resolve) => sender.onRoom = resolve);
  }

  /** Asks the store; rejects with ChatError TRY_LATER when it cannot answer in time. */
  async call<K extends keyof StoreCalls>(
    op: K,
    ...args: Parameters<StoreCalls[K]>
  ): Promise<Awaited<ReturnType<StoreCalls[K]>>> {
    const until = this.#system.clock.now() + CALL_MS;
    if (this.#calls >= MAX_CALLS) await new Promise<void>((resolve) => this.#callers.push(resolve));
    else this.#calls++;
    try {
      const leftMs = until - this.#system.clock.now();
      if (leftMs <= 0) throw new ChatError("TRY_LATER", "the store is behind, try again later");
      this.#flush(); // what was appended and received so far comes before the question
      const message = { type: "call", op, args } as unknown as StoreCall;
      return await this.#store.ask<Awaited<ReturnType<StoreCalls[K]>>>(message, leftMs);
    } finally {
      const next = this.#callers.shift();
      if (next === undefined) this.#calls--;
      else next(); // in this one's place
    }
  }

  /** Hands a message over with this turn's batch. */
  append(submission: Submission<S>): void {
    let generation = this.#generation;
    if (this.#doubtful.size > 0) {
      const doubt = this.#doubtful.get(submission.session);
      if (doubt !== undefined) {
        doubt.waiting++;
        generation = doubt.generation;
      }
    }
    if (generation !== this.#draftGeneration) {
      this.#flushRecords();
      this.#draftGeneration = generation;
    }
    const n = this.#next++;
    this.#waiting.set(n, submission);
    if (this.#costs.length === 0) this.#first = n;
    this.#write(submission);
    submission.session.rowsInStore += submission.cost;
    if (submission.urgent) this.#urgent = true;
    this.#schedule();
  }

  #write({ message, cost }: Submission<S>): void {
    this.#records.add(message);
    this.#keys += message.mid + message.cid;
    this.#costs.push(cost);
  }

  /** `user` has received a message that is stored, or about to be, by this node's store. */
  receipt(user: UserId, mid: Mid): void {
    this.#pairs.push(user, mid);
    if (this.#scheduled) return;
    if (this.#pairs.length >= 2 * MAX_HELD_RECEIPTS) this.#schedule();
    else this.#cancelReceipts ??= this.#system.clock.after(RECEIPTS_MS, this.#flush);
  }

  /** The store's answer; one for another run of this worker is not ours. */
  receive(outcomes: Outcomes): void {
    if (outcomes.run !== this.#run) return;
    const before = this.#generation;
    this.#generation = Math.max(before, outcomes.generation);
    this.#pushLate(outcomes.pending);
    for (const n of outcomes.stored) this.#settle(n, STORED);
    for (const { n, outcome } of outcomes.others) this.#settle(n, outcome);
    if (this.#generation > before) this.#doubt(before);
    if (this.#roomless.length > 0) this.#makeRoom();
  }

  /** Whoever is let in appends only after this returns: so many that the limit holds. */
  #makeRoom(): void {
    let count = 0;
    for (const { limit, resolve } of this.#roomless) {
      if (this.#waiting.size + count >= limit) break;
      count++;
      resolve();
    }
    this.#roomless = this.#roomless.slice(count);
  }

  /** This worker, or the store's thread, is new: introduces itself and sends again what is open. */
  attach(): void {
    this.#store.tell({ type: "attach", worker: this.#system.thread });
    this.#generation = this.#draftGeneration = 0;
    this.#doubtful.clear();
    this.#clearDraft(); // what was in it is sent with everything else
    let next = 0;
    for (const [n, submission] of this.#waiting) {
      if (n !== next || this.#costs.length >= MAX_RESENT) this.#flushRecords();
      if (this.#costs.length === 0) this.#first = n;
      this.#write(submission);
      this.#urgent = true;
      next = n + 1;
    }
    this.#flushRecords();
  }

  #pushLate(pending: readonly number[]): void {
    for (let at = 0; at + 1 < pending.length;) {
      const submission = this.#waiting.get(pending[at] ?? 0);
      const end = at + 2 + (pending[at + 1] ?? 0);
      for (let i = at + 2; i < end && submission !== undefined; i++) {
        const user = pending[i] ?? 0;
        const { pushed } = submission;
        const late = typeof pushed === "object" ? !pushed.has(user) : pushed !== user;
        if (late) this.#onLate(submission, user);
      }
      at = end;
    }
  }

  #settle(n: number, outcome: Outcome): void {
    const submission = this.#waiting.get(n);
    if (submission === undefined) return;
    this.#waiting.delete(n);
    const { session, cost } = submission;
    session.rowsInStore -= cost;
    if (session.onRoom !== undefined && session.rowsInStore < MAX_OWN_ROWS) {
      session.onRoom();
      session.onRoom = undefined;
    }
    if (this.#doubtful.size > 0) {
      const doubt = this.#doubtful.get(submission.session);
      if (doubt !== undefined && --doubt.waiting === 0) this.#doubtful.delete(submission.session);
    }
    this.#onOutcome(submission, outcome);
  }

  /** @param generation The one under which what waits was sent, or one of the first of it. */
  #doubt(generation: number): void {
    for (const doubt of this.#doubtful.values()) doubt.waiting = 0;
    for (const { session } of this.#waiting.values()) {
      const doubt = this.#doubtful.get(session);
      if (doubt !== undefined) doubt.waiting++;
      else this.#doubtful.set(session, { generation, waiting: 1 });
    }
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#later(this.#flush);
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    this.#cancelReceipts?.();
    this.#cancelReceipts = undefined;
    this.#flushRecords();
    if (this.#pairs.length > 0) {
      this.#store.tell({ type: "receipts", pairs: this.#pairs });
      this.#pairs = [];
    }
  };

  #flushRecords(): void {
    if (this.#costs.length === 0) return;
    const records = this.#records.take();
    this.#store.tell({
      type: "append",
      worker: this.#system.thread,
      run: this.#run,
      generation: this.#draftGeneration,
      first: this.#first,
      records,
      keys: this.#keys,
      costs: this.#costs,
      urgent: this.#urgent,
    }, records.buffer);
    this.#clearDraft();
  }

  #clearDraft(): void {
    this.#records.clear();
    this.#keys = "";
    this.#costs = [];
    this.#urgent = false;
  }
}

/** Of a session: under which generation it sends, and how many outcomes have yet to come. */
interface Doubt {
  readonly generation: number;
  waiting: number;
}

const STORED: Outcome = { status: "stored" };
