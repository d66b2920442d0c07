/**
 * One run of one simulated node, wired as server/node.ts wires a real one: main thread with sockets,
 * pool, registry and bridge; a store thread; session workers.
 *
 * Real: actors, links' contents, SessionPool, Connection. Simulated: threads, ports, sockets, time.
 */

import { MAX_FRAME_BYTES } from "@chat/wire/limits.ts";
import { Bridge, type BridgeMessage } from "../../actors/routing/bridge.ts";
import { Guard, type GuardMessage } from "../../actors/accounts/guard.ts";
import type { InLane, OutLane } from "../../actors/runtime/lane.ts";
import type { PortLike, ThreadId } from "../../actors/runtime/link.ts";
import { PasswordActor, type PasswordMessage } from "../../actors/accounts/passwords.ts";
import type { BusHandler, BusPort, NodeId, PasswordPort } from "../../actors/ports.ts";
import { type PeerMessage, Registry, type RegistryMessage } from "../../actors/routing/registry.ts";
import { workerThread } from "../../actors/routing/router.ts";
import type { Ref } from "../../actors/runtime/runtime.ts";
import { type HostOptions, SessionHost } from "../../actors/worker/session_host.ts";
import { StoreActor } from "../../actors/store/store.ts";
import type { StoreMessage } from "../../actors/store/store_protocol.ts";
import { STORE_CONCURRENCY } from "../../actors/store/store_options.ts";
import { Connection } from "../../server/sockets/connection.ts";
import { PeerWatch } from "../../server/sockets/peer_watch.ts";
import { SessionPool } from "../../server/threads/session_pool.ts";
import type { Database, DatabaseConnection } from "./database.ts";
import type { Wire } from "./network.ts";
import type { Random } from "./random.ts";
import type { Owner, Scheduler } from "./scheduler.ts";
import { SimThread, type ThreadKind, type ThreadParts } from "./thread.ts";
import { SimThreads } from "./threads.ts";
import type { Trace } from "./trace.ts";

const MAIN_THREAD = 0;
const STORE_THREAD = 100;
/** Silence after which a v2 peer is pinged; after twice that it is closed. Seconds. */
export const HEARTBEAT_SECONDS = 10;
/** How often silence is looked for, ms. */
const WATCH_MS = 1_000;

/** Bytes that may wait for a slow reader, for each unit that may lack a receipt; as in server/node.ts. */
const QUEUED_PER_UNIT = 4;
/** Answers and acknowledgements of one turn, which no window bounds, bytes. */
const OTHER_BYTES = 4_000;

/** Settings of a node that schedules vary. */
export interface NodeSettings {
  readonly workers: number;
  /** Most appends that wait for a commit. */
  readonly maxQueued: number;
  /** Length of pushes that may lack a receipt, UTF-16 units. */
  readonly windowUnits: number;
}

/** What a node needs of the world. */
export interface NodeParts {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly trace: Trace;
  readonly database: Database;
  /** Time of a post between threads, ms. */
  readonly latency: () => number;
  readonly jitter: () => number;
  readonly settings: NodeSettings;
  bus(node: NodeId): BusPort;
  /** Something that must not happen did. */
  onDefect(text: string): void;
  /** The node cannot go on. */
  onFatal(node: SimNode): void;
  /** Changes a worker on purpose; see mutations.ts. */
  readonly breakHost: ((host: SessionHost) => void) | undefined;
}

/** See the module's header. */
export class SimNode implements Owner {
  readonly id: NodeId;
  readonly bus: BusPort;
  readonly main: SimThread;
  readonly pool: SessionPool;
  readonly #peers: PeerWatch;
  readonly registry: Registry;
  readonly skew = { ms: 0 };
  readonly wires = new Set<Wire>();
  alive = true;
  pausedUntil = 0;
  /** Clients can connect. */
  listening = false;
  readonly #parts: NodeParts;
  readonly #registry: Ref<RegistryMessage>;
  readonly #threads: SimThreads;
  readonly #hosts = new Map<number, SessionHost>();
  #databaseConnection: DatabaseConnection | undefined;

