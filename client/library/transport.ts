/**
 * What the library needs of the world: a way to reach a server, and a place for unsent chats. The
 * implementations are given to it; it opens no socket and no file.
 */

import type { ServerMessage } from "@chat/wire/messages.ts";
import type { Outgoing } from "./outbox.ts";

/** How to reach a server. */
export interface Address {
  readonly host: string;
  readonly port: number;
  /** TLS, with these PEM certificates trusted besides the built-in ones. */
  readonly tls?: { readonly caCerts?: string[] } | undefined;
}

/** What a socket reports, synchronously while bytes are read. */
export interface SocketHandlers {
  onMessage(message: ServerMessage): void;
  /** The server sent what its protocol does not allow; the connection goes on. */
  onMalformed(why: string): void;
  /** Comes once; no handler is called after it. */
  onClose(reason: string): void;
}

/** An open connection: messages of one event-loop turn leave together, in order. */
export interface Socket {
  readonly closed: boolean;
  /** When bytes last came, by the clock given to {@linkcode Dialled.open}. */
  readonly lastHeardMs: number;
  /** Queues one message. False when the connection is closed, or cannot be written to any more. */
  send(message: object): boolean;
  /** Queues one message that is JSON already; false as `send`. */
  sendText(text: string): boolean;
  /** Resolves when everything queued has been given to the system, or never will be. */
  flushed(): Promise<void>;
  /** Closes; what is queued is lost. Idempotent. */
  close(reason: string): void;
}

/** A server that has been reached: it is opened or closed next. */
export interface Dialled {
  /** Starts to read at once. */
  open(handlers: SocketHandlers, now: () => number): Socket;
  close(): void;
}

/**
 * Connects.
 *
 * @param deadlineMs After which the attempt is given up.
 * @param unwanted Ends the attempt at once.
 * @throws {Error} With the reason in words, when there is no connection in time.
 */
export type Dial = (
  address: Address,
  deadlineMs: number,
  unwanted: AbortSignal,
) => Promise<Dialled>;

/** Unsent chats, where the end of the program does not reach them. */
export interface OutboxStore {
  /** Resolves once the chat is durable. */
  append(chat: Outgoing): Promise<void>;
  /** When the chat was first sent: its repeats say so. */
  first(chat: Outgoing): void;
  /** The chat was acknowledged, or refused for good. */
  done(cid: string): void;
  close(): Promise<void>;
}
