/**
 * The store actor: turns single writes into group commits, and watches over what was committed
 * until its recipients have it. All SQL is the adapter's; all waiting is here.
 *
 * Invariants: an outcome is told only after its commit; appends of one worker are committed in the
 * order they came, and once one is refused, so is everything that worker sent before it knew
 * (`generation`), so that a session's later message never overtakes a refused one; a read that a
 * session relies on sees everything that was appended before it.
 */

import { ChatError } from "@chat/wire/errors.ts";
import { EarlyReceipts } from "./early_receipts.ts";
import type { ThreadId } from "./link.ts";
import {
  type Append,
  type AppendOutcome,
  type Message,
  type Mid,
  type Receipt,
  type StorePort,
  StoreUnavailable,
  type UserId,
} from "./ports.ts";
import type { Actor, ActorSystem } from "./runtime.ts";

/** The reads and rare writes that are plain questions to the adapter. */
export type StoreCalls = Omit<StorePort, "commit" | "close">;
/** One such question. */
export type StoreCall = {
  [K in keyof StoreCalls]: {
    readonly type: "call";
    readonly op: K;
    readonly args: Parameters<StoreCalls[K]>;
  };
}[keyof StoreCalls];

/** What the store actor takes. */
export type StoreMessage =
  /** Store these in order; each is answered under its number (`first`, `first + 1`, …). */
  | {
    readonly type: "append";
    readonly worker: ThreadId;
    /** Which run of the worker asks; an answer to an earlier run is not for its successor. */
    readonly run: string;
    readonly generation: number;
    readonly first: number;
    /** See {@linkcode packRow}. */
    readonly rows: PackedRows;
    /** Somebody waits for the commit, or would miss the message if it were lost. */
    readonly urgent: boolean;
  }
  /** Alternating user and mid: receipts for messages stored, or about to be stored, here. */
  | { readonly type: "receipts"; readonly pairs: readonly (UserId | Mid)[] }
  /** A worker starts (anew): its generation is 0. */
  | { readonly type: "attach"; readonly worker: ThreadId }
  | StoreCall;

/** Messages as one flat array: half the cost of objects when it crosses threads. */
export type PackedRows = readonly (string | number)[];
const PACKED_FIELDS = 8;

/** Adds a message to a turn's rows: what is stored of it. */
export function packRow(rows: (string | number)[], m: Message): void {
  rows.push(m.mid, m.cid, m.from, m.ts, m.toid, m.groupid, m.msg, m.extra);
}

function unpackRow(rows: PackedRows, at: number): Message {
  return {
    mid: String(rows[at]),
    cid: String(rows[at + 1]),
    from: Number(rows[at + 2]),
    name: "", // the user's row has it
    ts: Number(rows[at + 3]),
    toid: Number(rows[at + 4]),
    groupid: Number(rows[at + 5]),
    msg: String(rows[at + 6]),
    extra: String(rows[at + 7]),
    prev: "",
  };
}

/** What became of appends, told to the worker that sent them. */
export interface Outcomes {
  readonly type: "outcomes";
  readonly run: string;
  /** Numbers of what is now durable under the `mid` it came with. */
  readonly stored: readonly number[];
  /** Of those, runs of number, count and as many recipients that have yet to confirm. */
  readonly pending: readonly number[];
  /** Everything else. */
  readonly others: readonly { readonly n: number; readonly outcome: RefusedOutcome }[];
  /** The worker's new generation; greater than the one it sent if something was put off. */
  readonly generation: number;
}
/** An outcome other than "stored". */
export type RefusedOutcome =
  | Exclude<AppendOutcome, { status: "stored" }>
  | { readonly status: "try_later" };

/** Settings of the store actor. */
export interface StoreOptions {
  /** Most appends that wait; more are put off with TRY_LATER. */
  readonly maxQueued: number;
  /** Told of a batch that failed; its senders have been told to try later. */
  readonly onFailure: (error: unknown) => void;
  /** Told of every commit, for metrics. */
  readonly onCommit?: (appends: number, receipts: number, ms: number) => void;
}

/**
 * Time between two commits under load, ms: the least, and the most. A commit writes whole pages, so
 * its cost a row falls with its size (SQLite: 15 µs at 80 rows, 5 at 500); acks wait for it.
 */
const COMMIT_EVERY_MS = 4;
const COMMIT_AT_LATEST_MS = 12;
/**
 * A commit that takes long is followed by a pause as long, up to this, ms: a slow disk makes batches
 * larger and the whole no slower.
 */
