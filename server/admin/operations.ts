/** What a node does for `deno task admin`. Reads through the same actors as everybody else. */

import { ERRNO } from "@chat/wire/errors.ts";
import { MAX_PASSWORD_UNITS } from "@chat/wire/limits.ts";
import { WORKER_SPAN } from "../../actors/lane.ts";
import type {
  GroupRow,
  MessageTrace,
  NodeId,
  PasswordPort,
  UserId,
  UserRow,
} from "../../actors/ports.ts";
import type { Registry } from "../../actors/registry.ts";
import type { StoreCall } from "../../actors/store_protocol.ts";
import type { UpkeepMessage } from "../../actors/upkeep.ts";
import type { Connection } from "../connection.ts";
import type { CommandName } from "./commands.ts";
import type { AdminRequest, AdminRow } from "./protocol.ts";

/** The parts of a node that administration uses. */
export interface AdminParts {
  readonly node: NodeId;
  readonly workers: number;
  readonly connections: ReadonlyMap<number, Connection>;
  readonly registry: Registry;
  readonly passwords: PasswordPort;
  readonly store: (call: StoreCall) => Promise<unknown>;
  readonly upkeep: (message: UpkeepMessage) => Promise<unknown>;
  readonly problem: () => Promise<string | undefined>;
  readonly killWorker: (index: number) => boolean;
}

/** The command cannot be carried out; one sentence for the person who gave it. */
export class AdminError extends Error {
  override readonly name = "AdminError";
}

/** Told to a client that is disconnected: it may come back after this, ms. */
const COME_BACK_MS = 1_000;
/** Letters and digits of a password that is made here, without those that look alike. */
const LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const PASSWORD_LETTERS = 20;

type Operation = (request: AdminRequest) => Promise<AdminRow[]>;

/** Carries commands out. */
export class AdminOperations {
  readonly #parts: AdminParts;
  readonly #operations: Record<CommandName, Operation>;

