/**
 * StorePort on MySQL 8 or MariaDB 10.6 and later, which any number of nodes share.
 *
 * Invariant: what a call has resolved is committed; with innodb_flush_log_at_trx_commit=1, the
 * servers' default, it is on disk. Every call ends within `totalMs`.
 * Source: the tables in sql/mysql/, the contract in actors/ports.ts.
 */

import { type StorePort, StoreUnavailable, type UpkeepPort } from "../../ports.ts";
import { loadMigrations, type Migration, migrationsDir } from "../migrate.ts";
import { MysqlArrivals } from "./arrivals.ts";
import { Connections } from "./connections.ts";
import { MysqlCrowds } from "./crowds.ts";
import { MysqlLink } from "./link.ts";
import { migrateMysql } from "./migrate.ts";
import { MysqlMessages } from "./messages.ts";
import { MysqlPeople } from "./people.ts";
import { MysqlUpkeep } from "./upkeep.ts";

/** What may be changed. */
export interface MysqlOptions {
  /** Longest time of one call, retries included, ms. @default 5000 */
  readonly totalMs?: number;
  /** Connections for everything but commits, which have one of their own. @default 4 */
  readonly poolSize?: number;
  /** Messages that may wait for one user, about; 0: no limit. @default 0 */
  readonly maxPending?: number;
  /** @default those in sql/mysql/ */
  readonly migrations?: readonly Migration[];
}

const TOTAL_MS = 5_000;
const POOL_SIZE = 4;

/**
 * Connects to a database and brings it to this program's schema.
 *
 * @param url mysql://user:password@host:port/database; the database exists.
 * @throws {SchemaMismatch} When it is from a newer version or a migration was changed.
 * @throws {StoreUnavailable} When it cannot be reached or refuses us; one sentence, no password.
 */
export async function openMysql(
  url: string,
  options: MysqlOptions = {},
): Promise<StorePort & UpkeepPort> {
  const { host, pathname } = parse(url);
  const migrations = options.migrations ?? await loadMigrations(migrationsDir("mysql"));
  const totalMs = options.totalMs ?? TOTAL_MS;
  // A migration may take as long as it takes, so it is not the link's.
  const connections = new Connections({ url, connectMs: totalMs, size: 1 });
  try {
    const connection = await connections.acquire();
    try {
      await migrateMysql(connection, migrations);
    } finally {
      connections.release(connection);
    }
  } catch (cause) {
    if (!(cause instanceof Error) || !("code" in cause)) throw cause;
    throw new StoreUnavailable(
      `cannot use the MySQL database ${pathname.slice(1)} on ${host}: ${cause.message}; check ` +
        "its URL, and that the server runs and admits this user",
      { cause },
    );
  } finally {
    await connections.close();
  }
  return new MysqlStore(
    new MysqlLink(url, { totalMs, poolSize: options.poolSize ?? POOL_SIZE }),
    options.maxPending ?? 0,
  );
}

function parse(url: string): URL {
  const parsed = URL.parse(url);
  if (parsed?.protocol !== "mysql:" || parsed.pathname.length < 2) {
    throw new Error("a MySQL URL looks like mysql://user:password@host:3306/database");
  }
  return parsed;
}

class MysqlStore implements StorePort, UpkeepPort {
  readonly #link: MysqlLink;
  readonly #messages: MysqlMessages;
  readonly #people: MysqlPeople;
  readonly #arrivals: MysqlArrivals;
  readonly #upkeep: MysqlUpkeep;

  constructor(link: MysqlLink, maxPending: number) {
    this.#link = link;
    const crowds = new MysqlCrowds();
    this.#messages = new MysqlMessages(link, maxPending, crowds);
    this.#people = new MysqlPeople(link);
    this.#arrivals = new MysqlArrivals(link);
    this.#upkeep = new MysqlUpkeep(link, crowds);
  }

  commit: StorePort["commit"] = (appends, receipts) => this.#messages.commit(appends, receipts);

  pending: StorePort["pending"] = async (user, after, limit) => {
    const waiting = after === "" ? await this.#arrivals.waiting(user) : undefined;
    const own = waiting?.slice(0, limit) ?? await this.#messages.pending(user, after, limit);
    const crowd = await this.#messages.pendingInCrowds(user, after, limit);
    if (crowd.length === 0) return own;
    return [...own, ...crowd].sort((a, b) => a.mid < b.mid ? -1 : 1).slice(0, limit);
  };

  lastMid: StorePort["lastMid"] = (from, toid, groupid) =>
    this.#messages.lastMid(from, toid, groupid);

  historyWith: StorePort["historyWith"] = (user, peer, before, limit) =>
    this.#messages.historyWith(user, peer, before, limit);

  historyOf: StorePort["historyOf"] = (user, groupid, before, limit) =>
    this.#messages.historyOf(user, groupid, before, limit);

  register: StorePort["register"] = (name, hash) => this.#people.register(name, hash);

  userById: StorePort["userById"] = (id) => this.#people.userById(id);

  userByName: StorePort["userByName"] = (name) => this.#people.userByName(name);

  setHash: StorePort["setHash"] = (id, hash, expected) => this.#people.setHash(id, hash, expected);

  changePassword: StorePort["changePassword"] = (id, hash, renewed) =>
    this.#people.changePassword(id, hash, renewed);

  deleteUser: StorePort["deleteUser"] = async (id) => {
    const groups = await this.#people.deleteUser(id);
    this.#messages.forget();
    return groups;
  };

  contacts: StorePort["contacts"] = (user) => this.#arrivals.contacts(user);

  addFriend: StorePort["addFriend"] = (user, friend, most) =>
    this.#people.addFriend(user, friend, most);

  removeFriend: StorePort["removeFriend"] = (user, friend) =>
    this.#people.removeFriend(user, friend);
  createGroup: StorePort["createGroup"] = (...args) => this.#people.createGroup(...args);

  joinGroup: StorePort["joinGroup"] = (...args) => this.#people.joinGroup(...args);

  group: StorePort["group"] = (id) => this.#people.group(id);

  saveToken: StorePort["saveToken"] = (tokenId, user, expires, device, most) =>
    this.#people.saveToken(tokenId, user, expires, device, most);

  noteOrigins: StorePort["noteOrigins"] = (user, origins, now) =>
    this.#people.noteOrigins(user, origins, now);

  knownOrigins: StorePort["knownOrigins"] = (user, origins) =>
    this.#people.knownOrigins(user, origins);

  tokenOwner: StorePort["tokenOwner"] = (tokenId, now, device) =>
    this.#arrivals.tokenOwner(tokenId, now, device);

  revokeToken: StorePort["revokeToken"] = (user, tokenId) =>
    this.#people.revokeToken(user, tokenId);

  secret: StorePort["secret"] = (name, fresh) => this.#people.secret(name, fresh);

  probe: UpkeepPort["probe"] = (value) => this.#upkeep.probe(value);

  trace: UpkeepPort["trace"] = (mid) => this.#upkeep.trace(mid);

  waiting: UpkeepPort["waiting"] = (user) => this.#upkeep.waiting(user);

  prune: UpkeepPort["prune"] = (after, before, limit) => this.#upkeep.prune(after, before, limit);

  close(): Promise<void> {
    return this.#link.close();
  }
}
