/**
 * The chat client as a library: connect, log in, send, and take events, across lost connections.
 *
 * ```ts
 * import { connect } from "./client/mod.ts";
 *
 * const client = await connect({ host: "127.0.0.1", port: 6000 });
 * await client.login({ name: "alice", password: "correct horse" });
 * await client.sendTo(2, "hello");
 * for await (const event of client) {
 *   if (event.type === "message") console.log(event.message.name, event.message.msg);
 * }
 * ```
 *
 * @module
 */

export { Client } from "./client.ts";
export { connect } from "./connect.ts";
export type { ClientOptions, HistoryPage, Queued, Sent } from "./options.ts";
export type { Login } from "./authenticator.ts";
export type {
  ClientEvent,
  ConnectionState,
  Friend,
  Group,
  Member,
  Message,
  Session,
  Target,
} from "./events.ts";
export type { FirstSending, Outgoing } from "./outbox.ts";
export { ConnectionLost, OutboxFull, OutboxInUse, RequestError } from "./errors.ts";
export type { Clock } from "./clock.ts";
