/** The connections of one node, as administration lists and ends them. */

import { WORKER_SPAN } from "../../actors/runtime/lane.ts";
import type { NodeId, UserId } from "../../actors/ports.ts";
import type { Connection } from "../sockets/connection.ts";
import type { AdminRow } from "./protocol.ts";

/** Why sessions are ended: the operator's wish, or a password that no longer holds. */
export type EndReason = "disconnected" | "password";

/** Some of a node's connections. */
export interface SessionPage {
  readonly rows: AdminRow[];
  /** The connection after which the next page begins; 0 when there is none. */
  readonly next: number;
}

/** Told to a client that is disconnected: it may come back after this, ms. */
const COME_BACK_MS = 1_000;
/** Connections in a page: some 100 KB of text, which nothing else on the bus waits long for. */
const PAGE = 500;

/** See the module's header. */
export class NodeSessions {
  readonly #node: NodeId;
  readonly #connections: ReadonlyMap<number, Connection>;

  /** @param connections By their numbers, which only grow. */
  constructor(node: NodeId, connections: ReadonlyMap<number, Connection>) {
    this.#node = node;
    this.#connections = connections;
  }

  /** @param user 0 for everybody. */
  page(user: UserId, after: number): SessionPage {
    const rows: AdminRow[] = [];
    for (const connection of this.#connections.values()) {
      const { conn } = connection;
      if (conn <= after || (user !== 0 && connection.user !== user)) continue;
      rows.push(this.#row(connection));
      if (rows.length === PAGE) return { rows, next: conn };
    }
    return { rows, next: 0 };
  }

  /** No row when there is no such connection. */
  end(conn: number): AdminRow[] {
    const connection = this.#connections.get(conn);
    return connection === undefined ? [] : [this.#end(connection, "disconnected")];
  }

  /** One row per session that was ended. */
  endUser(user: UserId, why: EndReason): AdminRow[] {
    return [...this.#connections.values()].filter((c) => c.user === user)
      .map((connection) => this.#end(connection, why));
  }

  #row(c: Connection): AdminRow {
    return {
      node: this.#node,
      conn: c.conn,
      user: c.user,
      name: c.memo?.name ?? "",
      v: c.v,
      remote: c.remote,
      worker: c.conn % WORKER_SPAN,
      silentSeconds: Math.max(0, Math.round((Date.now() - c.heardAt) / 1_000)),
      unfinished: c.unfinished,
      queuedBytes: c.queuedBytes,
    };
  }

  #end(connection: Connection, why: EndReason): AdminRow {
    const { conn, user, remote } = connection;
    if (why === "password") {
      connection.bye("WRONG_CREDENTIALS", "the password was changed", "ended_by_session");
    } else {
      connection.bye("TRY_LATER", "disconnected by the operator", "shutdown", COME_BACK_MS);
    }
    return { node: this.#node, conn, user, remote, disconnected: true };
  }
}
