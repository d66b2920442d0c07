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

export { Client } from "./library/client.ts";
export type { UserRequests } from "./library/user_requests.ts";
export { connect } from "./transport/connect.ts";
export type { ClientOptions, HistoryPage, Queued, Sent } from "./library/options.ts";
export type { Login } from "./library/authenticator.ts";
export type {
  ClientEvent,
  ConnectionState,
  Friend,
  Group,
  Member,
  Message,
  Session,
  Target,
} from "./library/events.ts";
export type { FirstSending, Outgoing } from "./library/outbox.ts";
export { ConnectionLost, OutboxFull, OutboxInUse, RequestError } from "./library/errors.ts";
export type { Clock } from "./library/clock.ts";
