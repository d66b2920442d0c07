/**
 * The way to one MySQL or MariaDB: a pool, one more connection for the commits, and the rule for
 * what is tried again. No tables and no statements of the application.
 *
 * Invariant: every call ends within `totalMs`, whatever the server does; a connection that took
 * part in a failure of unknown outcome is never used again.
 */

import { delay } from "@std/async/delay";
import type { Connection, ResultSetHeader, RowDataPacket } from "mysql2/promise";
import { StoreTooSlow, StoreUnavailable } from "../../ports.ts";
import { Connections } from "./connections.ts";
import type { Row } from "../rows.ts";

/** What a statement's placeholder takes. */
export type Param = string | number | null;

/**
 * What a caller does with a connection. It may run several times; `again` is set when an earlier
 * run's outcome is unknown: what it finds in the database may be its own.
 */
export type Work<T> = (connection: Connection, again: boolean) => Promise<T>;

/** Settings of a link. */
export interface LinkOptions {
  /** Longest time of one call, retries included, ms. */
  readonly totalMs: number;
  /** Connections in the pool; there is one more, for commits. */
  readonly poolSize: number;
}

/** First pause before another attempt, ms; doubled each time, and jittered over its whole length. */
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 300;

/** Server errors after which the same connection may try again. */
const AGAIN = new Set([
  1205, // lock-wait time-out
  1213, // deadlock
]);
/** Server errors that end or spoil the connection, or that a new one may not meet. */
const LOST = new Set([
  1021, // disk full
  1030, // error of the storage engine, a full disk too
  1040, // too many connections
  1053, // server shuts down
  1077, // server shut down normally
  1114, // table full, which is the disk
  1152, // connection aborted
  1203, // too many connections of this user
  1290, // read-only while another server takes over
  1317, // query interrupted
  1836, // read-only
  1927, // connection was killed
  1969, // statement took too long (MariaDB)
  3024, // statement took too long (MySQL)
  3169, // session was killed
  4031, // closed after being idle
]);
/** Refused at the door: no use to try again at once. */
const REFUSED = new Set([
  1044, // access to the database denied
  1045, // access denied
  1049, // unknown database
  1129, // host blocked
  1130, // host not allowed
  1698, // access denied to an account without password
]);

/** The server did not answer within the time that the call had left. */
class Expired extends Error {
  override readonly name = "Expired";
}

