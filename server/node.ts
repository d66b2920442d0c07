/**
 * One node: its threads, its actors on the main thread, its sockets. Starts in the order in which
 * each part can serve, stops in the reverse.
 */

import { MAX_UNRECEIPTED_UNITS } from "@chat/wire/limits.ts";
import { Bridge, type BridgeMessage } from "../actors/bridge.ts";
import type { OutLane } from "../actors/lane.ts";
import type { PortLike, ThreadId } from "../actors/link.ts";
import type { PasswordWorkerOptions } from "../actors/password_worker.ts";
import { passwordClient, type PasswordMessage } from "../actors/passwords.ts";
import { type BusPort, systemClock } from "../actors/ports.ts";
import { measureLag, Meter } from "../actors/meter.ts";
import { Guard, type GuardMessage } from "../actors/guard.ts";
import { type PeerMessage, Registry, type RegistryMessage } from "../actors/registry.ts";
import { workerThread } from "../actors/router.ts";
import { ActorSystem, type Ref } from "../actors/runtime.ts";
import type { StoreCall, StoreMessage } from "../actors/store_protocol.ts";
import type { UpkeepMessage } from "../actors/upkeep.ts";
import { newTokenKey } from "../actors/tokens.ts";
import { AdminOperations } from "./admin/operations.ts";
import type { Config } from "./config.ts";
import { Gateway } from "./gateway.ts";
import { InlineSessions } from "./inline.ts";
import type { ProgramLog } from "./log.ts";
import { type MeteredThread, Metrics } from "./metrics.ts";
import { meterNode } from "./node_meter.ts";
import { Readiness } from "./readiness.ts";
import { watchReadiness } from "./readiness_watch.ts";
import { SessionPool } from "./session_pool.ts";
import type { SessionWorkerOptions } from "../actors/session_worker.ts";
import { portOf } from "../actors/thread.ts";
import { Threads } from "./threads.ts";

/** Thread numbers beside the session workers (1 to 64); further password threads follow the first. */
export const STORE_THREAD = 100;
export const PASSWORD_THREAD = 101;

/** How long a resume token lives, ms: 30 days. */
const TOKEN_MS = 30 * 24 * 3_600_000;
/** Deadline of a question to the store while starting or asked for health, ms. */
const STORE_MS = 8_000;
/** Claims in hand at once: each may wait for the bus. */
const REGISTRY_CONCURRENCY = 10_000;
/** How long stopping may take, ms. */
const STOP_MS = 5_000;

/** A running node. */
export interface ChatNode {
  readonly address: Deno.NetAddr;
  /** Undefined when messages get through, else one sentence: see Readiness. */
  problem(): Promise<string | undefined>;
  /** What `deno task admin` may do. */
  readonly admin: AdminOperations;
  /** All metrics, in Prometheus' text format. */
  metrics(): Promise<string>;
  /** Ends a session worker as a crash would; it is started again. */
  killWorker(index: number): boolean;
  /** Reads the TLS certificate again; throws one sentence when it cannot be used. */
  reloadTls(): void;
  /** Tells clients, finishes what is in flight, releases everything. */
  stop(): Promise<void>;
}

/** What a node is started with besides its configuration. */
export interface NodeParts {
  readonly log: ProgramLog;
  readonly bus: BusPort;
  /** The node cannot go on. */
  readonly onFatal: (text: string) => void;
}

/**
 * Starts a node.
 * @throws {Error} One sentence on what is wrong and what to do.
 */
