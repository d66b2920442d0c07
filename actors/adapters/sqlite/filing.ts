/**
 * Moves acknowledged messages of SQLite from the commit log into the tables that they are read from:
 * in larger batches than they were committed in, sorted, and without a flush, as the log's rows go in
 * the same transaction. Cost: 4 to 6 µs a message in batches of 500 and more, 8 in batches of 50.
 *
 * Invariants: a message is in the log or in the tables, whatever is killed; it is filed once, although
 * a part of its log row's messages may be filed before the others: one that is there already, by its
 * sender and cid, is passed by, with those who wait for it.
 */

import type { DatabaseSync } from "node:sqlite";
import type { UserId } from "../../ports.ts";
import { readBlock, type RecordedMessage } from "../../record.ts";
import { CROWD } from "../crowd.ts";
import { firstIdNear, firstIdOf, SPAN, tailOf, timeOf } from "../message_id.ts";
import { int, str } from "../rows.ts";
import { CidFilter, cidHash } from "./cid_filter.ts";
import type { SqliteConversations } from "./conversations.ts";
import type { SqliteCrowds } from "./crowds.ts";
import type { SqliteMailboxes } from "./mailboxes.ts";
import type { SqlitePeople } from "./people.ts";
import type { Transaction } from "./transaction.ts";
import { Unfiled, type UnfiledMessages } from "./unfiled.ts";

/** Messages of one transaction: at most, and at least, however slow the last one was. */
const MOST_AT_ONCE = 4_000;
const LEAST_AT_ONCE = 50;
/** What is expected before anything was measured: messages filed in a ms. */
const FIRST_PER_MS = 50;
/** Messages that are filed together while nobody waits: at a start. */
const AT_START = 2_000;
/** Messages of 100 B that fit on a page with their part of the indexes; counting them takes long. */
const MESSAGES_PER_PAGE = 20;
/** Rows that are read for the filter in one part: 2 ms. */
const FILTER_PART = 1_500;

/** A row of the log. */
interface LogRow {
  readonly id: number;
  /** Number of its last message, or of the last one before it if it has none. */
  readonly last: number;
}

/** What filing works with. */
interface FilingParts {
  readonly db: DatabaseSync;
  readonly transaction: Transaction;
  /** A transaction that a crash of the machine may undo, with all after it. */
  readonly unflushed: Transaction;
  readonly people: SqlitePeople;
  readonly conversations: SqliteConversations;
  readonly mailboxes: SqliteMailboxes;
  readonly crowds: SqliteCrowds;
  readonly unfiled: UnfiledMessages;
}

/** How much is filed at once; the simulation has its own. */
export interface FilingPace {
  /** Time, ms, from any start. */
  readonly now: () => number;
  /** Messages of one transaction, at most. */
  readonly most: number;
  /** Tells this process' rows of the log from others'. */
  readonly run: number;
}

const ordinaryPace = (): FilingPace => ({
  now: () => performance.now(),
  most: MOST_AT_ONCE,
  run: crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
});

export class SqliteFiling {
  readonly filter = new CidFilter();
  readonly #parts: FilingParts;
  readonly #pace: FilingPace;
  readonly #sql;
  #next = 1;
  #rows: LogRow[] = [];
  #perMs = FIRST_PER_MS;
  /** No message of a later millisecond is in the tables; unknown: of none. */
  #latest: number | undefined;
  /** The filter cannot be built: a page of the file is damaged. */
  #isUnreadable = false;
  /** Up to here the filter has been built. */
  #filtered = -1;

  constructor(parts: FilingParts, pace = ordinaryPace()) {
    this.#parts = parts;
    this.#pace = pace;
    this.#sql = prepare(parts.db);
  }

  /** The number of the next message. */
  get next(): number {
    return this.#next;
  }

  /** Whether the filter has to be built. */
  get hasChores(): boolean {
    return !this.#isUnreadable && (this.filter.isBuilding || this.filter.isWanted);
  }

  /** Whether the log has rows, be their messages filed or not. */
  get hasRows(): boolean {
    return this.#rows.length > 0;
  }

  /** Another process has written: nothing that is remembered of the file is sure. */
  forget(): void {
    this.#latest = undefined;
    this.filter.forget();
  }

  /**
   * Adds a row to the log; call it inside a transaction.
   * @param count Messages in `records`, which have the next numbers.
   * @param receipts Pairs of a message's number and a user.
   * @returns Call it when the transaction has succeeded.
   */
  log(records: Uint8Array, count: number, receipts: readonly number[]): () => void {
    const pairs = new Uint8Array(Float64Array.from(receipts).buffer);
    const { lastInsertRowid } = this.#sql.log.run(this.#pace.run, this.#next, pairs, records);
    return () => {
      this.#next += count;
      this.#rows.push({ id: Number(lastInsertRowid), last: this.#next - 1 });
    };
  }

