/**
 * One chat node as a child process, with the command line that `deno task serve` turns into: the
 * same program and permissions, so that what a cluster and its tests run is what users run.
 */

import { fromFileUrl } from "@std/path";
import { readConfig } from "../settings/config.ts";
import { nodeCommand } from "../settings/node_command.ts";
import { Child } from "./child.ts";
import { freePort } from "./ports.ts";
import { prepare, Service, type ServiceOptions } from "./service.ts";

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
  let httpPort = options.httpPort ?? 0;
  let isPinned = options.httpPort !== undefined;
  const service = await Service.start({
    name: options.name,
    spawn(port) {
      if (!isPinned) httpPort = freePort(); // at every attempt to start; a restart keeps it
      const flags = [
        ...["--host", "127.0.0.1", "--port", `${port}`],
        ...["--http-port", `${httpPort}`, "--data", dir],
        ...options.mysql === undefined ? [] : ["--mysql", options.mysql],
        ...options.redis === undefined ? [] : ["--redis", options.redis],
        ...options.proxyProtocol
          ? [
            ...["--proxy-protocol", "on", "--trusted-proxies", "127.0.0.1/32"],
            // Everybody who tries it out comes from here.
            ...options.args?.includes("--unlimited") ? [] : ["--unlimited", "127.0.0.0/8"],
          ]
          : [],
        ...options.args ?? [],
      ];
      return new Child({
        name: options.name,
        ...commandOf(flags, options.denoArgs),
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

/** Only flags count: of the environment a node in a cluster sees no setting. */
function commandOf(flags: readonly string[], denoArgs: readonly string[] | undefined) {
  const invocation = readConfig(flags, () => undefined, 1);
  if (invocation.help) throw new Error("a node that only prints its help is no service");
  return nodeCommand(invocation.config, flags, denoArgs);
}

async function isHealthy(httpPort: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${httpPort}/readyz`, {
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
