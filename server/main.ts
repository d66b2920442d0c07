/** `deno task serve`: reads the settings, starts one node, stops it on SIGTERM or SIGINT. */

import { createLocalBus } from "../actors/adapters/local_bus.ts";
import { AdminSocket } from "./admin/socket.ts";
import { affordable, type Config, type Invocation, readConfig } from "./settings/config.ts";
import { ConfigError } from "./settings/flag_values.ts";
import { helpText } from "./settings/flags.ts";
import { socketPath, takeDataDir } from "./settings/data_dir.ts";
import { serveHttp } from "./observe/http.ts";
import { createLog, type Log, type ProgramLog } from "./observe/log.ts";
import { type ChatNode, startNode } from "./node.ts";
import { endpoint } from "./settings/node_command.ts";

/** Exit status when the node cannot start, or cannot go on. */
const FAILED = 1;
/** A limit that is lowered to less than this part of itself is worth a line. */
const WORTH_SAYING = 0.9;
const PASSWORD_IN_URL = /^(?:--(?:mysql|redis)=)?(?:mysql|rediss?):\/\/[^/@]*:[^/@]+@/;
/**
 * At least this long from one worker ended by SIGUSR2 to the next, ms: the others have to carry on.
 * Signals that come sooner are one that waits.
 */
const BETWEEN_KILLS_MS = 500;
/** How long the last lines of the log may take, ms. */
const FLUSH_MS = 500;

function stopWith(text: string): never {
  console.error(`chat server: ${text}`);
  Deno.exit(FAILED);
}

function read(): Invocation {
  try {
    return readConfig(Deno.args, (name) => Deno.env.get(name), navigator.hardwareConcurrency);
  } catch (error) {
    if (error instanceof ConfigError) stopWith(error.message);
    throw error;
  }
}

/** Names this run of this node: unique among all runs of all nodes. */
function newNodeId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function openBus(config: Config, nodeId: string) {
  if (config.redis === undefined) return createLocalBus(nodeId);
  const { openRedisBus } = await import("../actors/adapters/redis/bus.ts");
  return openRedisBus({ url: config.redis, node: nodeId });
}

async function main(): Promise<void> {
  const invocation = read();
  if (invocation.help) {
    console.log(helpText());
    return;
  }
  const log = createLog(invocation.config.logLevel, Deno.stderr.isTerminal());
  try {
    await serve(withinOpenFiles(invocation.config, log), log);
  } finally {
    await log.flushed(FLUSH_MS);
  }
  Deno.exit(0);
}

/** More connections than files may be open would be accepted and fail. */
function withinOpenFiles(config: Config, log: Log): Config {
  const { openFiles, limits } = config;
  if (openFiles === undefined) return config;
  const most = affordable(openFiles);
  if (limits.connections > 0 && limits.connections <= most) return config;
  const asked = limits.connections;
  // Of the default nothing is said where it is nearly reached.
  const isMuch = asked === 0 || most < WORTH_SAYING * asked;
  if (isMuch) {
    log.warn("--max-connections is lowered to what may be open: raise it with ulimit -n", {
      openFiles,
      asked,
      connections: most,
    });
  }
  return { ...config, limits: { ...limits, connections: most } };
}

/** One node, until it is told to stop. */
async function serve(config: Config, log: ProgramLog): Promise<void> {
  using _data = config.mysql === undefined ? await takeDataDir(config.data) : undefined;
  const bus = await openBus(config, newNodeId());
  const onFatal = (text: string) => void log.flushed(FLUSH_MS).then(() => stopWith(text));
  const node = await startNode(config, { log, bus, onFatal });
  const http = serveHttp(config.httpHost, config.httpPort, {
    problem: () => node.problem(),
    metrics: () => node.metrics(),
  });
  const admin = await listenForAdmin(config, node, log);

  // Without TLS a closed terminal ends the node, as it ends any program.
  const signals: Deno.Signal[] = ["SIGINT", "SIGTERM"];
  if (config.tls === undefined && Deno.build.os !== "windows") signals.push("SIGHUP");
  const stopped = new Promise<void>((resolve) => {
    for (const signal of signals) Deno.addSignalListener(signal, resolve);
  });
  // A way to see that a session worker's death disturbs nobody, without a debugger.
  let next = 0;
  let killedAt = -Infinity;
  let waits = false;
  const kill = () => {
    waits = false;
    killedAt = performance.now();
    const index = next++ % Math.max(1, config.workers);
    if (!node.killWorker(index)) log.warn("no session worker to restart", { index });
  };
  Deno.addSignalListener("SIGUSR2", () => {
    if (waits) return;
    waits = true;
    setTimeout(kill, Math.max(0, killedAt + BETWEEN_KILLS_MS - performance.now()));
  });

  if (config.tls !== undefined) {
    Deno.addSignalListener("SIGHUP", () => {
      try {
        node.reloadTls();
        log.info("certificate read again");
      } catch (error) {
        log.error("the old certificate stays in use", { error: String(error) });
      }
    });
  }

  const { hostname, port } = node.address;
  const at = `${endpoint(hostname, port)}, health on http://${
    endpoint(config.httpHost, http.port)
  }`;
  const where = `listening on ${at}/healthz`;
  console.log(`chat server ready: ${where} (${store(config)}, ${workers(config)})`);
  if (Deno.args.some((arg) => PASSWORD_IN_URL.test(arg))) {
    log.warn(
      "a password in an argument can be seen by everybody on this machine (ps): " +
        "set CHAT_MYSQL and CHAT_REDIS instead",
    );
  }
  await stopped;
  console.log("chat server: stopping");
  await admin?.[Symbol.asyncDispose]();
  await node.stop();
  await http.stop();
}

/** A node without its admin socket serves; its operator is told. */
async function listenForAdmin(
  config: Config,
  node: ChatNode,
  log: Log,
): Promise<AdminSocket | undefined> {
  const path = socketPath(config.data, config.port);
  try {
    await Deno.mkdir(config.data, { recursive: true });
    return new AdminSocket(path, node.admin, log);
  } catch (error) {
    log.warn("deno task admin cannot reach this node", { path, error: String(error) });
    return undefined;
  }
}

function store(config: Config): string {
  return config.mysql === undefined ? `SQLite in ${config.data}` : "MySQL";
}

function workers({ workers }: Config): string {
  return workers === 0 ? "one thread" : `${workers} session worker${workers === 1 ? "" : "s"}`;
}

await main().catch((error) => stopWith(error instanceof Error ? error.message : String(error)));