  /** Files what an earlier process has left in the log. */
  recover(): void {
    for (let more = true; more;) {
      more = this.#parts.transaction(() => this.#recoverSome());
    }
  }

  /** @returns Whether there may be more. */
  #recoverSome(): boolean {
    const { unfiled } = this.#parts;
    const rows: number[] = [];
    const entries = new Map<number, Unfiled>();
    const run = this.#sql.run.get()?.run ?? null;
    for (const row of this.#sql.logged.iterate(run)) {
      rows.push(int(row, "id"));
      let n = int(row, "first");
      for (const message of readBlock(bytes(row, "records"))) {
        entries.set(n, this.#recovered(message, n++));
      }
      if (entries.size >= AT_START) break;
    }
    const [first] = rows;
    if (first === undefined) return false;
    // Of later rows too: a receipt comes after its message.
    for (const row of this.#sql.loggedReceipts.iterate(run, first)) {
      const pairs = doubles(bytes(row, "receipts"));
      for (let i = 0; i + 1 < pairs.length; i += 2) {
        entries.get(pairs[i] ?? 0)?.received(pairs[i + 1] ?? 0);
      }
    }
    const all = [...entries.values()];
    for (const entry of all) {
      unfiled.add(entry);
      admit(entry, this.#parts.mailboxes);
    }
    this.#write(all);
    for (const id of rows) this.#sql.unlog.run(id);
    unfiled.filed(all);
    this.#parts.mailboxes.reset(); // what had been filed before is no longer unfiled either
    return true;
  }

  #recovered(message: RecordedMessage, n: number): Unfiled {
    const { from, cid, groupid } = message;
    const members = groupid === 0 ? undefined : this.#parts.people.membersOf(groupid) ?? NOBODY;
    return new Unfiled(message, cidHash(from, cid), n, members);
  }

  /** Files the oldest, as many as take about `ms`, one if it is 0; and does a part of the filter. */
  file(ms: number): void {
    this.#fileSome(ms);
    if (!this.hasChores) return;
    try {
      this.#filterSome();
    } catch (error) {
      // A damaged page. Without a filter each cid is looked for, and messages are filed all the same.
      this.#isUnreadable = true;
      throw error;
    }
  }

  #fileSome(ms: number): void {
    const { unfiled, unflushed } = this.#parts;
    const { most, now } = this.#pace;
    const count = Math.min(most, Math.max(LEAST_AT_ONCE, Math.floor(this.#perMs * ms)));
    const entries = unfiled.oldest(ms === 0 ? 1 : count);
    if (entries.length === 0 && this.#rows.length === 0) return;
    const last = entries.at(-1)?.n ?? this.#next - 1;
    const done = this.#rows.findIndex((row) => row.last > last);
    const rows = done === -1 ? this.#rows : this.#rows.slice(0, done);
    const start = now();
    let waiters: readonly UserId[];
    try {
      waiters = unflushed(() => {
        for (const { id } of rows) this.#sql.unlog.run(id);
        return this.#write(entries);
      });
    } catch (error) {
      this.#undo();
      throw error;
    }
    const tookMs = Math.max(0.05, now() - start);
    // Small batches say little of what a large one takes.
    if (entries.length >= LEAST_AT_ONCE) this.#perMs = (this.#perMs + entries.length / tookMs) / 2;
    this.#rows = this.#rows.slice(rows.length);
    unfiled.filed(entries);
    for (const user of waiters) this.#parts.mailboxes.filed(user);
  }

  /** Files everything. */
  fileAll(): void {
    const { unfiled } = this.#parts;
    while (unfiled.size > 0) this.file(Infinity);
  }

  #undo(): void {
    const { conversations, mailboxes, crowds } = this.#parts;
    conversations.forget();
    mailboxes.forget();
    crowds.forget();
    this.#latest = undefined;
  }

  /**
   * Writes messages and who has yet to receive them.
   * @returns Whose mailboxes have been written to.
   */
  #write(entries: readonly Unfiled[]): UserId[] {
    const { conversations } = this.#parts;
    const waiters: UserId[] = [];
    const sorted = entries.toSorted((a, b) => a.message.mid < b.message.mid ? -1 : 1);
    let bucket = -1;
    let id = 0;
    for (const entry of sorted) {
      const { message, hash } = entry;
      const { mid, cid, from, toid, groupid, ts } = message;
      const first = firstIdOf(mid);
      if (first !== bucket || id >= first + SPAN) {
        bucket = first;
        id = this.#freeId(first);
      }
      const conv = conversations.findOrAdd(from, toid, groupid);
      const [msg, extra] = message.texts();
      const { changes } = this.#sql.add
        .run(id, conv, tailOf(mid, id), from, cid, ts - timeOf(id), msg, extra);
      if (changes === 0) continue; // filed before its row had gone from the log
      this.filter.add(hash);
      this.#wait(entry, id, waiters);
      id++;
    }
    this.#parts.crowds.flush();
    return waiters;
  }

  #wait(entry: Unfiled, id: number, waiters: UserId[]): void {
    const users = entry.waiting();
    if (users.length === 0) return;
    const { from, groupid } = entry.message;
    if (isCrowd(entry)) {
      return this.#parts.crowds.add(id, groupid, users.sort((a, b) => a - b));
    }
    for (const user of users) {
      this.#sql.wait.run(user, id, groupid === 0 ? from : 0);
      waiters.push(user);
    }
  }

