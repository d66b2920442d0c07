/**
 * A TCP proxy on loopback for tests: between two real programs it cuts, delays, stalls and heals.
 * It forwards bytes as they come and knows no protocol.
 *
 * `stall` is a dead peer as TCP shows it: connections stay open, connecting works, bytes go
 * nowhere; nothing is lost, so that `heal` delivers what waited. Order and content of what does
 * pass are never changed. Reading stops while bytes wait, so that memory stays bounded.
 */

/** Which bytes a fault holds up: those the client sends, those it receives, or both. */
export type Direction = "toServer" | "toClient" | "both";

type OneWay = Exclude<Direction, "both">;

/** Bytes forwarded at once. */
const CHUNK_BYTES = 16 * 1024;

/** One client's connection and the one behind it. */
class Link {
  readonly id: number;
  readonly #client: Deno.TcpConn;
  readonly #server: Deno.TcpConn;
  readonly #open = { client: true, server: true };
  /** Bytes after which the link is cut, counted per direction. */
  readonly cutAfter: Record<OneWay, number>;
  readonly passed: Record<OneWay, number> = { toServer: 0, toClient: 0 };

  constructor(
    id: number,
    client: Deno.TcpConn,
    server: Deno.TcpConn,
    cutAfter: Readonly<Record<OneWay, number>>,
  ) {
    this.id = id;
    this.#client = client;
    this.#server = server;
    this.cutAfter = { ...cutAfter };
  }

  get isOpen(): boolean {
    return this.#open.client && this.#open.server;
  }

  from(way: OneWay): Deno.TcpConn {
    return way === "toServer" ? this.#client : this.#server;
  }

  to(way: OneWay): Deno.TcpConn {
    return way === "toServer" ? this.#server : this.#client;
  }

  /** Closes both sides. Bytes that a peer has not read make the kernel send it a reset. */
  cut(): void {
    if (this.#open.client) this.#client.close();
    if (this.#open.server) this.#server.close();
    this.#open.client = this.#open.server = false;
  }
}

/** The proxy. Clients connect to `port`; it connects to `target`. */
export class FaultProxy {
  readonly port: number;
  /** Where new connections go; existing ones keep their own. */
  target: number;
  readonly #listener: Deno.TcpListener;
  readonly #links = new Set<Link>();
  readonly #pumps = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;
  readonly #stalled: Record<OneWay, boolean> = { toServer: false, toClient: false };
  readonly #cutAfter: Record<OneWay, number> = { toServer: Infinity, toClient: Infinity };
  readonly #timers = new Map<ReturnType<typeof setTimeout>, () => void>();
  /** Wakes whoever waits for the end of a stall. */
  #change = Promise.withResolvers<void>();
  #delayMs = 0;
  #refuse = false;
  #closed = false;
  #accepted = 0;

  /**
   * @param target Port of the real server on 127.0.0.1; nobody need listen yet.
   * @param port To listen on; any free one by default.
   */
  constructor(target: number, port = 0) {
    this.target = target;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port });
    this.port = this.#listener.addr.port;
    this.#accepting = this.#accept();
  }

  /** Connections that pass bytes now. */
  get connections(): number {
    return this.#links.size;
  }

  /** Connections ever taken. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Closes every present connection at once; new ones are served. */
  cut(): void {
    for (const link of this.#links) link.cut();
    this.#wakeStalled();
  }

  /**
   * Cuts every connection, present and new, after so many further bytes in a direction: in the
   * middle of a frame, where the caller wants it.
   */
  cutAfter(bytes: number, direction: Direction = "toServer"): void {
    for (const way of ways(direction)) {
      this.#cutAfter[way] = bytes;
      for (const link of this.#links) link.cutAfter[way] = link.passed[way] + bytes;
    }
  }

  /** Holds all bytes up, of present and new connections, until {@linkcode FaultProxy.heal}. */
  stall(direction: Direction = "both"): void {
    for (const way of ways(direction)) this.#stalled[way] = true;
  }

  /** Holds each chunk up for so long. The order stays. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** Closes new connections as soon as they come; present ones go on. */
  refuse(): void {
    this.#refuse = true;
  }

  /** Ends every fault; what a stall or a delay held up goes on its way. Cut connections stay cut. */
  heal(): void {
    this.#stalled.toServer = this.#stalled.toClient = false;
    this.#cutAfter.toServer = this.#cutAfter.toClient = Infinity;
    for (const { cutAfter } of this.#links) cutAfter.toServer = cutAfter.toClient = Infinity;
    this.#delayMs = 0;
    this.#refuse = false;
    this.#wake();
  }

  /** Cuts everything and listens no more. Resolves when nothing of it is left. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    this.cut();
    this.heal();
    await this.#accepting;
    await Promise.all(this.#pumps);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #accept(): Promise<void> {
    for (;;) {
      let client: Deno.TcpConn;
      try {
        client = await this.#listener.accept();
      } catch (error) {
        if (this.#closed) return;
        throw error;
      }
      this.#accepted++;
      if (this.#refuse) {
        client.close();
        continue;
      }
      this.#track(this.#serve(client));
    }
  }

  async #serve(client: Deno.TcpConn): Promise<void> {
    let server: Deno.TcpConn;
    try {
      server = await Deno.connect({ hostname: "127.0.0.1", port: this.target });
    } catch (error) {
      client.close();
      // The client sees it close, as it does when a server just being killed resets the handshake.
      if (error instanceof Deno.errors.ConnectionRefused || isDisconnect(error)) return;
      throw error;
    }
    client.setNoDelay(true);
    server.setNoDelay(true);
    const link = new Link(this.#accepted, client, server, this.#cutAfter);
    this.#links.add(link);
    if (this.#closed) link.cut();
    await Promise.all([this.#pump(link, "toServer"), this.#pump(link, "toClient")]);
    link.cut();
    this.#links.delete(link);
  }

  /** Forwards one direction until it ends; an end is passed on, a failure cuts both. */
  async #pump(link: Link, way: OneWay): Promise<void> {
    const buffer = new Uint8Array(CHUNK_BYTES);
    try {
      for (;;) {
        const count = await link.from(way).read(buffer);
        await this.#pass(link, way);
        if (count === null) {
          await link.to(way).closeWrite();
          return;
        }
        const room = link.cutAfter[way] - link.passed[way];
        await writeAll(link.to(way), buffer.subarray(0, Math.min(count, room)));
        link.passed[way] += count;
        if (count >= room) return link.cut();
      }
    } catch (error) {
      link.cut();
      if (!isDisconnect(error)) throw error;
    }
  }

  /** Waits for as long as a fault holds this direction up. */
  async #pass(link: Link, way: OneWay): Promise<void> {
    if (this.#delayMs > 0) await this.#sleep(this.#delayMs);
    while (this.#stalled[way] && link.isOpen) await this.#change.promise;
  }

  #sleep(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      resolve();
    }, ms);
    this.#timers.set(timer, resolve);
    return promise;
  }

  #wakeStalled(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  #wake(): void {
    this.#wakeStalled();
    for (const [timer, resolve] of this.#timers) {
      clearTimeout(timer);
      resolve();
    }
    this.#timers.clear();
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#pumps.delete(tracked));
    this.#pumps.add(tracked);
  }
}

function ways(direction: Direction): OneWay[] {
  return direction === "both" ? ["toServer", "toClient"] : [direction];
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
}

/** Every way in which a socket tells that one side has gone. */
function isDisconnect(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.Interrupted ||
    error instanceof Deno.errors.NotConnected;
}
