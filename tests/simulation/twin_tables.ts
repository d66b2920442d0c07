/**
 * The real SQLite adapter beside the model: everything is done on both, and has to come out the same.
 * Its file is in memory and outlives the processes that have it open, as a disk does.
 */

import { assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { loadMigrations, migrateSqlite, migrationsDir } from "../../actors/adapters/migrate.ts";
import { SqliteMessages } from "../../actors/adapters/sqlite/messages.ts";
import { SqlitePeople } from "../../actors/adapters/sqlite/people.ts";
import { transactionOn } from "../../actors/adapters/sqlite/transaction.ts";
import type { AppendOutcome, Backlog, GroupId } from "../../actors/ports.ts";
import { Tables } from "./tables.ts";

/** Messages filed at once: few, so that a crash falls between them. */
const MOST_FILED = 2;

const MIGRATIONS = await loadMigrations(migrationsDir("sqlite"));

interface Real {
  readonly people: SqlitePeople;
  readonly messages: SqliteMessages;
}

/** See the module's header. */
export class TwinTables extends Tables {
  readonly #db = new DatabaseSync(":memory:");
  readonly #clock: () => number;
  #runs = 0;
  #real: Real;

  constructor(now: () => number) {
    super(now);
    this.#clock = now;
    migrateSqlite(this.#db, MIGRATIONS);
    this.#real = this.#open();
  }

  /** A process opens the file, after it was made or the one before has died. */
  reopen(): void {
    this.#real = this.#open();
  }

  #open(): Real {
    const transaction = transactionOn(this.#db);
    const people = new SqlitePeople(this.#db, transaction, this.#clock);
    const pace = { now: this.#clock, most: MOST_FILED, run: ++this.#runs };
    const messages = new SqliteMessages(this.#db, people, transaction, 0, pace);
    messages.recover();
    return { people, messages };
  }

  backlog(): Backlog {
    return this.#real.messages.backlog();
  }

  file(): void {
    this.#real.messages.file(1);
  }

  #same<T>(model: T, real: unknown, what: string): T {
    assertEquals<unknown>(real, model, `SQLite differs from the model: ${what}`);
    return model;
  }

  override commit(...args: Parameters<Tables["commit"]>): AppendOutcome[] {
    const [appends, receipts] = args;
    const model = super.commit(appends, receipts);
    this.#same(
      model.map(sorted),
      this.#real.messages.commit(appends, receipts).map(sorted),
      "commit",
    );
    return model;
  }

  override pending(...args: Parameters<Tables["pending"]>) {
    return this.#same(
      super.pending(...args),
      this.#real.messages.pending(...args),
      "pending",
    );
  }

  override lastMid(...args: Parameters<Tables["lastMid"]>) {
    return this.#same(super.lastMid(...args), this.#real.messages.lastMid(...args), "lastMid");
  }

  override historyWith(...args: Parameters<Tables["historyWith"]>) {
    const real = this.#real.messages.historyWith(...args);
    return this.#same(super.historyWith(...args), real, "historyWith");
  }

  override historyOf(...args: Parameters<Tables["historyOf"]>) {
    const real = this.#real.messages.historyOf(...args);
    return this.#same(super.historyOf(...args), real, "historyOf");
  }

  override register(...args: Parameters<Tables["register"]>) {
    return this.#same(super.register(...args), this.#real.people.register(...args), "register");
  }

  override setHash(...args: Parameters<Tables["setHash"]>): void {
    super.setHash(...args);
    this.#real.people.setHash(...args);
  }

  override deleteUser(...args: Parameters<Tables["deleteUser"]>) {
    this.#real.messages.fileAll();
    const real = this.#real.people.deleteUser(...args);
    this.#real.messages.mailboxGone();
    return this.#same(super.deleteUser(...args), real, "deleteUser");
  }

  override createGroup(...args: Parameters<Tables["createGroup"]>) {
    const real = this.#real.people.createGroup(...args);
    return this.#same(super.createGroup(...args), real, "createGroup");
  }

  override joinGroup(...args: Parameters<Tables["joinGroup"]>) {
    const [user, group, most, mostGroups] = args;
    const file = (id: GroupId) => this.#real.messages.fileGroup(id);
    this.#real.people.joinGroup(user, group, most, mostGroups, file);
    return super.joinGroup(...args);
  }
}

function sorted(outcome: AppendOutcome): AppendOutcome {
  if (outcome.status !== "stored") return outcome;
  return { status: "stored", pending: outcome.pending.toSorted((a, b) => a - b) };
}
