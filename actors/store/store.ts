/**
 * The store actor: turns single writes into group commits, has what they leave filed between them,
 * and watches over what was committed until its recipients have it. All SQL is the adapter's; all
 * waiting is here.
 *
 * Invariants: the adapter commits or files one thing at a time; an outcome is told only after its
 * commit; appends of one worker are committed in the order they came, and once one is refused, so is
 * everything that worker sent before it knew (`generation`), so that a session's later message never
 * overtakes a refused one; a read that a session relies on sees everything that was appended before
 * it.
 */

import { ChatError } from "@chat/wire/errors.ts";
import { CommitPace } from "./commit_pace.ts";
import { EarlyReceipts } from "./early_receipts.ts";
import { Filing } from "./filing.ts";
import type { ThreadId } from "../runtime/link.ts";
import {
  type Append,
  type AppendOutcome,
  type Mid,
  type Receipt,
  type StorePort,
  StoreTooSlow,
  StoreUnavailable,
  type UserId,
} from "../ports.ts";
import { HINT_SWEEP_MS, ReceiptWatch } from "./receipt_watch.ts";
import { cidUnits, MID_UNITS, RecordedMessage, viewOf } from "../record.ts";
import { ReadTurns } from "./read_turns.ts";
import type { Actor, ActorSystem } from "../runtime/runtime.ts";
import type {
  Outcomes,
  RefusedOutcome,
  StoreCall,
  StoreCalls,
  StoreMessage,
} from "./store_protocol.ts";

/** Settings of the store actor. */
export interface StoreOptions {
  /** Most appends that wait; more are put off with TRY_LATER. */
  readonly maxQueued: number;
  /** Told of a batch that failed; its senders have been told to try later. */
  readonly onFailure: (error: unknown) => void;
  /** Told of every commit, for metrics. */
  readonly onCommit?: (appends: number, receipts: number, ms: number) => void;
}

/** Most messages in one transaction: bounds the adapter's statement. */
const MAX_BATCH = 4_000;
/**
 * How long one transaction is to take at most, ms: everybody's next message waits for it. What fits is
 * learned from those before; one message is always taken.
 */
const COMMIT_MS = 100;
/** Rows of a transaction: at most (SQLite: 40 ms), and at least, however slow the last one was. */
const MAX_BATCH_ROWS = 8_000;
const LEAST_BATCH_ROWS = 64;
/** How long a database that let a transaction expire may take to show that it is there, ms. */
const PROBE_MS = 1_000;
/** Most receipts in one transaction. */
const MAX_BATCH_RECEIPTS = 4_000;
/** Most receipts that wait while the database is away; older ones are dropped (re-delivery repairs). */
const MAX_QUEUED_RECEIPTS = 200_000;
/** Questions that wait for what was appended before them; a session, an account end after that. */
const SETTLED_FIRST: ReadonlySet<keyof StoreCalls> = new Set(
  ["pending", "lastMid", "historyWith", "historyOf", "revokeToken", "deleteUser"] as const,
);
/** Questions whose answer may be many rows: they take turns. */
const LONG_READS: ReadonlySet<keyof StoreCalls> = new Set(
  ["pending", "historyWith", "historyOf"] as const,
);

const NEVER = Infinity;

interface Entry extends Append {
  readonly message: RecordedMessage;
  /** Rows that it may become. */
  readonly cost: number;
  readonly confirmed: UserId[];
  readonly worker: ThreadId;
  readonly run: string;
  readonly n: number;
}

interface Counts {
  appends: number;
  receipts: number;
}

const NO_WAIT = Promise.resolve();

