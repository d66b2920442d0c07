/**
 * What a program gives to the client library, with what holds where it gives nothing, and what it gets
 * back.
 */

import type { Want } from "@chat/wire/messages.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { ClientEvent, Message } from "./events.ts";
import type { Address } from "./transport.ts";

/** How to make a client. */
export interface ClientOptions {
  /** Host name or address. @default {"127.0.0.1"} */
  readonly host?: string;
  /** TCP port. @default {6000} */
  readonly port?: number;
  /** TLS; `caCerts` are PEM certificates trusted besides the built-in ones. */
  readonly tls?: { readonly caCerts?: string[] } | undefined;
  /** What to be told beyond messages, presence and one's own acknowledgements. Default: both. */
  readonly want?: readonly ("delivered" | "typing")[];
  /**
   * Name of this device, ≤ 64 characters: a token is good on the device only that it was given to.
   * Something random that is kept with the token. Default: none.
   */
  readonly device?: string | undefined;
  /**
   * Logs in with this token in the background instead of waiting for the server: `connect` returns
   * at once, and chats can be queued while the server is away.
   */
  readonly resume?: { readonly token: string; readonly id: number; readonly name: string };
  /** Keeps unsent chats in this file: what was queued survives the end of the process. */
  readonly outboxFile?: string;
  /**
   * Takes events as they come instead of through iteration. A message is confirmed when it returns.
   */
  readonly onEvent?: (event: ClientEvent) => void;
  /** Time for one connection attempt, in ms. @default {10000} */
  readonly connectTimeoutMs?: number;
  /** Time for a request with all its retries, in ms. @default {15000} */
  readonly requestTimeoutMs?: number;
  /** Time for a CHAT_ACK, in ms, after which the connection is made anew. @default {15000} */
  readonly ackTimeoutMs?: number;
  /** An outage longer than this, in ms, ends the reconnecting. @default {86400000} (a day) */
  readonly giveUpAfterMs?: number;
  /** Most chats waiting to be acknowledged. @default {10000} */
  readonly maxOutbox?: number;
  /** Replaced in tests. */
  readonly clock?: Clock;
}

/** Options of a client with every default in its place. */
export interface Settings {
  readonly address: Address;
  readonly clock: Clock;
  readonly want: readonly Want[];
  readonly device: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly ackTimeoutMs: number;
  readonly giveUpAfterMs: number;
  readonly maxOutbox: number;
}

/** The settings that options come to. */
export function settingsOf(options: ClientOptions): Settings {
  return {
    address: { host: options.host ?? "127.0.0.1", port: options.port ?? 6000, tls: options.tls },
    clock: options.clock ?? systemClock,
    want: options.want ?? ["delivered", "typing"],
    device: options.device ?? "",
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 15_000,
    ackTimeoutMs: options.ackTimeoutMs ?? 15_000,
    giveUpAfterMs: options.giveUpAfterMs ?? 24 * 60 * 60 * 1000,
    maxOutbox: options.maxOutbox ?? 10_000,
  };
}

/** When a chat became durable on the server. */
export interface Sent {
  /** Our id of it. */
  readonly cid: string;
  /** The server's id of it. */
  readonly mid: string;
  /** Epoch ms, by the server. */
  readonly ts: number;
}

/** A chat that is queued: it will be sent until the server acknowledges or refuses it. */
export interface Queued {
  /** Our id of it, also in the events `sent` and `failed`. */
  readonly cid: string;
  /**
   * Resolves when the server holds it durably.
   *
   * @throws {RequestError} The server refused it for good.
   * @throws {ConnectionLost} The client was closed before.
   */
  acknowledged(): Promise<Sent>;
}

/** A page of a conversation, oldest first. */
export interface HistoryPage {
  /** The page. */
  readonly messages: readonly Message[];
  /** Older messages exist. */
  readonly more: boolean;
}
