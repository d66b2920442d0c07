/** What the main thread counts and shows: connections, registry, bridge, threads, memory. */

import type { Bridge } from "../actors/routing/bridge.ts";
import type { Meter } from "../actors/observe/meter.ts";
import type { BusPort } from "../actors/ports.ts";
import type { Registry } from "../actors/routing/registry.ts";
import type { ActorSystem } from "../actors/runtime/runtime.ts";
import type { Gateway } from "./sockets/gateway.ts";
import type { Readiness } from "./observe/readiness.ts";
import type { SessionPool } from "./threads/session_pool.ts";
import type { Threads } from "./threads/threads.ts";

/** The parts that are looked at. */
export interface MeteredParts {
  readonly system: ActorSystem;
  readonly pool: SessionPool;
  readonly gateway: Gateway;
  readonly registry: Registry;
  readonly bridge: Bridge;
  readonly bus: BusPort;
  readonly threads: Threads;
  readonly readiness: Readiness;
  readonly droppedLines: () => number;
}

/** Adds everything to the main thread's meter; it is read when somebody scrapes. */
export function meterNode(meter: Meter, parts: MeteredParts): void {
  const { system, pool, gateway, registry, bridge, bus, threads, readiness } = parts;
  const { counts } = gateway;
  const open = () => [...pool.connections.values()];
  meter.gauge("chat_connections", () => pool.connections.size);
  meter.gauge("chat_connections_waiting", () => gateway.waiting);
  meter.gauge("chat_connections_evicted_total", () => gateway.evicted);
  meter.gauge("chat_connections_accepted_total", () => counts.accepted);
  meter.gauge("chat_connections_refused_total", () => counts.refused);
  meter.byLabel("chat_connections_closed_total", () => counts.closed);
  meter.gauge("chat_bytes_queued", () => open().reduce((sum, c) => sum + c.queuedBytes, 0));
  meter.gauge("chat_bytes_in_hand", () => gateway.bytesInHand);
  meter.gauge("chat_frames_unfinished", () => open().reduce((sum, c) => sum + c.unfinished, 0));
  meter.gauge("chat_replay_bytes", () => pool.heldBytes);
  meter.gauge("chat_sessions", () => registry.counts.here);
  meter.gauge("chat_users_online", () => registry.counts.all);
  for (const actor of ["registry", "guard", "bridge"]) {
    meter.gauge("chat_mailbox_messages", () => system.waiting(actor), actor);
  }
  meter.gauge("chat_bridge_up", () => bus.problem() === undefined ? 1 : 0);
  meter.gauge("chat_bridge_sent_total", () => bridge.sent);
  meter.gauge("chat_bridge_received_total", () => bridge.received);
  meter.gauge("chat_bridge_dropped_total", () => bus.counters.dropped);
  meter.gauge("chat_bridge_resets_total", () => bus.counters.resets);
  meter.byLabel("chat_thread_restarts_total", () => threads.restarts);
  meter.gauge("chat_ready", () => readiness.problem === undefined ? 1 : 0);
  meter.gauge("chat_log_lines_dropped_total", parts.droppedLines);
  meter.gauge("chat_memory_bytes", () => Deno.memoryUsage().rss);
}
