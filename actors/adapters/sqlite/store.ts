/**
 * StorePort on one SQLite file, through node:sqlite. No network, no thread: every call does its
 * work before it returns, so whoever must not stall runs this in a thread of its own.
 *
 * Invariant: what a call has resolved is on disk (WAL with synchronous=FULL).
 * Source: design of the tables in sql/sqlite/, the contract in actors/ports.ts.
 */

import { DatabaseSync } from "node:sqlite";
import { type Backlog, type StorePort, StoreUnavailable, type UpkeepPort } from "../../ports.ts";
import {
  loadMigrations,
  messageOf,
  migrateSqlite,
  type Migration,
  migrationsDir,
  SchemaMismatch,
} from "../migrate.ts";
import { SqliteMessages } from "./messages.ts";
import { SqlitePeople } from "./people.ts";
import { setDurable, transactionOn } from "./transaction.ts";
import { SqliteUpkeep } from "./upkeep.ts";

/** What may be changed for tests. */
export interface SqliteOptions {
  /** How long another process may hold the file, ms. @default 5000 */
  readonly busyMs?: number;
  /** Messages that may wait for one user; 0: no limit. @default 0 */
  readonly maxPending?: number;
  /** @default those in sql/sqlite/ */
  readonly migrations?: readonly Migration[];
}

const BUSY_MS = 5_000;
const CACHE_KIB = 64 * 1_024;

/** SQLite's primary result codes for a database that cannot be used right now. */
const UNAVAILABLE = new Map([
  [5, "another process holds it"], // BUSY
  [6, "it is locked"], // LOCKED
  [8, "it is read-only"], // READONLY
  [10, "reading or writing the disk failed"], // IOERR
  [13, "the disk is full"], // FULL
  [14, "it cannot be opened"], // CANTOPEN
]);

/** SQLite's primary result codes for a file that is not what was written to it. */
const DAMAGED = new Set([11, 26]); // CORRUPT, NOTADB

/** What to do about an error at opening, by a part of SQLite's own text (exec gives no code). */
const REMEDIES: readonly (readonly [text: string, remedy: string])[] = [
  ["locked", "another process uses it: stop that one first"],
  ["not a database", "give another path, or restore a backup"],
  ["malformed", "it is damaged: restore a backup"],
  ["unable to open", "check that its directory exists and may be written to"],
  ["readonly", "check that it and its directory may be written to"],
  ["full", "make room on the disk"],
  ["disk I/O", "make room on the disk, or look for one that fails"],
];

/**
 * Opens a database file, creates it if there is none, and brings it to this program's schema.
 *
 * @param path A file in a directory that exists, or ":memory:".
 * @throws {SchemaMismatch} When the file is from a newer version or a migration was changed.
 * @throws {Error} When it cannot be opened or is damaged; one sentence with path and remedy.
 */
export async function openSqlite(
  path: string,
  options: SqliteOptions = {},
): Promise<StorePort & UpkeepPort> {
  const migrations = options.migrations ?? await loadMigrations(migrationsDir("sqlite"));
  let db: DatabaseSync | undefined;
  try {
    if (path !== ":memory:") await createPrivate(path);
    db = new DatabaseSync(path, { timeout: options.busyMs ?? BUSY_MS });
    setDurable(db);
    migrateSqlite(db, migrations);
    const store = storeOn(db, options.maxPending);
    await store.probe("opened");
    return store;
  } catch (cause) {
    db?.close();
    if (cause instanceof SchemaMismatch) throw cause;
    const text = messageOf(cause);
    const remedy = REMEDIES.find(([part]) => text.includes(part))?.[1];
    const advice = remedy === undefined ? "" : `; ${remedy}`;
    throw new Error(`cannot open the database ${path}: ${text}${advice}`, { cause });
  }
}

/**
 * A store on a database that has this program's schema. It closes the database when it is closed.
 *
 * @param maxPending Messages that may wait for one user; 0: no limit. @default 0
 */
export function storeOn(db: DatabaseSync, maxPending = 0): StorePort & UpkeepPort {
  db.exec("PRAGMA foreign_keys = ON");
  db.exec(`PRAGMA cache_size = -${CACHE_KIB}`);
  const store = new SqliteStore(db, maxPending);
  // What cannot be written to or read is found out here, where the remedy is told.
  db.prepare("SELECT value FROM secret").all();
  store.recover();
  return store;
}

/** Hashes and the tokens' key are for the node's user alone; SQLite's other files follow this one. */
async function createPrivate(path: string): Promise<void> {
  try {
    (await Deno.open(path, { create: true, write: true, mode: 0o600 })).close();
  } catch { // opening it says what is wrong, with the remedy
  }
}

class SqliteStore implements StorePort, UpkeepPort {
  readonly #db: DatabaseSync;
  readonly #messages: SqliteMessages;
  readonly #people: SqlitePeople;
  readonly #upkeep: SqliteUpkeep;
  #open = true;
  /** What told that the file is damaged. It stays so, whatever else can still be read. */
  #damage: unknown;

  constructor(db: DatabaseSync, maxPending: number) {
    this.#db = db;
    const transaction = transactionOn(db);
    this.#people = new SqlitePeople(db, transaction);
    this.#upkeep = new SqliteUpkeep(db, transaction);
    this.#messages = new SqliteMessages(db, this.#people, transaction, maxPending);
  }

  /** Before anything else. */
  recover(): void {
    this.#messages.recover();
  }

