/**
 * A bounded set of MySQL connections, each prepared for our use before it is handed out. No retries
 * and no deadlines: those are link.ts.
 *
 * Invariant: a connection is with one holder at a time; one that broke while idle is never given.
 */

import { deadline } from "@std/async/deadline";
import { type Connection, createConnection } from "mysql2/promise";
import { StoreUnavailable } from "../../ports.ts";

/** What is said to the server on every new connection. */
const SESSION = [
  // A retry must see what another connection has committed meanwhile, and no gaps are locked.
  "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
  // STRICT: a value that does not fit is an error, never cut. The lock-wait time-out (s) leaves
  // time for a second try. MariaDB alone can end a transaction whose client has stopped in the
  // middle of it, with its locks: /*M! is a comment to MySQL.
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', " +
  "innodb_lock_wait_timeout = 2 /*M!100301 , idle_transaction_timeout = 10 */",
];
/** Callers that may wait for a connection; each gives up at its own deadline. */
const MAX_WAITING = 10_000;
/** For the goodbye to a server that does not answer. */
const END_MS = 500;

/** Settings of the set. */
export interface ConnectionsOptions {
  /** mysql://user:password@host:port/database */
  readonly url: string;
  readonly connectMs: number;
  /** Most connections at a time. */
  readonly size: number;
  /** Further statements for every new connection. */
  readonly session?: readonly string[];
}

export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #idle: Connection[] = [];
  /** Called with a connection, or with undefined when there is room for a new one. */
  readonly #waiting: ((connection: Connection | undefined) => void)[] = [];
  /** Idle, with a holder, or being opened. */
  #count = 0;
  #closed = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** A connection; waits while all are in use. Give it back with `release` or `discard`. */
  async acquire(): Promise<Connection> {
    for (;;) {
      if (this.#closed) throw new StoreUnavailable("the store is closed");
      const idle = this.#idle.pop();
      if (idle !== undefined) return idle;
      if (this.#count < this.#options.size) return await this.#open();
      if (this.#waiting.length >= MAX_WAITING) throw new StoreUnavailable("too many calls wait");
      const { promise, resolve } = Promise.withResolvers<Connection | undefined>();
      this.#waiting.push(resolve);
      const given = await promise;
      if (given !== undefined) return given;
    }
  }

  /** Takes back a connection in good order, outside a transaction. */
  release(connection: Connection): void {
    if (this.#closed) return this.discard(connection);
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(connection);
    else next(connection);
  }

  /** Ends a connection whose state is unknown. */
  discard(connection: Connection): void {
    connection.destroy();
    this.#freed();
  }

  /** Ends what is idle; what is in use ends when it is given back. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const next of this.#waiting.splice(0)) next(undefined);
    await Promise.all(this.#idle.splice(0).map(goodbye));
  }

  async #open(): Promise<Connection> {
    this.#count++;
    let connection: Connection | undefined;
    try {
      connection = await createConnection({
        uri: this.#options.url,
        charset: "utf8mb4",
        connectTimeout: this.#options.connectMs,
        enableKeepAlive: true,
        keepAliveInitialDelay: 10_000, // ms
      });
      const opened = connection;
      connection.on("error", () => this.#broke(opened));
      for (const sql of SESSION) await connection.query(sql);
      for (const sql of this.#options.session ?? []) await connection.query(sql);
      return connection;
    } catch (error) {
      connection?.destroy();
      this.#freed();
      throw error;
    }
  }

  /** The driver says so of a connection at any time; its holder learns it from its own command. */
  #broke(connection: Connection): void {
    const at = this.#idle.indexOf(connection);
    if (at < 0) return;
    this.#idle.splice(at, 1);
    this.discard(connection);
  }

  #freed(): void {
    this.#count--;
    this.#waiting.shift()?.(undefined);
  }
}

async function goodbye(connection: Connection): Promise<void> {
  try {
    await deadline(connection.end(), END_MS);
  } catch {
    connection.destroy(); // the server is away: there is nobody to take leave of
  }
}