const PAUSE_AT_MOST_MS = 40;
/** Rows of the last batch that are worth another ms of waiting. */
const ROWS_PER_MS = 8;
/**
 * How long a commit may wait that nobody waits for, ms: receipts, and v1 messages whose recipients
 * all had them pushed. A crash meanwhile loses of the latter what no client was promised.
 */
const LAZY_MS = 100;
/** A batch below this size is no load: the next commit need not wait. */
const SMALL_BATCH = 3;
/** Most messages in one transaction: bounds its time (SQLite: 20 ms) and the adapter's statement. */
const MAX_BATCH = 4_000;
/** Most receipts in one transaction. */
const MAX_BATCH_RECEIPTS = 4_000;
/** Most receipts that wait while the database is away; older ones are dropped (re-delivery repairs). */
const MAX_QUEUED_RECEIPTS = 200_000;
/** When a committed message without a receipt is hinted at, ms after its commit. */
const HINT_AFTER_MS = [2_000, 8_000, 30_000] as const;
/** How often hints are looked at, ms. */
const HINT_SWEEP_MS = 1_000;
/** Most messages watched for a receipt; beyond it the sessions' own re-check serves. */
const MAX_WATCHED = 200_000;

/** Questions that wait for what was appended before them; an account ends after its last word. */
const SETTLED_FIRST: ReadonlySet<keyof StoreCalls> = new Set(
  ["pending", "lastMid", "historyWith", "historyOf", "deleteUser"] as const,
);

const NEVER = Infinity;

interface Entry extends Append {
  readonly confirmed: UserId[];
  readonly worker: ThreadId;
  readonly run: string;
  readonly n: number;
}

interface Counts {
  appends: number;
  receipts: number;
}

interface Watched {
  users: UserId[];
  attempt: number;
  due: number;
}

const NO_WAIT = Promise.resolve();