/** See the module's header. Spawn it with a `concurrency` above 1: calls overlap. */
export class StoreActor implements Actor<StoreMessage> {
  readonly #system: ActorSystem;
  readonly #port: StorePort;
  readonly #options: StoreOptions;
  #queue: Entry[] = [];
  #queuedRows = 0;
  #maxRows = MAX_BATCH_ROWS;
  /** Appends in `#queue` by mid: a receipt may come before the commit. */
  readonly #queued = new Map<Mid, Entry>();
  #receipts: Receipt[] = [];
  readonly #early = new EarlyReceipts();
  readonly #generations = new Map<ThreadId, number>();
  readonly #watch = new ReceiptWatch();
  readonly #longReads: ReadTurns;
  /** When the next commit is to begin; NEVER while none is arranged. */
  #scheduledFor = NEVER;
  #urgent = false;
  /** The adapter commits or files. */
  #busy = false;
  readonly #pace = new CommitPace();
  readonly #filing: Filing;
  #cancelTimer: (() => void) | undefined;
  #cancelSweep: (() => void) | undefined;
  /** Appends and receipts accepted, and of them those that are committed or refused. */
  readonly #taken: Counts = { appends: 0, receipts: 0 };
  readonly #done: Counts = { appends: 0, receipts: 0 };
  /** Reads that wait for what was accepted before them, in order. */
  #readers: (Counts & { readonly resolve: () => void })[] = [];
  #stopped = false;