  commit: StorePort["commit"] = (appends, receipts) =>
    this.#run(() => this.#messages.commit(appends, receipts));

  backlog = (): Backlog => this.#messages.backlog();

  file = (ms: number): Promise<void> => this.#run(() => this.#messages.file(ms));

  pending: StorePort["pending"] = (user, after, limit) =>
    this.#run(() => this.#messages.pending(user, after, limit));

  lastMid: StorePort["lastMid"] = (from, toid, groupid) =>
    this.#run(() => this.#messages.lastMid(from, toid, groupid));

  historyWith: StorePort["historyWith"] = (user, peer, before, limit) =>
    this.#run(() => this.#messages.historyWith(user, peer, before, limit));

  historyOf: StorePort["historyOf"] = (user, groupid, before, limit) =>
    this.#run(() => this.#messages.historyOf(user, groupid, before, limit));

  register: StorePort["register"] = (name, hash) =>
    this.#run(() => this.#people.register(name, hash));

  userById: StorePort["userById"] = (id) => this.#run(() => this.#people.userById(id));

  userByName: StorePort["userByName"] = (name) => this.#run(() => this.#people.userByName(name));

  setHash: StorePort["setHash"] = (id, hash, expected) =>
    this.#run(() => this.#people.setHash(id, hash, expected));

  changePassword: StorePort["changePassword"] = (id, hash, renewed) =>
    this.#run(() => this.#people.changePassword(id, hash, renewed));

  deleteUser: StorePort["deleteUser"] = (id) =>
    this.#run(() => {
      // What waits for the user, filed or not, goes with the account.
      this.#messages.fileAll();
      const groups = this.#people.deleteUser(id);
      this.#messages.mailboxGone();
      return groups;
    });

  contacts: StorePort["contacts"] = (user) => this.#run(() => this.#people.contacts(user));

  addFriend: StorePort["addFriend"] = (user, friend, most) =>
    this.#run(() => this.#people.addFriend(user, friend, most));

  removeFriend: StorePort["removeFriend"] = (user, friend) =>
    this.#run(() => this.#people.removeFriend(user, friend));

  createGroup: StorePort["createGroup"] = (...args) =>
    this.#run(() => this.#people.createGroup(...args));

  joinGroup: StorePort["joinGroup"] = (...args) =>
    this.#run(() => this.#people.joinGroup(...args, (group) => this.#messages.fileGroup(group)));

  group: StorePort["group"] = (id) => this.#run(() => this.#people.group(id));

  saveToken: StorePort["saveToken"] = (tokenId, user, expires, device, most) =>
    this.#run(() => this.#people.saveToken(tokenId, user, expires, device, most));

  noteOrigins: StorePort["noteOrigins"] = (user, origins, now) =>
    this.#run(() => this.#people.noteOrigins(user, origins, now));

  knownOrigins: StorePort["knownOrigins"] = (user, origins) =>
    this.#run(() => this.#people.knownOrigins(user, origins));

  tokenOwner: StorePort["tokenOwner"] = (tokenId, now, device) =>
    this.#run(() => this.#people.tokenOwner(tokenId, now, device));

  revokeToken: StorePort["revokeToken"] = (user, tokenId) =>
    this.#run(() => this.#people.revokeToken(user, tokenId));

  secret: StorePort["secret"] = (name, fresh) => this.#run(() => this.#people.secret(name, fresh));

  probe: UpkeepPort["probe"] = (value) =>
    this.#run(() => {
      if (this.#damage === undefined) return this.#upkeep.probe(value);
      const text = `the database is damaged: ${messageOf(this.#damage)}; restore a backup`;
      throw new StoreUnavailable(text, { cause: this.#damage });
    });

  trace: UpkeepPort["trace"] = (mid) => this.#run(() => this.#messages.trace(mid));

  waiting: UpkeepPort["waiting"] = (user) => this.#run(() => this.#messages.waiting(user));

  prune: UpkeepPort["prune"] = (after, before, limit) =>
    this.#run(() => {
      this.#messages.fileBefore(before);
      const pruned = this.#upkeep.prune(after, before, limit);
      if (pruned.removed > 0) this.#messages.pruned();
      return pruned;
    });

  close(): Promise<void> {
    if (this.#open) {
      this.#open = false;
      try {
        this.#messages.fileAll();
      } catch { // it stays in the log, and is filed at the next start
      }
      this.#db.close(); // copies the WAL into the file
    }
    return Promise.resolve();
  }

  /** Does the work now; what it throws becomes a rejection. */
  #run<T>(work: () => T): Promise<T> {
    if (!this.#open) return Promise.reject(new StoreUnavailable("the store is closed"));
    try {
      return Promise.resolve(work());
    } catch (cause) {
      const code = resultCode(cause);
      if (code !== undefined && DAMAGED.has(code)) this.#damage ??= cause;
      if (code === undefined || !UNAVAILABLE.has(code)) return Promise.reject(cause);
      return Promise.reject(
        new StoreUnavailable(`the database refused: ${reasonOf(cause)}`, { cause }),
      );
    }
  }
}

/** Primary result code of a SQLite error, undefined for any other error. */
function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error)) return undefined;
  return typeof error.errcode === "number" ? error.errcode & 0xff : undefined;
}

function reasonOf(error: unknown): string {
  const code = resultCode(error);
  const text = messageOf(error);
  const reason = code === undefined ? undefined : UNAVAILABLE.get(code);
  return reason === undefined ? text : `${reason} (${text})`;
}
