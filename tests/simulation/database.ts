/**
 * The simulated database that all nodes share, and a store thread's connection to it. A write goes
 * through steps, each an event of its own: it arrives, is written (others see it), is durable, is
 * answered. A crash may fall between any two.
 *
 * Invariant: what is durable survives; of what is only written, a crash of the database loses the
 * latest part, never something earlier (one log, as in InnoDB and SQLite).
 */

import { type StorePort, StoreUnavailable } from "../../actors/ports.ts";
import type { Random } from "./random.ts";
import { NOBODY, type Scheduler } from "./scheduler.ts";
import { Tables, type Undo } from "./tables.ts";
import { TwinTables } from "./twin_tables.ts";
import type { SimThread } from "./thread.ts";
import type { Trace } from "./trace.ts";

/** Faults of the database; change them at any time. */
export interface DatabaseFaults {
  /** Probability that a write is done but its answer is lost. */
  loseAnswer: number;
  /** Probability that a call is refused and nothing is done. */
  refuse: number;
  /** Acknowledges a commit before it is written: a defect that the checks must notice. */
  answerFirst: boolean;
}

/** What a database needs. */
export interface DatabaseParts {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly trace: Trace;
  /** Time of one step, ms. */
  readonly latency: () => number;
  /** The only node's own SQLite, with its commit log, instead of a server that nodes share. */
  readonly embedded?: boolean;
}

/** How long an adapter waits for an answer, ms: as that of MySQL. */
const CALL_MS = 5_000;
/** Longest time until a connection notices that the database has crashed, ms. */
const NOTICE_MS = 2_000;

/** See the module's header. */
export class Database {
  readonly tables: Tables;
  /** The same as `tables` when it is embedded. */
  readonly twin: TwinTables | undefined;
  readonly faults: DatabaseFaults = { loseAnswer: 0, refuse: 0, answerFirst: false };
  readonly parts: DatabaseParts;
  down = false;
  /** Until then it takes calls and does nothing with them: a stuck disk, a lock. */
  stuckUntil = 0;
  /** Calls without an answer. */
  readonly inHand = new Set<{ fail(why: string): void }>();
  /** Counts crashes: what was in hand at an earlier one is lost. */
  life = 0;
  /** Written, not durable, oldest first. */
  #volatile: { readonly lsn: number; readonly undo: readonly Undo[] }[] = [];
  #lsn = 0;
  #durableAt = 0;

  constructor(parts: DatabaseParts) {
    this.parts = parts;
    const now = () => parts.scheduler.now;
    this.twin = parts.embedded === true ? new TwinTables(now) : undefined;
    this.tables = this.twin ?? new Tables(now);
  }

  /** A connection for one store thread. */
  connect(thread: SimThread): DatabaseConnection {
    this.twin?.reopen();
    return new DatabaseConnection(this, thread);
  }

  /** Writes that a crash would lose. */
  get volatile(): number {
    return this.#volatile.length;
  }

  /** Away from now on; what is not durable is lost. Embedded it is away, and crashes with its node. */
  crash(): void {
    this.down = true;
    if (this.twin !== undefined) return;
    this.life++;
    const { scheduler, random } = this.parts;
    for (const call of this.inHand) {
      scheduler.at(random.between(0, NOTICE_MS), NOBODY, "db:lost", () => call.fail("it crashed"));
    }
    for (const { undo } of this.#volatile.reverse()) {
      for (const each of undo.toReversed()) each();
    }
    this.#volatile = [];
  }

  /** Does a write's work; returns its result and its place in the log. */
  write<T>(work: () => T): { result: T; lsn: number } {
    const { result, undo } = this.tables.transaction(work);
    const lsn = ++this.#lsn;
    this.#volatile.push({ lsn, undo });
    return { result, lsn };
  }

