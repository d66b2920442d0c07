/**
 * One chat node as a child process, run as `deno task serve` runs it: program and permissions come
 * from that task in deno.json, so that what a cluster and its tests run is what users run.
 */

import { fromFileUrl, join } from "@std/path";
import { Child } from "./child.ts";
import { freePort } from "./ports.ts";
import { prepare, Service, type ServiceOptions } from "./service.ts";

const MAIN = "server/main.ts";
const ROOT = fromFileUrl(new URL("../../", import.meta.url));
/** Modules are compiled on a cold cache, migrations run, another node may hold their lock. */
const READY_MS = 60_000;
const PROBE_MS = 1_000;

/** A node; `dir` is its `--data`. */
export interface NodeOptions extends ServiceOptions {
  /** "node1", for messages and the log file. */
  readonly name: string;
  /** For health and metrics; any free one by default. */
  readonly httpPort?: number;
  /** URL of the shared database; without it the node has its own. */
  readonly mysql?: string;
  /** URL of the shared bus; without it the node is alone. */
  readonly redis?: string;
  /** Whether connections begin with a PROXY header, believed from 127.0.0.1. */
  readonly proxyProtocol?: boolean;
  /** Further flags of the server. */
  readonly args?: readonly string[];
  /** Further flags of `deno run`. */
  readonly denoArgs?: readonly string[];
  /** Added to the environment, which the server itself does not read. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A running node. */
export interface NodeService extends Service {
  readonly httpPort: number;
}

/**
 * Starts a node and waits until it listens and calls itself healthy.
 * @throws {Error} It ended or is not ready in time; the message has its latest output.
 */
export async function startNode(options: NodeOptions): Promise<NodeService> {
  const { dir, output } = await prepare(options, options.name);
  const [command = "", ...permissions] = await serveCommand();
  let httpPort = options.httpPort ?? 0;
  let isPinned = options.httpPort !== undefined;
  const service = await Service.start({
    name: options.name,
    spawn(port) {
      if (!isPinned) httpPort = freePort(); // at every attempt to start; a restart keeps it
      return new Child({
        name: options.name,
        command,
        args: [
          ...permissions.slice(0, -1),
          ...options.denoArgs ?? [],
          ...permissions.slice(-1),
          ...["--host", "127.0.0.1", "--port", `${port}`],
          ...["--http-port", `${httpPort}`, "--data", dir],
          ...options.mysql === undefined ? [] : ["--mysql", options.mysql],
          ...options.redis === undefined ? [] : ["--redis", options.redis],
          ...options.proxyProtocol
            ? ["--proxy-protocol", "on", "--trusted-proxies", "127.0.0.1/32"]
            : [],
          ...options.args ?? [],
        ],
        cwd: ROOT,
        ...options.env !== undefined && { env: { ...Deno.env.toObject(), ...options.env } },
        output,
      });
    },
    ready: async (child, port) =>
      new RegExp(`listening on \\S+:${port}\\b`).test(child.tail()) && await isHealthy(httpPort),
    readyMs: READY_MS,
    stopSignal: "SIGTERM",
  }, options);
  isPinned = true;
  return Object.assign(service, { httpPort });
}

/** The `serve` task with absolute paths: a program, its permissions, its main module. */
async function serveCommand(): Promise<string[]> {
  const config: unknown = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  const tasks = isRecord(config) && isRecord(config.tasks) ? config.tasks : {};
  const words = typeof tasks.serve === "string" ? tasks.serve.split(" ") : [];
  if (words[0] !== "deno" || words.at(-1) !== MAIN) {
    throw new Error(`deno.json: the serve task should be "deno run … ${MAIN}"`);
  }
  return [Deno.execPath(), ...words.slice(1, -1), join(ROOT, MAIN)];
}

async function isHealthy(httpPort: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${httpPort}/healthz`, {
      headers: { connection: "close" }, // no pooled connection stays behind
      signal: AbortSignal.timeout(PROBE_MS),
    });
    await response.body?.cancel();
    return response.ok;
  } catch (error) {
    // Nobody listens yet, or not within the time.
    if (error instanceof TypeError || error instanceof DOMException) return false;
    throw error;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
