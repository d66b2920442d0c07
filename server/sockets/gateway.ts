/**
 * The node's front door: accepts or refuses connections, hands their frames to the session pool, and
 * counts them in and out. Owns every Connection.
 */

import { MinuteBuckets } from "../../actors/accounts/buckets.ts";
import { HeldBack } from "../../actors/observe/held_back.ts";
import { monotonicClock } from "../../actors/ports.ts";
import { Admission } from "./admission.ts";
import { CLOSE_REASONS, type CloseReason } from "./close_reason.ts";
import { ByteBudget } from "./byte_budget.ts";
import type { Config } from "../settings/config.ts";
import { Connection, type ConnectionEvents, type ConnectionLimits } from "./connection.ts";
import { Drain } from "./drain.ts";
import { cannotListen } from "../observe/http.ts";
import type { Log } from "../observe/log.ts";
import { networkOf } from "../settings/ip_address.ts";
import { encodeBye } from "./own_frames.ts";
import { PeerWatch, TICK_MS } from "./peer_watch.ts";
import { beginsLikeProxyHeader } from "./proxy_protocol.ts";
import { readProxyHeader } from "./proxied_socket.ts";
import {
  type AcceptedSocket,
  LISTEN_BACKLOG,
  readKeyPair,
  type SocketListener,
  TlsListener,
} from "./tls_listener.ts";
import { type Waiting, WaitingRoom } from "./waiting_room.ts";

/** How often a missing or unexpected PROXY header is worth a warning, ms. */
const HEADER_WARN_MS = 60_000;

/** What an address may open at once: what it may in so many ms. All of a dead node's users come back. */
const OPENING_MS = 20_000;
/**
 * Connections accepted in a row, and the pause after them, ms. While there is always one more to accept
 * the thread never rests, and Deno asks the system which other sockets are ready only when it rests or
 * after dozens of turns: everybody who is logged in was read seconds late. It makes 5,000 a second.
 */
const ACCEPTS_IN_A_ROW = 16;
const ACCEPT_PAUSE_MS = 2;
/** What a refused client is told to wait, ms. */
const REFUSED_MS = 5_000;

/** Ends that are a limit's doing. */
const HELD_BACK: ReadonlySet<CloseReason> = new Set(["too_fast", "slow_reader", "made_room"]);

const NOTHING = new Uint8Array(0);

/** Where connections and their frames go: what the gateway needs of the session pool. */
export interface ConnectionPool {
  readonly connections: ReadonlyMap<number, Connection>;
  /** Number of the next connection; it decides whose it will be. */
  nextConn(): number;
  open(connection: Connection): void;
  frame(connection: Connection, bytes: Uint8Array, start: number, end: number): void;
  /** The socket has taken everything up to this push. */
  written(connection: Connection, push: number): void;
  close(connection: Connection): void;
}

/** See the module's header. */
export class Gateway {
  readonly #config: Config;
  readonly #limits: ConnectionLimits;
  readonly #pool: ConnectionPool;
  readonly #log: Log;
  readonly #onClosed: (conn: number) => void;
  readonly #admission: Admission;
  readonly #watch: PeerWatch;
  /** Who has not logged in; connections in it by themselves too, to be found when they do. */
  readonly #room: WaitingRoom;
  readonly #waiting = new Map<Connection, Waiting>();
  /** Of the waiting, those of which no connection is made yet: in all, and by address. */
  readonly #early = new Map<string, number>();
  #earlyInAll = 0;
  readonly #budget = new ByteBudget();
  readonly #heldBack: HeldBack;
  readonly #drain: Drain;
  #listener: SocketListener | undefined;
  #tls: TlsListener | undefined;
  #accepting: Promise<void> | undefined;
  /** Connections opened, by address. */
  readonly #opening: MinuteBuckets<string>;
  /** Accepted from a proxy, header not complete. */
  readonly #headerless = new Set<AcceptedSocket>();
  #headerWarnedAt = 0;
  #budgetTimer: ReturnType<typeof setInterval> | undefined;
  #stopping = false;
  /** For metrics. */
  readonly counts = {
    accepted: 0,
    refused: 0,
    closed: new Map(CLOSE_REASONS.map((reason) => [reason, 0])),
  };