export async function startNode(config: Config, parts: NodeParts): Promise<ChatNode> {
  const { log, bus, onFatal } = parts;
  const pool = new SessionPool(Math.max(1, config.workers));
  const threads = new Threads(log, onFatal);
  const meter = new Meter();
  const deadLetters = meter.counter("chat_dead_letters_total");
  const restarts = meter.counter("chat_actor_restarts_total");
  const system = new ActorSystem(0, systemClock, {
    onDeadLetter(to) {
      deadLetters.value++;
      log.debug("dead letter", { to });
    },
    onCrash(name, error, delayMs) {
      restarts.value++;
      log.error("actor failed", { name, delayMs, error: String(error) });
    },
    onGiveUp: (name, error) => onFatal(`actor ${name} failed too often: ${error}`),
  }, queueMicrotask);

  const bridge: Ref<BridgeMessage> = system.ref(0, "bridge");
  const gateway = new Gateway(config, pool, log, (conn) => registry.tell({ type: "closed", conn }));
  const registryActor = new Registry(system, {
    bus,
    isOpen: (conn) => pool.connections.has(conn),
    isLeft: (conn) => pool.connections.get(conn)?.peerEnded ?? true,
    toPeer: (node, message: PeerMessage) => bridge.tell({ type: "peer", node, message }),
    workers: () => pool.workers,
    later: queueMicrotask,
  });
  const registry = system.spawn<RegistryMessage>("registry", () => registryActor, {
    concurrency: REGISTRY_CONCURRENCY,
    onCrash: "escalate",
  });
  const { registrationsPerMinute, failures, unlimited } = config.limits;
  system.spawn<GuardMessage>("guard", () =>
    new Guard(systemClock, {
      registrationsPerMinute,
      failures,
      exempt: (remote) => unlimited.has(remote),
    }));
  const bridgeActor = new Bridge(system, bus, () => pool.workers);
  system.spawn<BridgeMessage>("bridge", () => bridgeActor, { onCrash: "escalate" });
  const store: Ref<StoreMessage> = system.ref(STORE_THREAD, "store");
  const ask = (call: StoreCall) => store.ask<unknown>(call, STORE_MS);

  const linkSessions = (index: number, port: PortLike) => {
    const link = system.link(
      workerThread(index),
      port,
      (lane) => pool.receiveLane(index, lane as OutLane), // posted by our own worker
    );
    pool.attach(index, link);
  };
  const passwordThreads = passwordThreadsOf(config);
  const workerOptions = (index: number, tokenKey: string): SessionWorkerOptions => ({
    index,
    workers: Math.max(1, config.workers),
    storeThread: STORE_THREAD,
    // Each worker begins with another: what it has in hand is all that it knows of them.
    passwordThreads: passwordThreads.map((_, i) =>
      passwordThreads[(i + index) % passwordThreads.length] ?? PASSWORD_THREAD
    ),
    tokenKey,
    traceOneIn: config.traceOneIn,
    settings: {
      node: bus.node,
      nodeId: bus.node,
      heartbeatSeconds: config.heartbeatSeconds,
      tokenMs: TOKEN_MS,
      maxGroup: config.limits.groupMembers,
      // Each worker's share, so that together they stay within what the store takes.
      maxStoreQueue: Math.ceil(config.limits.storeQueue / Math.max(1, config.workers)),
      maxFriends: config.limits.friends,
      windowUnits: Math.min(MAX_UNRECEIPTED_UNITS, config.limits.queuedBytes / 4),
    },
  });
  const database = config.mysql === undefined
    ? { sqlite: `${config.data}/chat.db` }
    : { mysql: config.mysql };
  const storeOptions = {
    database,
    maxPending: config.limits.pending,
    maxQueued: config.limits.storeQueue,
    historyDays: config.historyDays,
  };

  const metered: MeteredThread[] = [
    { thread: STORE_THREAD, name: "store" },
    ...passwordThreads.map((thread) => ({ thread, name: passwordThreadName(thread) })),
    ...Array.from(pool.workers, (i) => ({ thread: workerThread(i), name: `sessions ${i}` })),
  ];
  const metrics = new Metrics(system, meter, metered);
  const upkeep = system.ref<UpkeepMessage>(STORE_THREAD, "upkeep");
  let probes = 0;
  const readiness = new Readiness({
    stopping: () => gateway.stopping,
    silentThreads: (ms) => metrics.silent(ms),
    bus: () => bus.problem(),
    store: (ms) =>
      Promise.all([
        store.ask({ type: "call", op: "lastMid", args: [0, 0, 0] }, ms), // waits for the queue
        upkeep.ask({ type: "probe", value: `${bus.node} ${++probes}` }, ms),
      ]),
  });
  meterNode(meter, {
    ...{ system, pool, gateway, bus, threads, readiness },
    registry: registryActor,
    bridge: bridgeActor,
    droppedLines: () => log.dropped(),
  });
  const killWorker = (index: number) => threads.kill(workerThread(index));
  const passwords = passwordThreads.map((t) => system.ref<PasswordMessage>(t, "passwords"));
  const admin = new AdminOperations({
    ...{ system, log, bridge },
    ...{ node: bus.node, workers: config.workers, connections: pool.connections, killWorker },
    registry: registryActor,
    passwords: passwordClient(passwords),
    store: ask,
    upkeep: (message) => upkeep.ask(message, STORE_MS),
    problem: () => readiness.check(),
  });
  const stopLag = measureLag(meter);

  const inline = config.workers === 0 ? new InlineSessions(systemClock, log) : undefined;
  const releaseAll = async () => {
    stopLag();
    inline?.stop();
    threads.close();
    system.close();
    await bus.close();
  };
  try {
    await bus.start(bridgeActor);
    const secret = async () =>
      String(await ask({ type: "call", op: "secret", args: ["token-key", newTokenKey()] }));
    await startThreads(config, {
      threads,
      system,
      storeOptions,
      secret,
      workerOptions,
      linkSessions,
      pool,
      inline,
    });
    const address = await gateway.listen();
    const stopWatching = watchReadiness(readiness, log);
    log.debug("node started", { node: bus.node, workers: config.workers });
    return {
      admin,
      address,
      reloadTls: () => gateway.reloadTls(),
      killWorker,
      problem: () => readiness.check(),
      metrics: () => metrics.scrape(),
      async stop() {
        stopWatching();
        await gateway.stop(config.drainMs, STOP_MS);
        // The last commits, and an orderly end of the database.
        await store.ask({ type: "stop" }, STORE_MS).catch((error) =>
          log.warn("the store did not finish in time", { error: String(error) })
        );
        await releaseAll();
      },
    };
  } catch (error) {
    await releaseAll();
    throw error;
  }
}