  constructor(parts: AdminParts) {
    this.#parts = parts;
    this.#operations = {
      "status": () => this.#status(),
      "sessions": ({ argument }) => this.#sessions(argument),
      "disconnect": ({ argument }) => this.#disconnect(argument),
      "disconnect-user": ({ argument }) => this.#disconnectUser(argument),
      "reset-password": ({ argument, password }) => this.#resetPassword(argument, password),
      "user": ({ argument }) => this.#user(argument),
      "group": ({ argument }) => this.#group(argument),
      "message": ({ argument }) => this.#message(argument),
      "restart-worker": ({ argument }) => this.#restartWorker(argument),
    };
  }

  /** @throws {AdminError} */
  run(request: AdminRequest): Promise<AdminRow[]> {
    return this.#operations[request.command](request);
  }

  async #status(): Promise<AdminRow[]> {
    const { node, workers, connections, registry, problem } = this.#parts;
    const { here, all } = registry.counts;
    const ready = await problem() ?? "yes";
    return [{ node, ready, workers, connections: connections.size, sessions: here, online: all }];
  }

  async #sessions(who: string): Promise<AdminRow[]> {
    const user = who === "" ? undefined : (await this.#find(who)).id;
    const now = Date.now();
    const rows: AdminRow[] = [];
    for (const c of this.#parts.connections.values()) {
      if (user !== undefined && c.user !== user) continue;
      rows.push({
        conn: c.conn,
        user: c.user,
        name: c.memo?.name ?? "",
        v: c.v,
        remote: c.remote,
        worker: c.conn % WORKER_SPAN,
        silentSeconds: Math.max(0, Math.round((now - c.heardAt) / 1_000)),
        unfinished: c.unfinished,
        queuedBytes: c.queuedBytes,
      });
    }
    return rows;
  }

  #disconnect(conn: string): Promise<AdminRow[]> {
    const connection = this.#parts.connections.get(Number(conn));
    if (connection === undefined) throw new AdminError(`no connection ${conn} on this node`);
    return Promise.resolve([this.#end(connection)]);
  }

  async #disconnectUser(who: string): Promise<AdminRow[]> {
    const { id } = await this.#find(who);
    const rows = this.#connectionsOf(id).map((connection) => this.#end(connection));
    if (rows.length === 0) throw new AdminError(this.#whereInstead(id));
    return rows;
  }

  async #resetPassword(who: string, given: string | undefined): Promise<AdminRow[]> {
    const { id, name } = await this.#find(who);
    const password = given ?? newPassword();
    if (password.length > MAX_PASSWORD_UNITS) throw new AdminError("the password is too long");
    const hash = await this.#parts.passwords.hash(password);
    await this.#parts.store({ type: "call", op: "changePassword", args: [id, hash, ""] });
    for (const connection of this.#connectionsOf(id)) {
      connection.bye("WRONG_CREDENTIALS", "the password was changed", "ended_by_session");
    }
    const shown: AdminRow = given === undefined ? { password } : {};
    const { node } = this.#place(id);
    const elsewhere: AdminRow = node === "" || node === this.#parts.node ? {} : { stillOn: node };
    return [{ id, name, ...shown, ...elsewhere }];
  }

  async #user(who: string): Promise<AdminRow[]> {
    const { id, name } = await this.#find(who);
    const waiting = Number(await this.#parts.upkeep({ type: "waiting", user: id }));
    return [{ id, name, ...this.#place(id), waiting }];
  }

  async #group(id: string): Promise<AdminRow[]> {
    const call: StoreCall = { type: "call", op: "group", args: [Number(id) || 0] };
    const group = await this.#parts.store(call) as GroupRow | undefined; // the op's own type
    if (group === undefined) throw new AdminError(`no group ${id}`);
    const { groupname, users } = group;
    return users.map((member) => ({
      group: groupname,
      id: member.id,
      name: member.name,
      role: member.role,
      ...this.#place(member.id),
    }));
  }

  /** One row per recipient that has yet to receive it, or one that says that nobody has. */
  async #message(mid: string): Promise<AdminRow[]> {
    const trace = await this.#parts.upkeep({ type: "trace", mid }) as MessageTrace | undefined;
    if (trace === undefined) throw new AdminError(`no message ${mid} is stored`);
    const { message, pending } = trace;
    const about = {
      mid,
      stored: new Date(message.ts).toISOString(),
      from: message.from,
      to: message.groupid === 0 ? `user ${message.toid}` : `group ${message.groupid}`,
    };
    if (pending.length === 0) return [{ ...about, waitsFor: "nobody" }];
    return pending.map((user) => ({ ...about, waitsFor: user, ...this.#place(user) }));
  }

  #restartWorker(index: string): Promise<AdminRow[]> {
    if (!/^\d+$/.test(index) || !this.#parts.killWorker(Number(index))) {
      throw new AdminError(`no session worker ${index} runs`);
    }
    return Promise.resolve([{ worker: Number(index), restarted: true }]);
  }

  #end(connection: Connection): AdminRow {
    const { conn, user, remote } = connection;
    connection.bye("TRY_LATER", "disconnected by the operator", "shutdown", COME_BACK_MS);
    return { conn, user, remote, disconnected: true };
  }

  #connectionsOf(user: UserId): Connection[] {
    return [...this.#parts.connections.values()].filter((c) => c.user === user);
  }

  /** Where a user is online: the node's name, and the connection where it is this node. */
  #place(user: UserId): { node: string; conn: number } {
    const place = this.#parts.registry.find(user);
    if (place === undefined) return { node: "", conn: 0 };
    return { node: place.node ?? this.#parts.node, conn: place.conn };
  }

  #whereInstead(user: UserId): string {
    const { node } = this.#place(user);
    return node === ""
      ? `user ${user} is offline`
      : `user ${user} is on the node ${node}: ask there`;
  }

  async #find(who: string): Promise<UserRow> {
    const call: StoreCall = /^\d+$/.test(who)
      ? { type: "call", op: "userById", args: [Number(who)] }
      : { type: "call", op: "userByName", args: [who.replace(/^name:/, "")] };
    const user = await this.#parts.store(call) as UserRow | undefined; // the op's own type
    if (user === undefined) throw new AdminError(`${ERRNO.NO_SUCH_TARGET.text}: ${who}`);
    return user;
  }
}

function newPassword(): string {
  const letters: string[] = [];
  while (letters.length < PASSWORD_LETTERS) {
    for (const byte of crypto.getRandomValues(new Uint8Array(PASSWORD_LETTERS))) {
      // No letter more likely than another.
      if (byte < 256 - 256 % LETTERS.length) letters.push(LETTERS.charAt(byte % LETTERS.length));
    }
  }
  return letters.slice(0, PASSWORD_LETTERS).join("");
}