  /** The lowest id of a millisecond that is free, as all after it there; of a later one if it is full. */
  #freeId(first: number): number {
    for (let at = first;; at += SPAN) {
      if (this.#latest !== undefined && at > this.#latest) {
        this.#latest = at;
        return at;
      }
      const last = this.#lastId(at, at + SPAN);
      this.#latest ??= firstIdNear(this.#lastId(0, Number.MAX_SAFE_INTEGER));
      if (at > this.#latest) this.#latest = at;
      if (last < at + SPAN - 1) return last + 1;
    }
  }

  #lastId(from: number, to: number): number {
    const row = this.#sql.lastId.get(from, to);
    const last = row === undefined || row.id === null ? undefined : int(row, "id");
    return last ?? from - 1;
  }

  #filterSome(): void {
    if (!this.filter.isBuilding) {
      const row = this.#sql.pages.get();
      this.filter.begin(row === undefined ? 0 : MESSAGES_PER_PAGE * int(row, "page_count"));
      this.#filtered = -1;
    }
    let read = 0;
    for (const row of this.#sql.cids.iterate(this.#filtered, FILTER_PART)) {
      this.#filtered = int(row, "id");
      this.filter.build(cidHash(int(row, "sender"), str(row, "cid")));
      read++;
    }
    if (read < FILTER_PART) this.filter.end();
  }
}

const NOBODY: ReadonlySet<UserId> = new Set();

/**
 * Makes room in the mailboxes of those who have to wait for a new message. Members of a group whose
 * mailboxes are full do not wait: they find it in the history.
 * @returns Who waits; of a large group, by id.
 */
export function admit(entry: Unfiled, mailboxes: SqliteMailboxes): UserId[] {
  const waiting = entry.waiting();
  if (isCrowd(entry)) return waiting.sort((a, b) => a - b);
  const { from, groupid } = entry.message;
  if (groupid === 0) {
    for (const user of waiting) mailboxes.added(user, from);
    return waiting;
  }
  return waiting.filter((user) => {
    const isFull = mailboxes.isFullForGroups(user);
    if (isFull) entry.received(user);
    else mailboxes.added(user, 0);
    return !isFull;
  });
}

/** Whether a group is too large for a row a member. */
export function isCrowd({ members }: Unfiled): boolean {
  return members !== undefined && members.size > CROWD;
}

function bytes(row: Readonly<Record<string, unknown>>, column: string): Uint8Array {
  const value = row[column];
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`column ${column} holds ${typeof value}, not bytes`);
}

/** Copied, as what SQLite gives need not begin at a multiple of eight. */
function doubles(value: Uint8Array): Float64Array {
  return new Float64Array(value.slice().buffer);
}

function prepare(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  return {
    log: sql("INSERT INTO commitlog (run, first, receipts, records) VALUES (?, ?, ?, ?)"),
    run: sql("SELECT run FROM commitlog ORDER BY id LIMIT 1"),
    logged: sql("SELECT id, first, records FROM commitlog WHERE run = ? ORDER BY id"),
    loggedReceipts: sql("SELECT receipts FROM commitlog WHERE run = ? AND id >= ? ORDER BY id"),
    unlog: sql("DELETE FROM commitlog WHERE id = ?"),
    add: sql(
      `INSERT INTO message (id, conv, mid, sender, cid, ts, msg, extra)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (cid, sender) DO NOTHING`,
    ),
    wait: sql("INSERT INTO offlinemessage (userid, message, sender) VALUES (?, ?, ?)"),
    lastId: sql("SELECT MAX(id) AS id FROM message WHERE id >= ? AND id < ?"),
    pages: sql("PRAGMA page_count"),
    cids: sql(
      "SELECT id, sender, CAST(cid AS BLOB) AS cid FROM message WHERE id > ? ORDER BY id LIMIT ?",
    ),
  };
}