  /** Everything up to `lsn` is on disk. */
  harden(lsn: number): void {
    while ((this.#volatile[0]?.lsn ?? Infinity) <= lsn) this.#volatile.shift();
  }

  /** When what is written now is flushed: flushes keep their order. */
  nextFlush(): number {
    const { scheduler, latency } = this.parts;
    return this.#durableAt = Math.max(this.#durableAt, scheduler.now + latency());
  }
}

/** What one store thread has in hand at the database. */
export class DatabaseConnection implements StorePort {
  readonly #db: Database;
  readonly #thread: SimThread;
  /** Once its thread is dead: whether what it had sent is still done. */
  #orphansRun: boolean | undefined;
  #closed = false;

  readonly backlog: StorePort["backlog"];
  readonly file: StorePort["file"];

  constructor(db: Database, thread: SimThread) {
    this.#db = db;
    this.#thread = thread;
    const { twin } = db;
    if (twin === undefined) return;
    this.backlog = () => twin.backlog();
    this.file = () => this.#write("file", () => twin.file());
  }

  /** Its thread has died. */
  orphan(): void {
    this.#orphansRun ??= this.#db.twin === undefined && this.#db.parts.random.chance(0.5);
  }

  commit: StorePort["commit"] = (appends, receipts) =>
    this.#write(
      `commit ${appends.map((a) => a.message.msg)} receipts ${receipts.length}`,
      () => this.#db.tables.commit(appends, receipts),
    );

  register: StorePort["register"] = (name, hash) =>
    this.#write("register", () => this.#db.tables.register(name, hash));
  setHash: StorePort["setHash"] = (id, hash, expected) =>
    this.#write("setHash", () => this.#db.tables.setHash(id, hash, expected));
  changePassword: StorePort["changePassword"] = (id, hash, renewed) =>
    this.#write("changePassword", () => this.#db.tables.changePassword(id, hash, renewed));
  deleteUser: StorePort["deleteUser"] = (id) =>
    this.#write("deleteUser", () => this.#db.tables.deleteUser(id));
  addFriend: StorePort["addFriend"] = (user, friend, most) =>
    this.#write("addFriend", () => this.#db.tables.addFriend(user, friend, most));
  removeFriend: StorePort["removeFriend"] = (user, friend) =>
    this.#write("removeFriend", () => this.#db.tables.removeFriend(user, friend));
  createGroup: StorePort["createGroup"] = (...args) =>
    this.#write("createGroup", () => this.#db.tables.createGroup(...args));
  joinGroup: StorePort["joinGroup"] = (...args) =>
    this.#write("joinGroup", () => this.#db.tables.joinGroup(...args));
  saveToken: StorePort["saveToken"] = (...args) =>
    this.#write("saveToken", () => this.#db.tables.saveToken(...args));
  noteOrigins: StorePort["noteOrigins"] = (user, origins, now) =>
    this.#write("noteOrigins", () => this.#db.tables.noteOrigins(user, origins, now));
  knownOrigins: StorePort["knownOrigins"] = (user, origins) =>
    this.#read("knownOrigins", () => this.#db.tables.knownOrigins(user, origins));
  revokeToken: StorePort["revokeToken"] = (user, tokenId) =>
    this.#write("revokeToken", () => this.#db.tables.revokeToken(user, tokenId));
  secret: StorePort["secret"] = (name, fresh) =>
    this.#write("secret", () => this.#db.tables.secret(name, fresh));

  pending: StorePort["pending"] = (user, after, limit) =>
    this.#read(`pending ${user}`, () => this.#db.tables.pending(user, after, limit));
  lastMid: StorePort["lastMid"] = (from, toid, groupid) =>
    this.#read("lastMid", () => this.#db.tables.lastMid(from, toid, groupid));
  historyWith: StorePort["historyWith"] = (user, peer, before, limit) =>
    this.#read("history", () => this.#db.tables.historyWith(user, peer, before, limit));
  historyOf: StorePort["historyOf"] = (user, groupid, before, limit) =>
    this.#read("history", () => this.#db.tables.historyOf(user, groupid, before, limit));
  userById: StorePort["userById"] = (id) =>
    this.#read("userById", () => this.#db.tables.userById(id));
  userByName: StorePort["userByName"] = (name) =>
    this.#read("userByName", () => this.#db.tables.userByName(name));
  contacts: StorePort["contacts"] = (user) =>
    this.#read("contacts", () => this.#db.tables.contacts(user));
  group: StorePort["group"] = (id) => this.#read("group", () => this.#db.tables.group(id));
  tokenOwner: StorePort["tokenOwner"] = (tokenId, now, device) =>
    this.#read("tokenOwner", () => this.#db.tables.tokenOwner(tokenId, now, device));

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  #read<T>(what: string, work: () => T): Promise<T> {
    return this.#call(what, (call) => {
      const result = work();
      if (Array.isArray(result)) this.#note(`${what}: ${result.length} rows`);
      call.answer(() => call.resolve(result));
    });
  }

  #write<T>(what: string, work: () => T): Promise<T> {
    const { parts, faults, tables } = this.#db;
    const { scheduler, random } = parts;
    return this.#call(what, (call) => {
      if (faults.answerFirst && what.startsWith("commit")) {
        const { result, undo } = tables.transaction(work);
        for (const each of undo.toReversed()) each();
        call.answer(() => call.resolve(result));
        scheduler.at(random.between(5, 100), this.#thread, "db:late", () => {
          if (this.#db.down) return;
          const { lsn } = this.#db.write(work);
          const { life } = this.#db;
          scheduler.atTime(this.#db.nextFlush(), NOBODY, "db:durable", () => {
            if (life === this.#db.life) this.#db.harden(lsn);
          });
        });
        return;
      }
      let done: { result: T; lsn: number };
      try {
        done = this.#db.write(work);
      } catch (error) {
        return call.answer(() => call.reject(error));
      }
      const { result, lsn } = done;
      this.#note(`${what}: written`);
      const { life } = this.#db;
      const step = what === "file" ? "db:filed" : "db:durable";
      scheduler.atTime(this.#db.nextFlush(), NOBODY, step, () => {
        if (life !== this.#db.life) return;
        this.#db.harden(lsn);
        if (random.chance(faults.loseAnswer)) call.fail("the answer was lost");
        else call.answer(() => call.resolve(result));
      }, this.#thread);
    });
  }

  #call<T>(what: string, arrive: (call: Call<T>) => void): Promise<T> {
    if (this.#closed) return Promise.reject(new StoreUnavailable("the store is closed"));
    const { scheduler, random, latency } = this.#db.parts;
    const thread = this.#thread;
    return new Promise<T>((resolve, reject) => {
      const { life, inHand } = this.#db;
      const call: Call<T> = {
        resolve,
        reject,
        answer(settle) {
          if (inHand.delete(call)) scheduler.at(latency(), thread, "db:answer", settle);
        },
        fail: (why) => {
          this.#note(`${what}: ${why}`);
          call.answer(() => reject(new StoreUnavailable(why)));
        },
      };
      inHand.add(call);
      const reach = () => {
        const stuckMs = this.#db.stuckUntil - scheduler.now;
        if (stuckMs > CALL_MS) {
          scheduler.at(CALL_MS, NOBODY, "db:lost", () => call.fail("no answer in time"));
          return;
        }
        if (stuckMs > 0) {
          scheduler.at(stuckMs, NOBODY, "db:arrive", reach, thread);
          return;
        }
        if (!thread.alive && this.#orphansRun !== true) {
          inHand.delete(call);
          return;
        }
        const { down, faults } = this.#db;
        if (down || life !== this.#db.life) call.fail("the database is away");
        else if (random.chance(faults.refuse)) call.fail("refused");
        else arrive(call);
      };
      scheduler.at(latency(), NOBODY, "db:arrive", reach, thread);
    });
  }

  #note(text: string): void {
    const { trace } = this.#db.parts;
    if (trace.on) trace.note(`db ${this.#thread.name}`, text);
  }
}

interface Call<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
  /** Once: `settle` runs on the caller's thread, if it lives. */
  answer(settle: () => void): void;
  /** Answers with StoreUnavailable. */
  fail(why: string): void;
}
