/**
 * Carries out the commands of `deno task admin` in the node. Reads through the same actors as
 * everybody else.
 */

import { ERRNO } from "@chat/wire/errors.ts";
import { MAX_PASSWORD_UNITS } from "@chat/wire/limits.ts";
import type { BridgeMessage } from "../../actors/routing/bridge.ts";
import type {
  GroupRow,
  MessageTrace,
  NodeId,
  PasswordPort,
  UserId,
  UserRow,
} from "../../actors/ports.ts";
import type { Registry } from "../../actors/routing/registry.ts";
import type { ActorSystem, Ref } from "../../actors/runtime/runtime.ts";
import type { StoreCall } from "../../actors/store/store_protocol.ts";
import type { UpkeepMessage } from "../../actors/store/upkeep.ts";
import type { Connection } from "../sockets/connection.ts";
import type { Log } from "../observe/log.ts";
import { ClusterSessions } from "./cluster.ts";
import type { CommandName } from "./commands.ts";
import type { AdminRequest, AdminResult, AdminRow } from "./protocol.ts";
import { NodeSessions } from "./sessions.ts";

/** The parts of a node that administration uses. */
export interface AdminParts {
  readonly system: ActorSystem;
  readonly log: Log;
  readonly bridge: Ref<BridgeMessage>;
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

/** Letters and digits of a password that is made here, without those that look alike. */
const LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const PASSWORD_LETTERS = 20;

type Operation = (request: AdminRequest) => Promise<AdminResult>;

/** Carries commands out. */
export class AdminOperations {
  readonly #parts: AdminParts;
  readonly #cluster: ClusterSessions;
  readonly #operations: Record<CommandName, Operation>;

  constructor(parts: AdminParts) {
    this.#parts = parts;
    const { system, log, bridge, node, registry, connections } = parts;
    this.#cluster = new ClusterSessions({
      ...{ system, log, bridge, node },
      peers: () => registry.peers,
      own: new NodeSessions(node, connections),
    });
    const here = async (rows: Promise<AdminRow[]>) => ({ rows: await rows, silent: [] });
    this.#operations = {
      "status": () => here(this.#status()),
      "sessions": ({ argument }) => this.#sessions(argument),
      "disconnect": ({ argument }) => this.#disconnect(argument),
      "disconnect-user": ({ argument }) => this.#disconnectUser(argument),
      "reset-password": ({ argument, password }) => this.#resetPassword(argument, password),
      "user": ({ argument }) => here(this.#user(argument)),
      "group": ({ argument }) => here(this.#group(argument)),
      "message": ({ argument }) => here(this.#message(argument)),
      "restart-worker": ({ argument }) => here(this.#restartWorker(argument)),
    };
  }

  /** @throws {AdminError} */
  run(request: AdminRequest): Promise<AdminResult> {
    return this.#operations[request.command](request);
  }

  async #status(): Promise<AdminRow[]> {
    const { node, workers, connections, registry, problem } = this.#parts;
    const { here, all } = registry.counts;
    const ready = await problem() ?? "yes";
    return [{ node, ready, workers, connections: connections.size, sessions: here, online: all }];
  }

  async #sessions(who: string): Promise<AdminResult> {
    return await this.#cluster.list(who === "" ? 0 : (await this.#find(who)).id);
  }

  async #disconnect(which: string): Promise<AdminResult> {
    const [, conn, node = this.#parts.node] = /^(\d+)(?:@(\w+))?$/.exec(which) ?? [];
    if (conn === undefined) throw new AdminError(`no connection is called ${which}`);
    const answer = await this.#cluster.end(node, Number(conn));
    if (answer === undefined) throw new AdminError(`no node ${node} is in the cluster`);
    if (answer.rows.length > 0 || answer.silent.length > 0) return answer;
    const where = node === this.#parts.node
      ? "this node; that of another one is CONN@NODE"
      : `the node ${node}`;
    throw new AdminError(`no connection ${conn} on ${where}`);
  }

  async #disconnectUser(who: string): Promise<AdminResult> {
    const { id } = await this.#find(who);
    const answer = await this.#cluster.endUser(id, "disconnected");
    if (answer.rows.length > 0 || answer.silent.length > 0) return answer;
    throw new AdminError(`user ${id} is offline`);
  }

  async #resetPassword(who: string, given: string | undefined): Promise<AdminResult> {
    const { id, name } = await this.#find(who);
    const password = given ?? newPassword();
    if (password.length > MAX_PASSWORD_UNITS) throw new AdminError("the password is too long");
    const hash = await this.#parts.passwords.hash(password);
    await this.#parts.store({ type: "call", op: "changePassword", args: [id, hash] });
    const { rows: ended, silent } = await this.#cluster.endUser(id, "password");
    const shown: AdminRow = given === undefined ? { password } : {};
    return { rows: [{ id, name, ...shown, sessionsEnded: ended.length }], silent };
  }

  async #user(who: string): Promise<AdminRow[]> {
    const { id, name } = await this.#find(who);
    const waiting = Number(await this.#parts.upkeep({ type: "waiting", user: id }));
    return [{ id, name, ...this.#location(id), waiting }];
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
      ...this.#location(member.id),
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
    return pending.map((user) => ({ ...about, waitsFor: user, ...this.#location(user) }));
  }

  #restartWorker(index: string): Promise<AdminRow[]> {
    if (!/^\d+$/.test(index) || !this.#parts.killWorker(Number(index))) {
      throw new AdminError(`no session worker ${index} runs`);
    }
    return Promise.resolve([{ worker: Number(index), restarted: true }]);
  }

  /** Where a user is online: the node's name, and the connection where it is this node. */
  #location(user: UserId): { node: string; conn: number } {
    const location = this.#parts.registry.find(user);
    if (location === undefined) return { node: "", conn: 0 };
    return { node: location.node ?? this.#parts.node, conn: location.conn };
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