  constructor(id: NodeId, skewMs: number, parts: NodeParts) {
    this.id = id;
    this.#parts = parts;
    this.skew.ms = skewMs;
    this.bus = parts.bus(id);
    this.main = this.#thread(MAIN_THREAD, "main", "main");
    const now = () => this.main.clock.now();
    this.pool = new SessionPool(parts.settings.workers, now);
    this.#peers = new PeerWatch(this.pool.connections, HEARTBEAT_SECONDS * 1_000, 0, now);
    this.#threads = this.#makeThreads();
    const { system, later } = this.main;
    const bridge: Ref<BridgeMessage> = system.ref(MAIN_THREAD, "bridge");
    this.registry = new Registry(system, {
      bus: this.bus,
      isOpen: (conn) => this.pool.connections.has(conn),
      isLeft: (conn) => this.pool.connections.get(conn)?.peerEnded ?? true,
      toPeer: (node, message: PeerMessage) => bridge.tell({ type: "peer", node, message }),
      workers: () => this.pool.workers,
      later,
    });
    this.#registry = system.spawn<RegistryMessage>("registry", () => this.registry, {
      concurrency: 10_000,
      onCrash: "escalate",
    });
    const free = {
      registrationsPerMinute: 0,
      loginsPerMinute: 0,
      failures: 0,
      exempt: () => true,
      network: String,
    };
    system.spawn<GuardMessage>("guard", () => new Guard(this.main.clock, free));
    system.spawn<PasswordMessage>("passwords", () => new PasswordActor(this.#passwords()), {
      concurrency: 1_000,
    });
    const bridgeActor = new Bridge(system, this.bus, () => this.pool.workers);
    system.spawn<BridgeMessage>("bridge", () => bridgeActor, { onCrash: "escalate" });
    this.bus.start(this.#guarded(bridgeActor)).then(
      () => this.#startThreads(),
      () => this.#die("no bus"),
    );
  }

  /** Worker actors that run, by index. */
  get hosts(): ReadonlyMap<number, SessionHost> {
    return this.#hosts;
  }

  /** A client connects. */
  accept(wire: Wire): void {
    const { pool, main } = this;
    const connection = new Connection(
      pool.nextConn(),
      wire.socket,
      "sim",
      {
        maxQueuedBytes: QUEUED_PER_UNIT * this.#parts.settings.windowUnits + OTHER_BYTES,
        maxFrameBytes: MAX_FRAME_BYTES,
        maxUnfinished: 512,
        framesPerTick: 0,
      },
      {
        onFrame: (c, bytes, start, end) => pool.frame(c, bytes, start, end),
        onWritten: (c, push) => pool.written(c, push),
        onClosed: (c, reason) => {
          pool.close(c);
          this.#registry.tell({ type: "closed", conn: c.conn });
          this.wires.delete(wire);
          this.#note("main", `connection ${c.conn} closed: ${reason}`);
        },
      },
      () => main.clock.now(),
      (ms, fn) => main.clock.after(ms, fn),
    );
    wire.conn = connection.conn;
    this.wires.add(wire);
    pool.open(connection);
    void connection.run(NOTHING); // never rejects
  }

  // ── the nemesis ─────────────────────────────────────────────────────────────────────────────

  /** kill -9 of the process. */
  crash(): void {
    if (!this.alive) return;
    this.#note("", "CRASHES");
    this.alive = false;
    this.listening = false;
    this.#databaseConnection?.orphan();
    for (const wire of this.wires) wire.serverDied(this.#parts.random.between(0, 50));
    this.wires.clear();
  }

  /** A session worker dies between two steps; it is started again. */
  crashWorker(index: number): void {
    this.#threads.crash(workerThread(index));
  }

  /** The store thread dies between two steps; it is started again. */
  crashStore(): void {
    this.#threads.crash(STORE_THREAD);
  }

  // ── threads ─────────────────────────────────────────────────────────────────────────────────

  #startThreads(): void {
    const { scheduler, database, random } = this.#parts;
    if (database.down) {
      // A real one fails to open the store and is started again by its supervisor.
      scheduler.at(random.between(50, 300), this.main, "start", () => this.#startThreads());
      return;
    }
    this.#threads.start(STORE_THREAD);
  }

  #makeThreads(): SimThreads {
    const { scheduler, random } = this.#parts;
    return new SimThreads({
      scheduler,
      random,
      main: this.main,
      make: (id) =>
        id === STORE_THREAD
          ? this.#thread(id, "store", "store")
          : this.#thread(id, "sessions", `w${id - 1}`),
      run: (thread, port) =>
        thread.kind === "store" ? this.#runStore(thread, port) : this.#runSessions(thread, port),
      ready: (thread, port, restarted) => {
        this.#ready(thread, port, restarted);
        if (!this.listening) this.#started(thread.id);
      },
      died: (thread) => {
        this.#note(thread.name, "CRASHES");
        if (thread.kind === "sessions") this.#hosts.delete(thread.id - 1);
        else this.#databaseConnection?.orphan();
      },
      down: (thread) => {
        if (thread.kind === "sessions") this.pool.detach(thread.id - 1);
      },
    });
  }

  /** A thread runs for the first time: the next may start, after the last one clients may come. */
  #started(id: ThreadId): void {
    const next = id === STORE_THREAD ? workerThread(0) : id + 1;
    if (this.#threads.knows(next)) return; // this one has died meanwhile, and was started again
    if (next <= workerThread(this.#parts.settings.workers - 1)) {
      this.#threads.start(next);
    } else if (!this.listening) {
      this.listening = true;
      this.#note("", "listens");
      this.#watch();
    }
  }

  /** In the thread. */
  #runStore(thread: SimThread, port: PortLike): void {
    const { database, settings } = this.#parts;
    thread.system.link(MAIN_THREAD, port);
    const connection = this.#databaseConnection = database.connect(thread);
    const store = new StoreActor(thread.system, connection, {
      maxQueued: settings.maxQueued,
      onFailure: (error) => this.#note("store", `the database refused: ${error}`),
    });
    thread.system.spawn<StoreMessage>("store", () => store, {
      concurrency: STORE_CONCURRENCY,
      onCrash: "escalate",
    });
  }

  /** In the thread. */
  #runSessions(thread: SimThread, port: PortLike): void {
    const { random, settings, breakHost } = this.#parts;
    const index = thread.id - 1;
    const options: HostOptions = {
      index,
      workers: settings.workers,
      storeThread: STORE_THREAD,
      passwordThreads: [MAIN_THREAD],
      tokenKey: TOKEN_KEY,
      settings: {
        node: this.id,
        nodeId: this.id,
        heartbeatSeconds: HEARTBEAT_SECONDS,
        tokenMs: 3_600_000,
        maxGroup: 0,
        maxStoreQueue: 1_000,
        maxFriends: 0,
        loginsPerMinute: 0,
        messagesPerMinute: 0,
        unitsPerMinute: 0,
        deliveriesPerMinute: 0,
        classicBytes: 0,
        maxTokens: 0,
        maxGroups: 0,
        windowUnits: settings.windowUnits,
      },
      later: thread.later,
      log: (text, error) => this.#logged(thread, text, error),
      random: (count) => random.bytes(count),
    };
    const host = new SessionHost(thread.system, options);
    breakHost?.(host);
    this.#hosts.set(index, host);
    const receive = (lane: unknown) => host.receiveLane(lane as InLane); // posted by our own pool
    host.start(thread.system.link(MAIN_THREAD, port, receive));
  }

  /** In the main thread: the new thread has said that it runs. */
  #ready(thread: SimThread, port: PortLike, restarted: boolean): void {
    const { system } = this.main;
    if (thread.kind === "sessions") {
      const index = thread.id - 1;
      const receive = (lane: unknown) => this.pool.receiveLane(index, lane as OutLane);
      this.pool.attach(index, system.link(thread.id, port, receive));
      return;
    }
    system.link(STORE_THREAD, port);
    if (!restarted) return;
    for (const index of this.pool.workers) {
      system.ref(workerThread(index), "sessions").tell({ type: "store_restarted" });
    }
  }

  #thread(id: ThreadId, kind: ThreadKind, name: string): SimThread {
    const { scheduler, random, latency, jitter } = this.#parts;
    const parts: ThreadParts = {
      scheduler,
      machine: this,
      skew: this.skew,
      jitter,
      random: () => random.next(),
      latency,
    };
    const thread: SimThread = new SimThread(id, kind, `${this.id} ${name}`, parts, {
      onDeadLetter: (to) => this.#note(name, `dead letter to ${to}`),
      onCrash: (actor, error) => this.#parts.onDefect(`${thread.name}: ${actor} threw ${error}`),
      onGiveUp: (actor, error) => this.#parts.onDefect(`${thread.name}: ${actor} threw ${error}`),
    });
    return thread;
  }

  /** The bus calls on the main thread. */
  #guarded(bridge: BusHandler): BusHandler {
    return {
      onEnvelope: (from, text) => {
        if (this.alive) bridge.onEnvelope(from, text);
      },
      onNodeUp: (node) => this.alive && bridge.onNodeUp(node),
      onNodeDown: (node) => this.alive && bridge.onNodeDown(node),
      onReset: () => this.alive && bridge.onReset(),
    };
  }

  #passwords(): PasswordPort {
    const { scheduler, random } = this.#parts;
    const wait = <T>(value: T) =>
      new Promise<T>((resolve) => {
        scheduler.at(random.between(1, 80), this.main, "password", () => resolve(value));
      });
    return {
      hash: (password) => wait(`hash of ${password}`),
      verify: (password, hash) => wait(hash === `hash of ${password}`),
      upgrade: () => wait(undefined),
    };
  }

  #watch(): void {
    this.#parts.scheduler.at(WATCH_MS, this.main, "timer", () => {
      this.#peers.look();
      this.#watch();
    });
  }

  #die(why: string): void {
    this.#note("", `gives up: ${why}`);
    this.#parts.onFatal(this);
  }

  #logged(thread: SimThread, text: string, error: unknown): void {
    if (/session \d+ failed/.test(text)) this.#parts.onDefect(`${thread.name}: ${text}: ${error}`);
    this.#note(thread.name, `logs ${text}: ${error}`);
  }

  #note(who: string, text: string): void {
    const { trace } = this.#parts;
    if (trace.on) trace.note(who.startsWith(this.id) ? who : `${this.id} ${who}`.trim(), text);
  }
}

const NOTHING = new Uint8Array(0);
/** Tokens are signed with it: any 32 bytes, the same on every node. */
const TOKEN_KEY = "c2ltdWxhdGlvbi1zaW11bGF0aW9uLXNpbXVsYXRpb24";
