/**
 * One node: its threads, its actors on the main thread, its sockets. Starts in the order in which
 * each part can serve, stops in the reverse.
 */

import { networkOf, wideNetworkOf } from "./settings/ip_address.ts";
import { Bridge, type BridgeMessage } from "../actors/routing/bridge.ts";
import { passwordClient, type PasswordMessage } from "../actors/accounts/passwords.ts";
import { type BusPort, monotonicClock, systemClock } from "../actors/ports.ts";
import { measureLag, Meter } from "../actors/observe/meter.ts";
import { Guard, type GuardMessage } from "../actors/accounts/guard.ts";
import { type PeerMessage, Registry, type RegistryMessage } from "../actors/routing/registry.ts";
import { workerThread } from "../actors/routing/router.ts";
import { ActorSystem, type Ref } from "../actors/runtime/runtime.ts";
import type { StoreCall, StoreMessage } from "../actors/store/store_protocol.ts";
import type { UpkeepMessage } from "../actors/store/upkeep.ts";
import { newTokenKey } from "../actors/accounts/tokens.ts";
import { AdminOperations } from "./admin/operations.ts";
import type { Config } from "./settings/config.ts";
import { Gateway } from "./sockets/gateway.ts";
import { InlineSessions } from "./threads/inline.ts";
import type { ProgramLog } from "./observe/log.ts";
import { type MeteredThread, Metrics } from "./observe/metrics.ts";
import { meterNode } from "./node_meter.ts";
import {
  passwordThreadName,
  passwordThreadsOf,
  startThreads,
  STORE_THREAD,
} from "./threads/node_threads.ts";
import { Readiness, watchReadiness } from "./observe/readiness.ts";
import { SessionPool } from "./threads/session_pool.ts";
import { Threads } from "./threads/threads.ts";

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
  const { registrationsPerMinute, loginsPerMinute, failures, unlimited } = config.limits;
  system.spawn<GuardMessage>("guard", () =>
    new Guard(monotonicClock, {
      registrationsPerMinute,
      loginsPerMinute,
      failures,
      exempt: (remote) => unlimited.has(remote),
      network: networkOf,
      wideNetwork: wideNetworkOf,
      tellOthers: (keys) => bridge.tell({ type: "guard", text: JSON.stringify(keys) }),
    }));
  const bridgeActor = new Bridge(system, bus, () => pool.workers);
  system.spawn<BridgeMessage>("bridge", () => bridgeActor, { onCrash: "escalate" });
  const store: Ref<StoreMessage> = system.ref(STORE_THREAD, "store");
  const ask = (call: StoreCall) => store.ask<unknown>(call, STORE_MS);

  const passwordThreads = passwordThreadsOf(config);
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
    await startThreads(config, bus.node, { threads, system, pool, inline, secret });
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
