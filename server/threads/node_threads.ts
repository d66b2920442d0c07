/**
 * Which threads a node has, what each is started with and whom it talks to: one for the store, some
 * for passwords, and the session workers, unless sessions run in the main thread (`--workers 0`).
 */

import { MAX_UNRECEIPTED_UNITS } from "@chat/wire/limits.ts";
import type { OutLane } from "../../actors/runtime/lane.ts";
import type { PortLike, ThreadId } from "../../actors/runtime/link.ts";
import type { PasswordWorkerOptions } from "../../actors/password_worker.ts";
import type { NodeId } from "../../actors/ports.ts";
import { workerThread } from "../../actors/routing/router.ts";
import type { ActorSystem } from "../../actors/runtime/runtime.ts";
import type { SessionWorkerOptions } from "../../actors/session_worker.ts";
import type { StoreWorkerOptions } from "../../actors/store/store_options.ts";
import { portOf } from "../../actors/runtime/thread.ts";
import type { Config } from "../settings/config.ts";
import type { InlineSessions } from "./inline.ts";
import type { SessionPool } from "./session_pool.ts";
import type { Threads } from "./threads.ts";

/**
 * Log-ins and RESUMEs of one user a minute: an honest client backs off, and a node that dies costs
 * each of its users one. Each reads and sends the user's lists.
 */
const LOGINS_PER_USER = 120;
/** Thread numbers beside the session workers (1 to 64); further password threads follow the first. */
export const STORE_THREAD = 100;
export const PASSWORD_THREAD = 101;

/** How long a resume token lives, ms: 30 days. */
const TOKEN_MS = 30 * 24 * 3_600_000;

/** What threads are started with besides the configuration. */
export interface ThreadParts {
  readonly threads: Threads;
  readonly system: ActorSystem;
  readonly pool: SessionPool;
  /** Where sessions run without a thread of their own. */
  readonly inline: InlineSessions | undefined;
  /** The key that signs resume tokens, out of the store. */
  readonly secret: () => Promise<string>;
}

/** Numbers of the threads that hash passwords; at least one. */
export function passwordThreadsOf({ passwordThreads }: Config): ThreadId[] {
  return Array.from({ length: passwordThreads }, (_, i) => PASSWORD_THREAD + i);
}

/** Its name in metrics and in the log. */
export function passwordThreadName(thread: ThreadId): string {
  return thread === PASSWORD_THREAD ? "passwords" : `passwords ${thread - PASSWORD_THREAD}`;
}

/**
 * Starts them in the order in which they need each other.
 * @throws {Error} One sentence, when one cannot start.
 */
export async function startThreads(
  config: Config,
  node: NodeId,
  parts: ThreadParts,
): Promise<void> {
  const { inline, threads } = parts;
  if (inline !== undefined) {
    threads.addInline(workerThread(0), (peer, port) => inline.link(peer, portOf(port)));
  }
  await startStore(config, parts);
  await Promise.all(passwordThreadsOf(config).map((t) => startPasswords(t, config, parts)));
  const options = sessionOptions(config, node, await parts.secret());
  if (inline === undefined) await startSessions(config, options, parts);
  else await inline.start(options(0), (port) => linkSessions(0, port, parts));
}

function startStore(config: Config, { threads, system, pool }: ThreadParts): Promise<void> {
  const sessionThreads = Array.from(pool.workers, workerThread);
  const options: StoreWorkerOptions = {
    database: config.mysql === undefined
      ? { sqlite: `${config.data}/chat.db` }
      : { mysql: config.mysql },
    maxPending: config.limits.pending,
    maxQueued: config.limits.storeQueue,
    historyDays: config.historyDays,
  };
  return threads.start({
    thread: STORE_THREAD,
    name: "store",
    module: new URL("../../actors/store_worker.ts", import.meta.url),
    options,
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
}

function startPasswords(
  thread: ThreadId,
  config: Config,
  { threads, system, pool }: ThreadParts,
): Promise<void> {
  const options: PasswordWorkerOptions = {
    cost: config.passwordCost,
    maxWaiting: Math.ceil(config.limits.passwordQueue / config.passwordThreads),
  };
  return threads.start({
    thread,
    name: passwordThreadName(thread),
    module: new URL("../../actors/password_worker.ts", import.meta.url),
    options,
    peers: Array.from(pool.workers, workerThread),
    onReady: (port) => void system.link(thread, port),
    onDown: () => system.unlink(thread),
  });
}

async function startSessions(
  config: Config,
  options: (index: number) => SessionWorkerOptions,
  parts: ThreadParts,
): Promise<void> {
  const { threads, system, pool } = parts;
  const sessionThreads = Array.from(pool.workers, workerThread);
  for (const index of pool.workers) {
    await threads.start({
      thread: workerThread(index),
      name: `sessions ${index}`,
      module: new URL("../../actors/session_worker.ts", import.meta.url),
      options: options(index),
      peers: [STORE_THREAD, ...passwordThreadsOf(config), ...sessionThreads],
      onReady: (port) => linkSessions(index, port, parts),
      onDown() {
        pool.detach(index);
        system.unlink(workerThread(index));
      },
    });
  }
}

function linkSessions(index: number, port: PortLike, { system, pool }: ThreadParts): void {
  const receive = (lane: unknown) => pool.receiveLane(index, lane as OutLane); // posted by our own worker
  pool.attach(index, system.link(workerThread(index), port, receive));
}

/** What each session worker is started with, by its index. */
function sessionOptions(
  config: Config,
  node: NodeId,
  tokenKey: string,
): (index: number) => SessionWorkerOptions {
  const { limits } = config;
  const workers = Math.max(1, config.workers);
  const passwordThreads = passwordThreadsOf(config);
  const settings = {
    node,
    nodeId: node,
    heartbeatSeconds: config.heartbeatSeconds,
    tokenMs: TOKEN_MS,
    maxGroup: limits.groupMembers,
    // Each worker's share, so that together they stay within what the store takes.
    maxStoreQueue: Math.ceil(limits.storeQueue / workers),
    maxFriends: limits.friends,
    loginsPerMinute: LOGINS_PER_USER,
    messagesPerMinute: limits.messagesPerMinute,
    unitsPerMinute: limits.unitsPerMinute,
    deliveriesPerMinute: limits.deliveriesPerMinute,
    classicBytes: limits.classicBytes,
    maxTokens: limits.tokens,
    maxGroups: limits.groups,
    windowUnits: Math.min(MAX_UNRECEIPTED_UNITS, limits.queuedBytes / 4),
  };
  return (index) => ({
    index,
    workers,
    storeThread: STORE_THREAD,
    // Each worker begins with another: what it has in hand is all that it knows of them.
    passwordThreads: passwordThreads.map((_, i) =>
      passwordThreads[(i + index) % passwordThreads.length] ?? PASSWORD_THREAD
    ),
    tokenKey,
    traceOneIn: config.traceOneIn,
    settings,
  });
}