function passwordThreadsOf({ passwordThreads }: Config): ThreadId[] {
  return Array.from({ length: passwordThreads }, (_, i) => PASSWORD_THREAD + i);
}

function passwordThreadName(thread: ThreadId): string {
  return thread === PASSWORD_THREAD ? "passwords" : `passwords ${thread - PASSWORD_THREAD}`;
}

interface ThreadParts {
  readonly threads: Threads;
  readonly system: ActorSystem;
  readonly storeOptions: unknown;
  readonly secret: () => Promise<string>;
  readonly workerOptions: (index: number, tokenKey: string) => SessionWorkerOptions;
  readonly linkSessions: (index: number, port: PortLike) => void;
  readonly pool: SessionPool;
  /** Where sessions run without a thread of their own. */
  readonly inline: InlineSessions | undefined;
}

async function startThreads(config: Config, parts: ThreadParts): Promise<void> {
  const { threads, system, pool, inline } = parts;
  const sessionThreads = [...pool.workers].map(workerThread);
  if (inline !== undefined) {
    threads.addInline(workerThread(0), (peer, port) => inline.link(peer, portOf(port)));
  }
  await threads.start({
    thread: STORE_THREAD,
    name: "store",
    module: new URL("../actors/store_worker.ts", import.meta.url),
    options: parts.storeOptions,
    peers: sessionThreads,
    onReady(port, restarted) {
      system.link(STORE_THREAD, port);
      if (!restarted) return;
      for (const thread of sessionThreads) {
        system.ref(thread, "sessions").tell({ type: "store_restarted" });
      }
    },
    onDown: () => system.unlink(STORE_THREAD),
  });
  const passwordOptions: PasswordWorkerOptions = {
    cost: config.passwordCost,
    maxWaiting: Math.ceil(config.limits.passwordQueue / config.passwordThreads),
  };
  const passwordThreads = passwordThreadsOf(config);
  const startPasswords = (thread: ThreadId) =>
    threads.start({
      thread,
      name: passwordThreadName(thread),
      module: new URL("../actors/password_worker.ts", import.meta.url),
      options: passwordOptions,
      peers: sessionThreads,
      onReady: (port) => void system.link(thread, port),
      onDown: () => system.unlink(thread),
    });
  await Promise.all(passwordThreads.map(startPasswords));
  const tokenKey = await parts.secret();
  if (inline !== undefined) {
    const options = parts.workerOptions(0, tokenKey);
    await inline.start(options, (port) => parts.linkSessions(0, port));
    return;
  }
  for (const index of pool.workers) {
    await threads.start({
      thread: workerThread(index),
      name: `sessions ${index}`,
      module: new URL("../actors/session_worker.ts", import.meta.url),
      options: parts.workerOptions(index, tokenKey),
      peers: [STORE_THREAD, ...passwordThreads, ...sessionThreads],
      onReady: (port) => parts.linkSessions(index, port),
      onDown() {
        pool.detach(index);
        system.unlink(workerThread(index));
      },
    });
  }
}
