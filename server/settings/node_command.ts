/**
 * The command line of one node: `deno run` with exactly the permissions that its settings need.
 * Starts nothing.
 *
 * - network: its own two listeners, its admin socket, MySQL, Redis;
 * - files: its data directory; read only: its own modules and migrations, the TLS files;
 * - environment: `CHAT_*`; system: the number of processors, the priority of its own threads.
 * Everything else (other files and hosts, programs, libraries) is refused by Deno, in every thread.
 */

import { dirname, fromFileUrl, join, resolve } from "@std/path";
import { socketPath } from "./data_dir.ts";
import type { Config } from "./config.ts";

/** A program and its arguments. */
export interface Command {
  readonly command: string;
  readonly args: string[];
}

const ROOT = fromFileUrl(new URL("../../", import.meta.url));
const MYSQL_PORT = 3306;
const REDIS_PORT = 6379;

/**
 * Half of each thread's young generation, 2 MiB instead of 16: what a message needs lives for ms, and
 * this much stays in a core's cache. Measured with 50 busy pairs: +10 % messages a second, half the
 * p99; 10,000 idle connections cost 7 KiB each instead of 16, and the node itself 90 MiB less.
 */
export const V8_FLAGS = "--v8-flags=--max-semi-space-size=2";

/**
 * @param config What `flags` and the environment say.
 * @param flags Of the node, as they are.
 * @param denoArgs Further flags of `deno run`.
 */
export function nodeCommand(
  config: Config,
  flags: readonly string[],
  denoArgs: readonly string[] = [],
): Command {
  return {
    command: Deno.execPath(),
    args: [
      ...["run", "--quiet", "--frozen", "--no-prompt", "--ignore-env", V8_FLAGS],
      ...permissions(config),
      ...denoArgs,
      join(ROOT, "server/main.ts"),
      ...flags,
    ],
  };
}

/** Flags of `deno run` for a node with these settings. */
export function permissions(config: Config): string[] {
  const { host, port, httpHost, httpPort, data, mysql, redis, tls } = config;
  const net = [endpoint(host, port), endpoint(httpHost, httpPort)];
  net.push(`unix:${socketPath(data, port)}`);
  if (tls !== undefined) net.push(endpoint(host, 0)); // where a new certificate is tried
  if (mysql !== undefined) net.push(endpointOf(mysql, MYSQL_PORT));
  if (redis !== undefined) net.push(endpointOf(redis, REDIS_PORT));
  const own = ["actors", "server", "sql"].map((name) => join(ROOT, name));
  const read = tls === undefined ? own : [...own, ...places(tls.cert), ...places(tls.key)];
  return [
    "--allow-env=CHAT_*",
    "--allow-sys=cpus,getPriority,setPriority",
    `--allow-net=${[...new Set(net)].join(",")}`,
    `--allow-read=${[...read, data].map((path) => resolve(path)).join(",")}`,
    `--allow-write=${resolve(data)}`,
  ];
}

/** `host:port`, with an IPv6 address in brackets. */
export function endpoint(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function endpointOf(url: string, port: number): string {
  const { hostname, port: given } = new URL(url);
  return `${hostname}:${given === "" ? port : given}`;
}

/**
 * A file and, where it is a link, the directory that it leads to: a renewed certificate is another
 * file there.
 */
function places(path: string): string[] {
  try {
    const real = Deno.realPathSync(path);
    return real === resolve(path) ? [path] : [path, dirname(real)];
  } catch {
    return [path]; // the node says what is wrong with it
  }
}