/** See the module's header. Spawn it with a `concurrency` above 1: calls overlap. */
export class StoreActor implements Actor<StoreMessage> {
  readonly #system: ActorSystem;
  readonly #port: StorePort;
  readonly #options: StoreOptions;
  #queue: Entry[] = [];
  /** Appends in `#queue` by mid: a receipt may come before the commit. */
  readonly #queued = new Map<Mid, Entry>();
  #receipts: Receipt[] = [];
  readonly #early = new EarlyReceipts();
  readonly #generations = new Map<ThreadId, number>();
  readonly #watched = new Map<Mid, Watched>();
  /** When the next commit is to begin; NEVER while none is arranged. */
  #scheduledFor = NEVER;
  #urgent = false;
  #committing = false;
  #lastCommitAt = 0;
  #lastCommitMs = 0;
  #lastBatch = 0;
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
    this.#armSweep();
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
    await this.#port.close();
  }

  #append(m: Extract<StoreMessage, { type: "append" }>): void {
    const known = this.#generations.get(m.worker) ?? 0;
    const count = m.rows.length / PACKED_FIELDS;
    const full = this.#queue.length + count > this.#options.maxQueued;
    if (full || m.generation < known || this.#stopped) {
      this.#putOff(m.worker, m.run, Array.from({ length: count }, (_, i) => m.first + i), full);
      return;
    }
    if (m.urgent) this.#urgent = true;
    let n = m.first;
    for (let at = 0; at < m.rows.length; at += PACKED_FIELDS) {
      const message = unpackRow(m.rows, at);
      const confirmed = this.#early.take(message.mid);
      const entry: Entry = { message, confirmed, worker: m.worker, run: m.run, n: n++ };
      this.#queue.push(entry);
      this.#queued.set(message.mid, entry);
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
      if (!this.#unwatch(mid, user)) this.#early.keep(mid, user);
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
      return await method.apply(this.#port, call.args);
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
    if (this.#committing) return;
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
    if (this.#queue.length >= MAX_BATCH || this.#readers.length > 0) return now;
    if (!this.#urgent) return now + LAZY_MS;
    if (this.#lastBatch < SMALL_BATCH) return now;
    const every = Math.min(
      COMMIT_AT_LATEST_MS,
      Math.max(COMMIT_EVERY_MS, this.#lastBatch / ROWS_PER_MS),
    );
    const pause = Math.min(PAUSE_AT_MOST_MS, this.#lastCommitMs);
    return Math.max(now, this.#lastCommitAt + Math.max(every, this.#lastCommitMs + pause));
  }

  readonly #commitSoon = (): void => {
    this.#cancelTimer = undefined;
    if (this.#scheduledFor === NEVER) return; // a reader was first
    void this.#commit(); // it answers for its own failures
  };

  async #commit(): Promise<void> {
    this.#scheduledFor = NEVER;
    if (this.#committing) return;
    this.#committing = true;
    this.#urgent = false;
    try {
      while (this.#queue.length > 0 || this.#receipts.length > 0) {
        const batch = this.#queue.length <= MAX_BATCH
          ? this.#queue
          : this.#queue.slice(0, MAX_BATCH);
        this.#queue = batch === this.#queue ? [] : this.#queue.slice(MAX_BATCH);
        for (const entry of batch) this.#queued.delete(entry.message.mid);
        const receipts = this.#receipts.splice(0, MAX_BATCH_RECEIPTS);
        const began = this.#system.clock.now();
        this.#lastCommitAt = began;
        this.#lastBatch = batch.length + receipts.length;
        if (!(await this.#commitBatch(batch, receipts))) break;
        this.#done.appends += batch.length;
        this.#done.receipts += receipts.length;
        this.#wakeReaders(false);
        this.#lastCommitMs = this.#system.clock.now() - began;
        this.#options.onCommit?.(batch.length, receipts.length, this.#lastCommitMs);
        // Under load the next batch waits its turn, so that it grows; a reader does not wait.
        if (this.#readers.length === 0 && this.#queue.length < MAX_BATCH) break;
      }
    } finally {
      this.#committing = false;
    }
    if (this.#queue.length > 0) this.#urgent = true; // some of them may be
    if (this.#queue.length > 0 || (this.#receipts.length > 0 && this.#lastBatch > 0)) {
      this.#schedule();
    }
  }

  async #commitBatch(batch: readonly Entry[], receipts: readonly Receipt[]): Promise<boolean> {
    let outcomes: AppendOutcome[];
    try {
      outcomes = await this.#port.commit(batch, receipts);
    } catch (error) {
      this.#options.onFailure(error);
      this.#failEverything(batch, receipts);
      return false;
    }
    this.#tellOutcomes(batch, outcomes);
    return true;
  }

  #tellOutcomes(batch: readonly Entry[], outcomes: readonly AppendOutcome[]): void {
    const due = this.#system.clock.now() + HINT_AFTER_MS[0];
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
        answer.pending.push(entry.n, outcome.pending.length, ...outcome.pending);
        if (this.#watched.size < MAX_WATCHED) {
          this.#watched.set(entry.message.mid, { users: [...outcome.pending], attempt: 0, due });
        }
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
    this.#queued.clear();
    // Receipts keep: they are no one's wait, and losing them would repeat deliveries.
    const kept = [...receipts, ...this.#receipts].slice(0, MAX_QUEUED_RECEIPTS);
    this.#taken.receipts -= receipts.length + this.#receipts.length - kept.length;
    this.#receipts = kept;
    this.#lastBatch = 0;
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

  /** False when nothing is known of the message. */
  #unwatch(mid: Mid, user: UserId): boolean {
    const watched = this.#watched.get(mid);
    if (watched === undefined) return false;
    watched.users = watched.users.filter((u) => u !== user);
    if (watched.users.length === 0) this.#watched.delete(mid);
    return true;
  }

  #armSweep(): void {
    this.#cancelSweep = this.#system.clock.after(HINT_SWEEP_MS, () => {
      const now = this.#system.clock.now();
      const users = new Set<UserId>();
      for (const [mid, watched] of this.#watched) {
        if (watched.due > now) continue;
        for (const user of watched.users) users.add(user);
        watched.attempt++;
        const next = HINT_AFTER_MS[watched.attempt];
        if (next === undefined) this.#watched.delete(mid);
        else watched.due = now + next;
      }
      if (users.size > 0) {
        this.#system.ref(0, "registry").tell({ type: "hints", users: [...users] });
      }
      // Receipts kept back while the database was away are tried again here.
      if (this.#receipts.length > 0) this.#schedule();
      if (!this.#stopped) this.#armSweep();
    });
  }
}

interface OutcomesDraft {
  readonly run: string;
  readonly stored: number[];
  readonly pending: number[];
  readonly others: { readonly n: number; readonly outcome: RefusedOutcome }[];
}