  /** @param onClosed Told of each connection that has closed. */
  constructor(config: Config, pool: ConnectionPool, log: Log, onClosed: (conn: number) => void) {
    this.#config = config;
    const { heartbeatSeconds, limits } = config;
    const { queuedBytes, framesPerSecond, bytesPerSecond, frameBytes, unfinished } = limits;
    this.#limits = {
      maxQueuedBytes: queuedBytes,
      maxFrameBytes: frameBytes,
      maxUnfinished: unfinished,
      framesPerTick: framesPerSecond * TICK_MS / 1_000,
      bytesPerTick: bytesPerSecond * TICK_MS / 1_000,
      budget: this.#budget,
    };
    this.#pool = pool;
    this.#log = log;
    this.#heldBack = new HeldBack(monotonicClock, (line) => log.warn("held back", { ...line }));
    this.#onClosed = onClosed;
    this.#admission = new Admission(limits);
    this.#room = new WaitingRoom(limits.waiting);
    this.#opening = new MinuteBuckets(monotonicClock, limits.connectsPerMinute, OPENING_MS);
    this.#watch = new PeerWatch(pool.connections, heartbeatSeconds * 1_000, limits.loginMs);
    this.#drain = new Drain(pool.connections);
  }

  /** Listens; resolves with the address, whose port is the real one. */
  async listen(): Promise<Deno.NetAddr> {
    const { host, port, tls } = this.#config;
    const pair = tls && readKeyPair(tls, host);
    try {
      if (pair === undefined) {
        this.#listener = Deno.listen({ hostname: host, port, tcpBacklog: LISTEN_BACKLOG });
      } else {
        this.#listener = this.#tls = await TlsListener.listen(host, port, pair, {
          begin: (remote, end) =>
            this.#refusal(remote) === undefined ? this.#enterEarly(remote, end) : undefined,
          failed: (error) => this.#log.warn("accept failed", { error: String(error) }),
        });
      }
    } catch (cause) {
      throw cannotListen(host, port, "--host and --port", cause);
    }
    this.#watch.start();
    this.#budgetTimer = setInterval(() => this.#budget.tick(), TICK_MS);
    this.#accepting = this.#accept(this.#listener);
    return this.#listener.addr as Deno.NetAddr;
  }

  /**
   * Reads the certificate again, for new connections; without TLS there is nothing to do.
   * @throws {Error} One sentence; then the old one stays in use.
   */
  reloadTls(): void {
    const { host, tls } = this.#config;
    if (tls !== undefined) this.#tls?.replace(readKeyPair(tls, host));
  }

  /** Connections, handshakes and sockets before their header on which nobody is logged in. */
  get waiting(): number {
    return this.#room.size;
  }

  /** Those that had to make room for others so far. */
  get evicted(): number {
    return this.#room.evicted;
  }

  /** Bytes of frames in hand. */
  get bytesInHand(): number {
    return this.#budget.inHand;
  }

  #refusal(remote: string): string | undefined {
    const here = this.#early.get(networkOf(remote)) ?? 0;
    return this.#admission.refusal(remote, { all: this.#earlyInAll, here });
  }

  /**
   * A socket of which no connection is made yet takes a place.
   * @param end Closes it, when it has to make room.
   * @returns Gives the place back; may be called again.
   */
  #enterEarly(remote: string, end: () => void): () => void {
    const network = networkOf(remote);
    let isIn = true;
    const count = (by: number) => {
      this.#earlyInAll += by;
      const left = (this.#early.get(network) ?? 0) + by;
      if (left === 0) this.#early.delete(network);
      else this.#early.set(network, left);
    };
    const leave = () => {
      if (!isIn) return;
      isIn = false;
      count(-1);
      this.#room.leave(waiting);
    };
    const waiting: Waiting = {
      remote,
      evict: () => {
        leave();
        end();
      },
    };
    count(1);
    this.#room.enter(waiting);
    return leave;
  }

  /** True from the first word of a stop on. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /**
   * Stops accepting and tells all clients, spread over `windowMs`, when to come back: together they
   * would all log in elsewhere at once. Then waits until they are closed, at most `ms`.
   */
  async stop(windowMs: number, ms: number): Promise<void> {
    this.#stopping = true;
    this.#listener?.close();
    await this.#accepting;
    for (const socket of this.#headerless) closeQuietly(socket);
    await this.#drain.tellAll(windowMs);
    this.#watch.stop();
    clearInterval(this.#budgetTimer);
    await this.#drain.untilGone(ms);
  }

  async #accept(listener: SocketListener): Promise<void> {
    for (let n = 1;; n++) {
      let socket: AcceptedSocket;
      try {
        socket = await listener.accept();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return; // closed by stop()
        // Out of file descriptors, or the peer was gone already: later ones may do better.
        this.#log.warn("accept failed", { error: String(error) });
        await pause(50);
        continue;
      }
      this.#open(socket);
      if (n % ACCEPTS_IN_A_ROW === 0) await pause(ACCEPT_PAUSE_MS);
    }
  }

  #open(socket: AcceptedSocket): void {
    if ("setNoDelay" in socket) {
      const tcp = socket as Deno.TcpConn;
      tcp.setNoDelay(true);
      tcp.setKeepAlive(true);
    }
    const peer = socket.remoteAddr;
    const remote = peer.transport === "tcp" ? peer.hostname : "";
    const { proxyProtocol, trustedProxies } = this.#config;
    if (!proxyProtocol || !trustedProxies.has(remote)) {
      this.#start(socket, remote, NOTHING);
      return;
    }
    // A balancer's address says nothing of whose the connection is.
    const refusal = this.#admission.refusal("", { all: this.#earlyInAll, here: 0 });
    if (refusal === undefined) void this.#openProxied(socket, remote);
    else this.#refuse(socket, remote, refusal);
  }

  /** Anybody else's header is no header: what it says would be believed. Never rejects. */
  async #openProxied(socket: AcceptedSocket, proxy: string): Promise<void> {
    this.#headerless.add(socket);
    const leave = this.#enterEarly(proxy, () => closeQuietly(socket));
    const header = await readProxyHeader(socket);
    leave();
    this.#headerless.delete(socket);
    if (header.ok && !this.#stopping) {
      this.#start(socket, header.source?.hostname ?? proxy, header.rest);
      return;
    }
    closeQuietly(socket);
    if (header.ok) return;
    this.#warnOfHeader("no PROXY header", { proxy, reason: header.reason });
  }

  /** A balancer that is set up otherwise loses every client: to be seen, but not each time. */
  #warnOfHeader(event: string, fields: Record<string, unknown>): void {
    const now = this.#watch.now();
    const level = now - this.#headerWarnedAt > HEADER_WARN_MS ? "warn" : "debug";
    if (level === "warn") this.#headerWarnedAt = now;
    this.#log[level](event, fields);
  }

  #start(socket: AcceptedSocket, remote: string, rest: Uint8Array): void {
    if (!this.#mayOpen(remote)) {
      this.counts.refused++;
      this.#heldBack.note(remote, 0, "refused: opens connections too fast");
      closeQuietly(socket); // a word would cost as much as a session
      return;
    }
    const refusal = this.#refusal(remote);
    if (refusal !== undefined) {
      this.#refuse(socket, remote, refusal);
      return;
    }
    this.#admission.admit(remote);
    this.counts.accepted++;
    const connection = new Connection(
      this.#pool.nextConn(),
      socket,
      remote,
      this.#limits,
      this.#events,
      this.#watch.now,
      undefined,
      this.#config.limits.unlimited.has(remote) ? "" : networkOf(remote),
    );
    this.#pool.open(connection);
    this.#waits(connection);
    this.#drain.opened();
    void connection.run(rest).then(this.#read); // never rejects
  }

  #mayOpen(remote: string): boolean {
    if (this.#config.limits.unlimited.has(remote)) return true;
    const network = networkOf(remote);
    if (this.#opening.wait(network) > 0) return false;
    this.#opening.add(network);
    return true;
  }

  /** Nobody is logged in on it: it takes a place among those that wait. */
  #waits(connection: Connection): void {
    const waiting: Waiting = {
      remote: connection.remote,
      evict: () => {
        this.#waiting.delete(connection);
        const why = "room was needed for others: log in sooner";
        connection.bye("TRY_LATER", why, "made_room", REFUSED_MS);
      },
    };
    this.#waiting.set(connection, waiting);
    this.#room.enter(waiting);
  }

  #waitsNoMore(connection: Connection): void {
    const waiting = this.#waiting.get(connection);
    if (waiting === undefined) return;
    this.#waiting.delete(connection);
    this.#room.leave(waiting);
  }

  // One of each for all connections: most are idle, and each closure would cost 60 bytes.
  readonly #read = () => this.#drain.hungUp();
  readonly #events: ConnectionEvents = {
    onFrame: (c, bytes, start, end) => this.#pool.frame(c, bytes, start, end),
    onWritten: (c, push) => this.#pool.written(c, push),
    onClosed: (c, reason) => this.#closed(c, reason),
    onUser: (c) => c.user === 0 ? this.#waits(c) : this.#waitsNoMore(c),
    onGarbage: (c, bytes) => {
      if (c.lastSeq !== 0 || !beginsLikeProxyHeader(bytes)) return;
      const event = "a PROXY header came unexpected: see --proxy-protocol, --trusted-proxies";
      this.#warnOfHeader(event, { from: c.remote });
    },
  };

  /** One answer that says why, then the door; nothing is kept of it. */
  #refuse(socket: AcceptedSocket, remote: string, why: string): void {
    this.counts.refused++;
    this.#heldBack.note(remote, 0, `refused: ${why}`);
    this.#log.debug("connection refused", { remote, why });
    socket.write(encodeBye("TRY_LATER", why, REFUSED_MS)).then(
      () => closeQuietly(socket),
      () => closeQuietly(socket),
    );
  }

  #closed(connection: Connection, reason: CloseReason): void {
    this.#admission.release(connection.remote);
    this.#waitsNoMore(connection);
    this.counts.closed.set(reason, (this.counts.closed.get(reason) ?? 0) + 1);
    if (HELD_BACK.has(reason)) {
      this.#heldBack.note(connection.remote, connection.memo?.user ?? 0, `closed: ${reason}`);
    }
    this.#pool.close(connection);
    this.#onClosed(connection.conn);
    this.#log.debug("connection closed", {
      conn: connection.conn,
      user: connection.memo?.user ?? 0,
      remote: connection.remote,
      reason,
    });
    this.#drain.closed();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function closeQuietly(socket: AcceptedSocket): void {
  try {
    socket.close();
  } catch { // it was closed before
  }
}
