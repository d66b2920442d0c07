/**
 * One TCP connection to a server: frames in, text out. It does not log in and does not reconnect.
 *
 * Invariants: everything said in an event-loop turn leaves in one write; at most MAX_UNSENT_UNITS
 * wait to be written; after `onClose`, which comes once, no handler is called.
 */

import { FrameSplitter } from "@chat/wire/splitter.ts";
import { decode, type Decoded } from "../library/codec.ts";
import type { Address, Dialled, Socket, SocketHandlers } from "../library/transport.ts";

/**
 * Largest frame from a server, in bytes. LOGIN_ACK is the largest: a thousand groups of a hundred
 * members are some 8 MB.
 */
const MAX_SERVER_FRAME_BYTES = 16 * 1024 * 1024;
/** Most text that may wait for a server that does not read, in UTF-16 units. */
const MAX_UNSENT_UNITS = 8 * 1024 * 1024;
const READ_BYTES = 64 * 1024;
/**
 * A server that has closed refuses what is written, while its last words, the BYE, may not have been
 * read yet: how long they are read on for, ms.
 */
const LAST_WORDS_MS = 1_000;

const encoder = new TextEncoder();

/** Connects over TCP or TLS; the `Dial` of the library. */
export async function dial(
  address: Address,
  deadlineMs: number,
  unwanted: AbortSignal,
): Promise<Dialled> {
  const conn = await connected(address, deadlineMs, unwanted);
  return {
    open: (handlers, now) => new TcpSocket(conn, handlers, now),
    close: () => conn.close(),
  };
}

async function connected(
  address: Address,
  deadlineMs: number,
  unwanted: AbortSignal,
): Promise<Deno.Conn> {
  const { host: hostname, port } = address;
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), deadlineMs);
  const signal = AbortSignal.any([giveUp.signal, unwanted]);
  try {
    if (address.tls === undefined) {
      const conn = await Deno.connect({ hostname, port, signal });
      conn.setNoDelay(true);
      return conn;
    }
    const { caCerts } = address.tls;
    const connecting = Deno.connectTls({ hostname, port, ...(caCerts && { caCerts }) });
    return await orAbort(connecting, signal);
  } catch (cause) {
    const why = unwanted.aborted
      ? "the client is closed"
      : signal.aborted
      ? `no answer within ${deadlineMs / 1000} s`
      : cause instanceof Deno.errors.ConnectionRefused
      ? "connection refused"
      : cause instanceof Error
      ? cause.message
      : String(cause);
    throw new Error(`cannot reach ${hostname}:${port}: ${why}`, { cause });
  } finally {
    clearTimeout(timer);
  }
}

/** The connection, or a rejection once aborted; a connection that comes later is closed. */
async function orAbort<C extends Deno.Conn>(connecting: Promise<C>, signal: AbortSignal) {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => {
    // Its owner has gone; a late failure has nobody left to tell.
    connecting.then((conn) => conn.close(), () => {});
    reject(signal.reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([connecting, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** What a socket needs of a connection. */
export type Wire = Pick<Deno.Conn, "read" | "write" | "close">;

/** An open connection. */
export class TcpSocket implements Socket {
  readonly #conn: Wire;
  readonly #handlers: SocketHandlers;
  readonly #clock: () => number;
  #out: string[] = [];
  #outUnits = 0;
  #writing: Promise<void> | undefined;
  #closeReason: string | undefined;
  /** Runs from a failed write until the connection is closed. */
  #lastWords: ReturnType<typeof setTimeout> | undefined;
  /** When bytes last came, by the clock given. */
  lastHeardMs: number;

  /** Starts to read at once. */
  constructor(conn: Wire, handlers: SocketHandlers, now: () => number) {
    this.#conn = conn;
    this.#handlers = handlers;
    this.#clock = now;
    this.lastHeardMs = now();
    // The read loop ends in `close` whatever happens, and rejects only on a defect.
    void this.#read();
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  /** Queues one message. False when the connection is closed, or cannot be written to any more. */
  send(message: object): boolean {
    if (this.closed) return false;
    return this.sendText(JSON.stringify(message));
  }

  /** Queues one message that is JSON already; false as `send`. */
  sendText(text: string): boolean {
    if (this.closed || this.#lastWords !== undefined) return false;
    if (this.#outUnits + text.length > MAX_UNSENT_UNITS) {
      this.close("the server does not read");
      return false;
    }
    this.#out.push(text);
    this.#outUnits += text.length;
    this.#writing ??= this.#write();
    return true;
  }

  /** Resolves when everything queued has been given to the system, or never will be. */
  async flushed(): Promise<void> {
    while (this.#writing !== undefined && !this.closed) await this.#writing;
  }

  /** Closes; what is queued is lost. Idempotent. */
  close(reason: string): void {
    if (this.closed) return;
    this.#closeReason = reason;
    clearTimeout(this.#lastWords);
    this.#out = [];
    this.#conn.close();
    this.#handlers.onClose(reason);
  }

  async #write(): Promise<void> {
    // One microtask later the turn's other messages have joined.
    await Promise.resolve();
    try {
      while (this.#out.length > 0) {
        const text = `${this.#out.join("\n")}\n`;
        this.#out = [];
        this.#outUnits = 0;
        let rest = encoder.encode(text);
        while (rest.length > 0) rest = rest.subarray(await this.#conn.write(rest));
      }
    } catch (error) {
      if (this.closed) return;
      this.#out = [];
      this.#lastWords = setTimeout(() => this.close(describe(error)), LAST_WORDS_MS);
    } finally {
      this.#writing = undefined;
    }
  }

  async #read(): Promise<void> {
    const splitter = new FrameSplitter((bytes, start, end) => {
      if (!this.closed) this.#receive(decode(bytes, start, end));
    }, MAX_SERVER_FRAME_BYTES);
    const buffer = new Uint8Array(READ_BYTES);
    while (!this.closed) {
      let count: number | null;
      try {
        count = await this.#conn.read(buffer);
      } catch (error) {
        return this.close(describe(error));
      }
      if (this.closed) return;
      if (count === null) return this.close("the server closed the connection");
      this.lastHeardMs = this.#clock();
      const wrong = splitter.feed(buffer.subarray(0, count));
      if (wrong !== undefined) return this.close(`the server sent ${wrong.replace("_", " ")}`);
    }
  }

  #receive(decoded: Decoded): void {
    switch (decoded.kind) {
      case "message":
        return this.#handlers.onMessage(decoded.message);
      case "malformed":
        return this.#handlers.onMalformed(decoded.why);
      case "unknown":
        return;
      default:
        return decoded satisfies never;
    }
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? `connection lost: ${error.message}` : "connection lost";
}