  constructor(system: ActorSystem, port: StorePort, options: StoreOptions) {
    this.#system = system;
    this.#port = port;
    this.#options = options;
    this.#filing = new Filing(system, port, {
      isBusy: () => this.#busy,
      setBusy: (busy) => this.#setBusy(busy),
      onFailure: options.onFailure,
    });
    this.#longReads = new ReadTurns(system.clock);
    this.#armSweep();
  }

  /** Why what is acknowledged cannot be filed; undefined when it can. */
  get filingProblem(): string | undefined {
    return this.#filing.problem;
  }

  /** Appends that wait for a commit. */
  get queued(): number {
    return this.#queue.length;
  }

  receive(message: StoreMessage): unknown {
    switch (message.type) {
      case "append":
        return this.#append(message);
      case "receipts":
        return this.#receipt(message.pairs);
      case "attach":
        this.#generations.set(message.worker, 0);
        return;
      case "call":
        return this.#call(message);
      case "stop":
        return this.stop();
      default:
        return message satisfies never;
    }
  }

  /** Commits what waits, then closes the adapter. */
  async stop(): Promise<void> {
    await this.#settled();
    this.#stopped = true;
    this.#cancelSweep?.();
    this.#cancelTimer?.();
    this.#filing.stop();
    await this.#port.close();
  }

  #append(m: Extract<StoreMessage, { type: "append" }>): void {
    const known = this.#generations.get(m.worker);
    if (known === undefined) {
      // It does not know that this store is new, and what it sent to the one before is lost: nothing
      // is taken until it has sent everything again, in order.
      this.#system.ref(m.worker, "sessions").tell({ type: "store_restarted" });
      return;
    }
    const count = m.costs.length;
    const full = this.#queue.length + count > this.#options.maxQueued;
    if (full || m.generation < known || this.#stopped) {
      this.#putOff(m.worker, m.run, Array.from({ length: count }, (_, i) => m.first + i), full);
      return;
    }
    if (m.urgent) this.#urgent = true;
    const view = viewOf(m.records);
    let n = m.first;
    let at = 0;
    let key = 0;
    for (const cost of m.costs) {
      const cidAt = key + MID_UNITS;
      const end = cidAt + cidUnits(view, at);
      const mid = m.keys.slice(key, cidAt);
      const cid = m.keys.slice(cidAt, end);
      const message = new RecordedMessage(m.records, view, at, mid, cid);
      at = message.end;
      key = end;
      const confirmed = this.#early.take(mid);
      const entry: Entry = { message, confirmed, cost, worker: m.worker, run: m.run, n: n++ };
      this.#queue.push(entry);
      this.#queuedRows += cost;
      this.#queued.set(mid, entry);
      this.#taken.appends++;
    }
    this.#schedule();
  }

  #receipt(pairs: readonly (UserId | Mid)[]): void {
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      const user = pairs[i];
      const mid = pairs[i + 1];
      if (typeof user !== "number" || typeof mid !== "string") continue;
      const entry = this.#queued.get(mid);
      if (entry !== undefined) {
        entry.confirmed.push(user);
        continue;
      }
      if (!this.#watch.received(mid, user)) this.#early.keep(mid, user);
      if (this.#receipts.length >= MAX_QUEUED_RECEIPTS) continue;
      this.#receipts.push({ user, mid });
      this.#taken.receipts++;
    }
    if (this.#receipts.length > 0) this.#schedule();
  }

  async #call(call: StoreCall): Promise<unknown> {
    if (SETTLED_FIRST.has(call.op)) {
      await this.#settled();
    }
    try {
      const method = this.#port[call.op] as (...args: readonly unknown[]) => Promise<unknown>;
      const ask = () => method.apply(this.#port, call.args);
      return await (isLong(call) ? this.#longReads.run(ask) : ask());
    } catch (error) {
      if (error instanceof StoreUnavailable) {
        throw new ChatError("TRY_LATER", "the database is away, try again later", { cause: error });
      }
      this.#options.onFailure(error);
      throw new ChatError("TRY_LATER", undefined, { cause: error });
    }
  }

  /** Resolves once everything queued now is committed or refused; later arrivals do not count. */
  #settled(): Promise<void> {
    const settled = { appends: this.#taken.appends, receipts: this.#taken.receipts };
    if (this.#isDone(settled)) return NO_WAIT;
    return new Promise((resolve) => {
      this.#readers.push({ ...settled, resolve });
      this.#schedule();
    });
  }

  #isDone({ appends, receipts }: Counts): boolean {
    return this.#done.appends >= appends && this.#done.receipts >= receipts;
  }

  /** @param all Whether what is queued has been given up. */
  #wakeReaders(all: boolean): void {
    while (this.#readers.length > 0) {
      const [first] = this.#readers;
      if (first === undefined || (!all && !this.#isDone(first))) return;
      this.#readers.shift();
      first.resolve();
    }
  }

  #schedule(): void {
    if (this.#busy) return;
    const now = this.#system.clock.now();
    const due = this.#due(now);
    if (due >= this.#scheduledFor) return;
    this.#scheduledFor = due;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (due > now) this.#cancelTimer = this.#system.clock.after(due - now, this.#commitSoon);
    else queueMicrotask(this.#commitSoon);
  }

  /** When what is queued should be committed. */
  #due(now: number): number {
    if (this.#isFull || this.#readers.length > 0) return now;
    return this.#pace.due(now, this.#urgent);
  }

  /** As much waits as one transaction takes. */
  get #isFull(): boolean {
    return this.#queue.length >= MAX_BATCH || this.#queuedRows >= this.#maxRows;
  }

  readonly #commitSoon = (): void => {
    this.#cancelTimer = undefined;
    if (this.#scheduledFor === NEVER) return; // a reader was first
    void this.#commit(); // it answers for its own failures
  };

  async #commit(): Promise<void> {
    this.#scheduledFor = NEVER;
    if (this.#busy) return;
    if (this.#filing.isBehind) {
      // Senders wait, as for a slow disk: what is acknowledged may not take all memory.
      this.#filing.start();
      return;
    }
    this.#busy = true;
    this.#urgent = false;
    try {
      while (this.#queue.length > 0 || this.#receipts.length > 0) {
        const { batch, rows } = this.#takeBatch();
        const receipts = this.#receipts.splice(0, MAX_BATCH_RECEIPTS);
        this.#pace.began(this.#system.clock.now(), batch.length + receipts.length);
        const end = await this.#commitBatch(batch, rows, receipts);
        if (end === "again") continue;
        if (end === "failed") break;
        this.#done.appends += batch.length;
        this.#done.receipts += receipts.length;
        this.#wakeReaders(false);
        const tookMs = this.#pace.ended(this.#system.clock.now());
        this.#learn(rows + receipts.length, tookMs);
        this.#options.onCommit?.(batch.length, receipts.length, tookMs);
        // Under load the next batch waits its turn, so that it grows; a reader does not wait.
        if (this.#readers.length === 0 && !this.#isFull) break;
      }
    } finally {
      this.#busy = false;
    }
    if (this.#queue.length > 0) this.#urgent = true; // some of them may be
    this.#filing.afterCommit();
    this.#scheduleAgain();
  }

  #scheduleAgain(): void {
    if (this.#queue.length > 0 || (this.#receipts.length > 0 && this.#pace.wasUseful)) {
      this.#schedule();
    }
  }

  #setBusy(busy: boolean): void {
    this.#busy = busy;
    if (busy) return;
    if (this.#queue.length > 0) this.#urgent = true;
    this.#scheduleAgain();
    if (this.#readers.length > 0) this.#schedule();
  }

  /** The first of the queue: what one transaction takes, by number and by rows; one at least. */
  #takeBatch(): { batch: readonly Entry[]; rows: number } {
    let rows = 0;
    let count = 0;
    for (const { cost } of this.#queue) {
      if (count === MAX_BATCH || (count > 0 && rows + cost > this.#maxRows)) break;
      rows += cost;
      count++;
    }
    const batch = count === this.#queue.length ? this.#queue : this.#queue.slice(0, count);
    this.#queue = batch === this.#queue ? [] : this.#queue.slice(count);
    this.#queuedRows -= rows;
    for (const entry of batch) this.#queued.delete(entry.message.mid);
    return { batch, rows };
  }

  #learn(rows: number, tookMs: number): void {
    if (tookMs > COMMIT_MS) {
      this.#maxRows = Math.max(LEAST_BATCH_ROWS, Math.floor(rows * COMMIT_MS / tookMs));
    } else if (2 * rows >= this.#maxRows) {
      this.#maxRows = Math.min(MAX_BATCH_ROWS, 2 * this.#maxRows);
    }
  }

  /** "again" when the batch is in the queue again, to be taken in smaller parts. */
  async #commitBatch(
    batch: readonly Entry[],
    rows: number,
    receipts: readonly Receipt[],
  ): Promise<"done" | "again" | "failed"> {
    let outcomes: AppendOutcome[];
    try {
      outcomes = await this.#port.commit(batch, receipts);
    } catch (error) {
      this.#options.onFailure(error);
      if (error instanceof StoreTooSlow && await this.#isThere()) {
        this.#takeBack(batch, rows, receipts);
        return "again";
      }
      this.#failEverything(batch, receipts);
      return "failed";
    }
    this.#tellOutcomes(batch, outcomes);
    return "done";
  }

  /**
   * What took too long is tried again by halves; a message that does so alone is put off, and nobody
   * else. Committed after all, it is recognised by its mid.
   */
  #takeBack(batch: readonly Entry[], rows: number, receipts: readonly Receipt[]): void {
    this.#maxRows = Math.max(1, Math.floor(rows / 2));
    const [first] = batch;
    if (batch.length === 1 && first !== undefined) {
      this.#putOff(first.worker, first.run, [first.n], true);
      this.#done.appends++;
    } else {
      this.#queue = [...batch, ...this.#queue];
      this.#queuedRows += rows;
      for (const entry of batch) this.#queued.set(entry.message.mid, entry);
    }
    this.#receipts = [...receipts, ...this.#receipts];
  }

  async #isThere(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const cancel = this.#system.clock.after(PROBE_MS, () => resolve(false));
    this.#port.lastMid(0, 0, 0).then(() => resolve(true), () => resolve(false));
    const isThere = await promise;
    cancel();
    return isThere;
  }

  #tellOutcomes(batch: readonly Entry[], outcomes: readonly AppendOutcome[]): void {
    const now = this.#system.clock.now();
    const answers = new Map<ThreadId, OutcomesDraft>();
    for (let i = 0; i < batch.length; i++) {
      const entry = batch[i];
      const outcome = outcomes[i];
      if (entry === undefined || outcome === undefined) continue;
      let answer = answers.get(entry.worker);
      if (answer === undefined || answer.run !== entry.run) {
        answer = { run: entry.run, stored: [], pending: [], others: [] };
        answers.set(entry.worker, answer);
      }
      if (outcome.status === "stored") {
        answer.stored.push(entry.n);
        if (outcome.pending.length === 0) continue;
        const { mid } = entry.message;
        const received = this.#early.take(mid); // while it was being committed
        const pending = received.length === 0
          ? outcome.pending
          : outcome.pending.filter((user) => !received.includes(user));
        if (pending.length === 0) continue;
        answer.pending.push(entry.n, pending.length, ...pending);
        this.#watch.add(mid, pending, now);
      } else {
        answer.others.push({ n: entry.n, outcome });
      }
    }
    for (const [worker, answer] of answers) this.#answer(worker, answer);
  }

  /** The database is away: everything waiting is put off, so that nobody waits in the dark. */
  #failEverything(batch: readonly Entry[], receipts: readonly Receipt[]): void {
    const all = [...batch, ...this.#queue];
    this.#queue = [];
    this.#queuedRows = 0;
    this.#queued.clear();
    // Receipts keep: they are no one's wait, and losing them would repeat deliveries.
    const kept = [...receipts, ...this.#receipts].slice(0, MAX_QUEUED_RECEIPTS);
    this.#taken.receipts -= receipts.length + this.#receipts.length - kept.length;
    this.#receipts = kept;
    this.#pace.failed();
    const byWorker = new Map<ThreadId, { run: string; ns: number[] }>();
    for (const entry of all) {
      const of = byWorker.get(entry.worker);
      if (of === undefined || of.run !== entry.run) {
        byWorker.set(entry.worker, { run: entry.run, ns: [entry.n] });
      } else of.ns.push(entry.n);
    }
    for (const [worker, { run, ns }] of byWorker) this.#putOff(worker, run, ns, true);
    this.#done.appends = this.#taken.appends;
    this.#wakeReaders(true);
  }

  #putOff(worker: ThreadId, run: string, ns: readonly number[], raise: boolean): void {
    if (raise) this.#generations.set(worker, (this.#generations.get(worker) ?? 0) + 1);
    const outcome = { status: "try_later" } as const;
    this.#answer(worker, { run, stored: [], pending: [], others: ns.map((n) => ({ n, outcome })) });
  }

  #answer(worker: ThreadId, draft: OutcomesDraft): void {
    const generation = this.#generations.get(worker) ?? 0;
    const outcomes: Outcomes = { type: "outcomes", ...draft, generation };
    this.#system.ref<Outcomes>(worker, "sessions").tell(outcomes);
  }

  #armSweep(): void {
    this.#cancelSweep = this.#system.clock.after(HINT_SWEEP_MS, () => {
      const users = this.#watch.due(this.#system.clock.now());
      if (users.length > 0) this.#system.ref(0, "registry").tell({ type: "hints", users });
      // Receipts kept back while the database was away are tried again here.
      if (this.#receipts.length > 0) this.#schedule();
      if (!this.#stopped) this.#armSweep();
    });
  }
}

function isLong({ op, args }: StoreCall): boolean {
  return LONG_READS.has(op) && args.at(-1) !== 1; // of a page of one, somebody's chat waits for it
}

interface OutcomesDraft {
  readonly run: string;
  readonly stored: number[];
  readonly pending: number[];
  readonly others: { readonly n: number; readonly outcome: RefusedOutcome }[];
}
