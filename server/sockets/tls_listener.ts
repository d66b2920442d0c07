/**
 * TLS on the chat port: sockets whose handshake is done, as the gateway takes them from a plain
 * listener. Certificates may be replaced while it listens; connections keep theirs.
 *
 * On node:tls, as a Deno.TlsListener neither switches Nagle's algorithm off (40 ms for a push that
 * follows an unconfirmed one) nor takes another certificate without being closed.
 */

import { once } from "node:events";
import { createServer, type Server, type TLSSocket } from "node:tls";

/** A certificate chain and its key, both in PEM form. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** What the gateway needs of an accepted socket. */
export type AcceptedSocket = Pick<Deno.Conn, "read" | "write" | "close" | "remoteAddr">;

/** What the gateway needs of a listener; Deno.Listener is one. */
export interface SocketListener {
  readonly addr: Deno.Addr;
  /** Rejects with BadResource once closed. */
  accept(): Promise<AcceptedSocket>;
  close(): void;
}

/** What is told of connections whose handshake is not done. */
export interface Handshakes {
  /**
   * One would begin.
   * @param end Ends it.
   * @returns Called when it is over, in whatever way; undefined when it is not to begin.
   */
  begin(remote: string, end: () => void): (() => void) | undefined;
  /** Accepting failed, for want of descriptors; it goes on. */
  failed(error: Error): void;
}

/** How long a handshake may take, ms. */
const HANDSHAKE_MS = 10_000;
/**
 * Connections that the system may hold for us: all of a dead node's users at once. Those that find no
 * room try again after a second. Linux allows no more than net.core.somaxconn, 4,096 by default.
 */
export const LISTEN_BACKLOG = 4_096;
/** Handshakes done and not accepted: accepting only waits for the event loop. */
const MAX_DONE = 512;

/**
 * Reads a certificate and its key, and checks that they belong together.
 * @param host An address to try them on, with any free port.
 * @throws {Error} One sentence with the flag and the file.
 */
export function readKeyPair(files: KeyPair, host: string): KeyPair {
  const pair = { cert: read("tls-cert", files.cert), key: read("tls-key", files.key) };
  try {
    Deno.listenTls({ hostname: host, port: 0, ...pair }).close();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `--tls-cert ${files.cert} and --tls-key ${files.key} cannot be used together, both have to ` +
        `be PEM files of one certificate: ${why}`,
      { cause },
    );
  }
  return pair;
}

function read(flag: string, path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`--${flag} ${path} cannot be read: ${why}`, { cause });
  }
}

/** See the module's header. */
export class TlsListener implements SocketListener {
  readonly #server: Server;
  readonly #done: TlsSocket[] = [];
  /**
   * By the peer's address and port, as the raw socket and the TLS socket are two objects: called when
   * the handshake is over.
   */
  readonly #handshaking = new Map<string, () => void>();
  #accepting: PromiseWithResolvers<AcceptedSocket> | undefined;
  #closed = false;

  private constructor(server: Server, handshakes: Handshakes) {
    this.#server = server;
    server.on("connection", (socket) => {
      const over = handshakes.begin(socket.remoteAddress ?? "", () => socket.destroy());
      if (over === undefined) {
        socket.destroy(); // nothing can be told before the handshake
        return;
      }
      const peer = peerOf(socket);
      this.#handshaking.set(peer, over);
      socket.once("close", () => this.#over(peer));
    });
    // Without a listener the lack of descriptors would end the process.
    server.on("error", (error) => handshakes.failed(error));
    server.on("secureConnection", (socket) => this.#ready(socket));
    // Whoever speaks no TLS, or does not like the certificate: closed by the server.
    server.on("tlsClientError", (_error, socket) => socket.destroy());
  }

  /**
   * Listens.
   * @param handshakes Decides which may begin.
   */
  static async listen(
    hostname: string,
    port: number,
    pair: KeyPair,
    handshakes: Handshakes,
  ): Promise<TlsListener> {
    const server = createServer({ ...pair, handshakeTimeout: HANDSHAKE_MS, noDelay: true });
    const listener = new TlsListener(server, handshakes);
    server.listen({ port, host: hostname, backlog: LISTEN_BACKLOG });
    await once(server, "listening"); // rejects on an error
    return listener;
  }

  get addr(): Deno.NetAddr {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("not listening");
    return { transport: "tcp", hostname: address.address, port: address.port };
  }

  /** New connections get this certificate. */
  replace(pair: KeyPair): void {
    this.#server.setSecureContext(pair);
  }

  accept(): Promise<AcceptedSocket> {
    if (this.#closed) return Promise.reject(new Deno.errors.BadResource("closed"));
    const socket = this.#done.shift();
    if (socket !== undefined) return Promise.resolve(socket);
    this.#accepting = Promise.withResolvers();
    return this.#accepting.promise;
  }

  close(): void {
    this.#closed = true;
    this.#server.close();
    for (const socket of this.#done.splice(0)) socket.close();
    this.#accepting?.reject(new Deno.errors.BadResource("closed"));
    this.#accepting = undefined;
  }

  #over(peer: string): void {
    this.#handshaking.get(peer)?.();
    this.#handshaking.delete(peer);
  }

  #ready(socket: TLSSocket): void {
    this.#over(peerOf(socket));
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
    const accepted = new TlsSocket(socket);
    if (this.#accepting !== undefined) {
      this.#accepting.resolve(accepted);
      this.#accepting = undefined;
    } else if (this.#done.length < MAX_DONE && !this.#closed) this.#done.push(accepted);
    else accepted.close();
  }
}

function peerOf(socket: { remoteAddress?: string; remotePort?: number }): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

/** A node socket with the face of a Deno.Conn. One read and one write at a time. */
class TlsSocket implements AcceptedSocket {
  readonly remoteAddr: Deno.NetAddr;
  readonly #socket: TLSSocket;
  #chunk: Uint8Array | undefined;
  #ended = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    const { remoteAddress = "", remotePort = 0 } = socket;
    this.remoteAddr = { transport: "tcp", hostname: remoteAddress, port: remotePort };
    socket.on("data", (chunk: Uint8Array) => {
      socket.pause(); // one chunk at a time: what is not read stays with the peer
      this.#chunk = chunk;
      this.#wake?.();
    });
    socket.on("end", () => this.#finish());
    socket.on("close", () => this.#finish());
    socket.on("error", (error: Error) => {
      this.#error = error;
      this.#finish();
    });
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    while (this.#chunk === undefined) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return null;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const chunk = this.#chunk;
    const count = Math.min(chunk.length, buffer.length);
    buffer.set(chunk.subarray(0, count));
    if (count < chunk.length) this.#chunk = chunk.subarray(count);
    else {
      this.#chunk = undefined;
      this.#socket.resume();
    }
    return count;
  }

  write(bytes: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) => {
        if (error) reject(error);
        else resolve(bytes.length);
      });
    });
  }

  closeWrite(): Promise<void> {
    return new Promise((resolve) => this.#socket.end(() => resolve()));
  }

  close(): void {
    this.#socket.destroy();
    this.#finish();
  }

  #finish(): void {
    this.#ended = true;
    this.#wake?.();
  }
}
