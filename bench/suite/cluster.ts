/** Two nodes on a private MariaDB and Redis, for the workloads that need a cluster. */

import { join } from "@std/path";
import { startMariaDb, startRedis } from "../../server/cluster/services.ts";
import { type ServerOptions, startServer, type Target } from "./targets.ts";

/** Nodes that share a database; load goes to the first, receivers connect to the second. */
export interface Cluster {
  readonly nodes: readonly [Target, Target];
  stop(): Promise<void>;
}

/**
 * Commits are flushed to disk, as in production.
 * @throws {NotInstalled} Without MariaDB or Redis on this machine.
 */
export async function startCluster(
  directory: string,
  options: ServerOptions = {},
): Promise<Cluster> {
  const data = await Deno.makeTempDir({ dir: directory, prefix: "cluster-" });
  const stops: (() => Promise<unknown>)[] = [() => Deno.remove(data, { recursive: true })];
  const stop = async () => {
    for (let last = stops.pop(); last !== undefined; last = stops.pop()) await last();
  };
  try {
    const mariaDb = await startMariaDb({ dir: join(data, "mariadb") });
    stops.push(() => mariaDb.stop());
    const redis = await startRedis({ dir: join(data, "redis") });
    stops.push(() => redis.stop());
    const flags = ["--mysql", mariaDb.url, "--redis", redis.url, ...(options.flags ?? [])];
    const first = await startServer(directory, { ...options, flags });
    stops.push(() => first.stop());
    const second = await startServer(directory, { ...options, flags });
    stops.push(() => second.stop());
    return { nodes: [first, second], stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