export class MysqlLink {
  readonly #totalMs: number;
  readonly #pool: Connections;
  readonly #committer: Connections;
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  /** @param url mysql://user:password@host:port/database; connects at the first call. */
  constructor(url: string, { totalMs, poolSize }: LinkOptions) {
    this.#totalMs = totalMs;
    this.#pool = new Connections({ url, connectMs: totalMs, size: poolSize });
    this.#committer = new Connections({
      url,
      connectMs: totalMs,
      size: 1,
      session: ["SET SESSION autocommit = 0"], // saves a BEGIN for every commit
    });
  }

  /** Rows of one statement. */
  rows(sql: string, params: readonly Param[]): Promise<Row[]> {
    return this.#run(this.#pool, (connection) => rows(connection, sql, params));
  }

  /** Runs one statement that may safely run twice. */
  change(sql: string, params: readonly Param[]): Promise<ResultSetHeader> {
    return this.#run(this.#pool, (connection) => change(connection, sql, params));
  }

  /** Several statements on one connection, without a transaction. */
  session<T>(work: Work<T>): Promise<T> {
    return this.#run(this.#pool, work);
  }

  /** A transaction on a connection of the pool. */
  transaction<T>(work: Work<T>): Promise<T> {
    return this.#run(this.#pool, async (connection, again) => {
      await connection.query("START TRANSACTION");
      const result = await work(connection, again);
      await connection.query("COMMIT");
      return result;
    });
  }

  /** The same on the connection for commits. */
  commit<T>(work: Work<T>): Promise<T> {
    return this.#run(this.#committer, async (connection, again) => {
      const result = await work(connection, again);
      await connection.query("COMMIT");
      return result;
    });
  }

  /** Lets what runs finish, within `totalMs`, then closes every connection. Later calls reject. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#running);
    await Promise.all([this.#pool.close(), this.#committer.close()]);
  }

  async #run<T>(source: Connections, work: Work<T>): Promise<T> {
    if (this.#closed) throw new StoreUnavailable("the store is closed");
    const call = this.#attempts(source, work);
    this.#running.add(call);
    try {
      return await call;
    } finally {
      this.#running.delete(call);
    }
  }

  async #attempts<T>(source: Connections, work: Work<T>): Promise<T> {
    const end = performance.now() + this.#totalMs;
    let again = false;
    for (let pauseMs = FIRST_PAUSE_MS;; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        return await this.#attempt(source, work, again, end - performance.now());
      } catch (error) {
        const fate = fateOf(error);
        if (fate === "fault") throw error;
        const jitteredMs = pauseMs * Math.random();
        if (fate === "refused" || performance.now() + jitteredMs >= end) {
          const text = `the database is away: ${messageOf(error)}`;
          const Reason = isTooSlow(error) ? StoreTooSlow : StoreUnavailable;
          throw new Reason(text, { cause: error });
        }
        again ||= fate === "lost";
        await delay(jitteredMs);
      }
    }
  }

  async #attempt<T>(
    source: Connections,
    work: Work<T>,
    again: boolean,
    leftMs: number,
  ): Promise<T> {
    const expired = Promise.withResolvers<never>();
    let connection: Connection | undefined;
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      // Its command may never settle; only the connection's end frees what it holds.
      if (connection !== undefined) source.discard(connection);
      expired.reject(new Expired(`no answer within ${this.#totalMs} ms`));
    }, Math.max(leftMs, 0));
    const attempt = async () => {
      const acquired = await source.acquire();
      if (isLate) {
        source.release(acquired);
        throw new Expired("connected too late");
      }
      connection = acquired;
      try {
        const result = await work(connection, again);
        if (!isLate) source.release(connection);
        return result;
      } catch (error) {
        const isUsable = fateOf(error) !== "lost" && await rolledBack(connection);
        if (!isLate && isUsable) source.release(connection);
        else if (!isLate) source.discard(connection);
        throw error;
      } finally {
        connection = undefined; // no longer the timer's to discard
      }
    };
    try {
      return await Promise.race([attempt(), expired.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Rows of one statement on a connection at hand. */
export async function rows(
  connection: Connection,
  sql: string,
  params: readonly Param[],
): Promise<Row[]> {
  const [found] = await connection.execute<RowDataPacket[]>(sql, [...params]);
  return found;
}

/** Runs one statement on a connection at hand. */
export async function change(
  connection: Connection,
  sql: string,
  params: readonly Param[],
): Promise<ResultSetHeader> {
  const [header] = await connection.execute<ResultSetHeader>(sql, [...params]);
  return header;
}

/** Whether the work itself may have been too much; a server that stands still looks the same. */
function isTooSlow(error: unknown): boolean {
  const errno = serverErrno(error);
  return error instanceof Expired || errno === 1969 || errno === 3024;
}

/** Number of a server's error, undefined for any other error. */
export function serverErrno(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errno" in error) || !("sqlState" in error)) return undefined;
  return typeof error.errno === "number" ? error.errno : undefined;
}

async function rolledBack(connection: Connection): Promise<boolean> {
  try {
    await connection.query("ROLLBACK");
    return true;
  } catch {
    return false; // the error that led here is the one to report
  }
}

/** again: same connection; lost: a new one, outcome unknown; refused: give up; fault: ours. */
function fateOf(error: unknown): "again" | "lost" | "refused" | "fault" {
  if (error instanceof Expired) return "lost";
  const errno = serverErrno(error);
  if (errno !== undefined) {
    if (AGAIN.has(errno)) return "again";
    if (REFUSED.has(errno)) return "refused";
    return LOST.has(errno) ? "lost" : "fault";
  }
  if (!(error instanceof Error)) return "fault";
  // What the driver reports of the connection itself is fatal, or the error of a system call.
  const isOfConnection = ("fatal" in error && error.fatal === true) || "syscall" in error;
  return isOfConnection ? "lost" : "fault";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
