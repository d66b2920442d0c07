/**
 * Simulated TCP: a connection between a client and a node. Bytes keep their order, are cut anywhere,
 * take time, and are lost from the moment the connection is cut; each side learns of that in its own
 * time, or not at all.
 */

import type { Random } from "./random.ts";
import type { Owner, Scheduler } from "./scheduler.ts";

/** What a connection needs. */
export interface WireParts {
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** Time of a segment, ms. */
  readonly latency: () => number;
}

/** What the client's side is told. */
export interface WireClient extends Owner {
  onBytes(wire: Wire, bytes: Uint8Array): void;
  onClosed(wire: Wire): void;
}

/** Bytes that a peer who does not read still takes into its buffers. */
const SOCKET_BUFFER_BYTES = 600;

/** The node's side, as much of Deno.Conn as a Connection uses. */
export interface ServerSocket {
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

/** One connection. */
export class Wire {
  readonly socket: ServerSocket;
  /** The connection's number at its node, once accepted. */
  conn = 0;
  /** The client does not know of an end. */
  open = true;
  /** Bytes the node's socket took, for a client that cannot tell what it has read. */
  onTaken: ((bytes: Uint8Array) => void) | undefined;
  readonly #parts: WireParts;
  readonly #client: WireClient;
  readonly #server: Owner;
  /** Nothing gets through any more. */
  #cut = false;

  // The node's side.
  #inbox: Uint8Array[] = [];
  #ended = false;
  #broken = false;
  #closedHere = false;
  #reader:
    | { buffer: Uint8Array; resolve(n: number | null): void; reject(e: Error): void }
    | undefined;
  #writer: { bytes: Uint8Array; resolve(n: number): void; reject(e: Error): void } | undefined;
  #lastIn = 0;

  // The client's side.
  #lastOut = 0;
  #reading = true;
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;

  /** @param server The thread that holds the node's sockets. */
  constructor(client: WireClient, server: Owner, parts: WireParts) {
    this.#client = client;
    this.#server = server;
    this.#parts = parts;
    this.socket = {
      read: (buffer) => this.#read(buffer),
      write: (bytes) => this.#write(bytes),
      close: () => this.#closeServer(),
    };
  }

  // ── the client's side ───────────────────────────────────────────────────────────────────────

  /** Sends bytes, in one segment or in two. */
  send(bytes: Uint8Array): void {
    if (!this.open) return;
    const { random } = this.#parts;
    if (bytes.length > 1 && random.chance(0.05)) {
      const at = random.int(1, bytes.length - 1);
      this.#toServer(() => this.#inbox.push(bytes.subarray(0, at)));
      this.#toServer(() => this.#inbox.push(bytes.subarray(at)));
    } else this.#toServer(() => this.#inbox.push(bytes));
  }

  /** Closes in order: what was sent before still arrives. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.#toServer(() => this.#ended = true);
  }

  /** Whether the client reads what comes. */
  setReading(reading: boolean): void {
    this.#reading = reading;
    if (!reading) return;
    const unread = this.#unread;
    this.#unread = [];
    this.#unreadBytes = 0;
    for (const bytes of unread) if (this.open) this.#client.onBytes(this, bytes);
    const writer = this.#writer;
    if (writer === undefined) return;
    this.#writer = undefined;
    this.#take(writer.bytes, writer.resolve);
  }

  // ── the nemesis ─────────────────────────────────────────────────────────────────────────────

  /**
   * Cuts the connection now. Each side learns of it after its delay, in ms; a node that learns
   * nothing goes on writing into the void.
   */
  cut(clientMs: number, serverMs: number | undefined): void {
    if (this.#cut) return;
    this.#cut = true;
    const { scheduler } = this.#parts;
    scheduler.at(clientMs, this.#client, "net: cut", () => this.#lostByClient());
    if (serverMs === undefined) return;
    scheduler.at(serverMs, this.#server, "net: cut", () => {
      this.#broken = true;
      this.#wake();
    });
  }

  /** The node's process is gone: some of what it wrote still arrives. */
  serverDied(clientMs: number): void {
    const { scheduler } = this.#parts;
    scheduler.at(clientMs, this.#client, "net: cut", () => {
      this.#cut = true;
      this.#lostByClient();
    });
  }

  #lostByClient(): void {
    if (!this.open) return;
    this.open = false;
    this.#client.onClosed(this);
  }

  // ── the node's side ─────────────────────────────────────────────────────────────────────────

  #toServer(step: () => void): void {
    const { scheduler, latency } = this.#parts;
    this.#lastIn = Math.max(this.#lastIn, scheduler.now + latency());
    scheduler.atTime(this.#lastIn, this.#server, "net→main", () => {
      if (this.#cut) return;
      step();
      this.#wake();
    });
  }

  #read(buffer: Uint8Array): Promise<number | null> {
    return new Promise((resolve, reject) => {
      this.#reader = { buffer, resolve, reject };
      this.#wake();
    });
  }

  #wake(): void {
    const reader = this.#reader;
    if (this.#broken || this.#closedHere) {
      this.#reader = undefined;
      reader?.reject(new Error("connection reset"));
      this.#writer?.reject(new Error("connection reset"));
      this.#writer = undefined;
      return;
    }
    if (reader === undefined) return;
    const first = this.#inbox[0];
    if (first !== undefined) {
      const count = Math.min(first.length, reader.buffer.length);
      reader.buffer.set(first.subarray(0, count));
      if (count === first.length) this.#inbox.shift();
      else this.#inbox[0] = first.subarray(count);
      this.#reader = undefined;
      reader.resolve(count);
    } else if (this.#ended) {
      this.#reader = undefined;
      reader.resolve(null);
    }
  }

  #write(bytes: Uint8Array): Promise<number> {
    const { random } = this.#parts;
    if (this.#broken || this.#closedHere) return Promise.reject(new Error("connection reset"));
    // The caller's bytes are its own again once the write has ended.
    const count = bytes.length > 1 && random.chance(0.02)
      ? random.int(1, bytes.length - 1)
      : bytes.length;
    const taken = bytes.slice(0, count);
    return new Promise((resolve, reject) => {
      if (this.#reading || this.#unreadBytes < SOCKET_BUFFER_BYTES) this.#take(taken, resolve);
      else this.#writer = { bytes: taken, resolve, reject };
    });
  }

  #take(bytes: Uint8Array, resolve: (n: number) => void): void {
    const { scheduler, latency } = this.#parts;
    if (!this.#reading) this.#unreadBytes += bytes.length;
    scheduler.at(latency() / 8, this.#server, "socket takes", () => {
      if (this.#broken || this.#closedHere) return;
      this.onTaken?.(bytes);
      resolve(bytes.length);
    });
    this.#toClient(() => {
      if (this.#reading) this.#client.onBytes(this, bytes);
      else this.#unread.push(bytes);
    });
  }

  #toClient(step: () => void): void {
    const { scheduler, latency } = this.#parts;
    this.#lastOut = Math.max(this.#lastOut, scheduler.now + latency());
    scheduler.atTime(this.#lastOut, this.#client, "net→client", () => {
      if (!this.#cut && this.open) step();
    }, this.#server);
  }

  #closeServer(): void {
    if (this.#closedHere) return;
    this.#closedHere = true;
    this.#wake();
    this.#toClient(() => this.#lostByClient());
  }
}
