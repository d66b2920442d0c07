/**
 * What a chaos run attacks: real nodes, alone on SQLite, or several with MariaDB, Redis and nginx.
 * Everything is a child of this process on loopback, and goes with it.
 */

import { fromFileUrl, join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import { createConnection } from "mysql2/promise";
import { midOf } from "../../actors/adapters/message_id.ts";
import { canInstall, ensureServices, installPackages } from "../../server/cluster/install.ts";
import {
  type NginxService,
  type NodeService,
  type Service,
  startMariaDb,
  startNginx,
  startNode,
  startRedis,
  type UrlService,
} from "../../server/cluster/services.ts";
import { FaultProxy } from "../support/fault_proxy.ts";

/** A pending row. */
export interface PendingRow {
  readonly user: number;
  readonly mid: string;
}

/** What to run. */
export interface SystemOptions {
  readonly dir: string;
  /** 0: one node on SQLite; else this many behind nginx, with MariaDB and Redis. */
  readonly nodes: number;
  /** Between the clocks of the first and the last node of a cluster, ms. */
  readonly skewMs: number;
  /** The variant of the product that acknowledges before it commits. */
  readonly earlyAck?: boolean;
  readonly signal: AbortSignal;
}

/** A running system. */
export interface System {
  /** Clients connect here: to a proxy that can break connections. */
  readonly port: number;
  readonly proxy: FaultProxy;
  readonly nodes: readonly NodeService[];
  /** Cluster only. */
  readonly mariadb: UrlService | undefined;
  readonly redis: UrlService | undefined;
  readonly nginx: NginxService | undefined;
  /** Rows of messages that somebody has not received, from the database itself. */
  pending(): Promise<PendingRow[]>;
  /** Ends everything in an orderly way. */
  stop(): Promise<void>;
  /** Ends everything at once. */
  kill(): Promise<void>;
}

/** Where Debian's libfaketime is, by architecture. */
const FAKETIME = ["x86_64", "aarch64"].map((arch) =>
  `/usr/lib/${arch}-linux-gnu/faketime/libfaketimeMT.so.1`
);
/** Longest wait for a database while rows are counted, ms. */
const QUERY_MS = 5_000;

/** @throws {Error} Something did not start; nothing is left running. */
export async function startSystem(options: SystemOptions): Promise<System> {
  const started: Service[] = [];
  const kill = async () => {
    await Promise.all(started.map((service) => service.kill9()));
  };
  try {
    return options.nodes === 0
      ? await startSingle(options, started, kill)
      : await startCluster(options, started, kill);
  } catch (error) {
    await kill();
    throw error;
  }
}

async function startSingle(
  options: SystemOptions,
  started: Service[],
  kill: () => Promise<void>,
): Promise<System> {
  const { dir, signal } = options;
  const data = join(dir, "node1");
  const node = await startNode({ name: "node1", dir: data, signal, ...await denoFlags(options) });
  started.push(node);
  const proxy = new FaultProxy(node.port);
  return {
    port: proxy.port,
    proxy,
    nodes: [node],
    mariadb: undefined,
    redis: undefined,
    nginx: undefined,
    pending: () => Promise.resolve(pendingInSqlite(join(data, "chat.db"))),
    async stop() {
      await proxy.close();
      await node.stop();
    },
    async kill() {
      await proxy.close();
      await kill();
    },
  };
}

async function startCluster(
  options: SystemOptions,
  started: Service[],
  kill: () => Promise<void>,
): Promise<System> {
  const { dir, signal, nodes: count, skewMs } = options;
  const binaries = await ensureServices({ install: true });
  const faketime = skewMs === 0 ? "" : await ensureFaketime();
  const common = { dir, binaries, signal };
  const mariadb = await startMariaDb(common);
  started.push(mariadb);
  const redis = await startRedis(common);
  started.push(redis);
  const flags = await denoFlags(options);
  const nodes: NodeService[] = [];
  for (let i = 0; i < count; i++) {
    const offsetMs = count === 1 ? 0 : Math.round(skewMs * (i / (count - 1) - 0.5));
    const node = await startNode({
      name: `node${i + 1}`,
      dir: join(dir, `node${i + 1}`),
      mysql: mariadb.url,
      redis: redis.url,
      proxyProtocol: true,
      signal,
      ...flags,
      ...offsetMs !== 0 && { env: clockOffset(faketime, offsetMs) },
    });
    started.push(node);
    nodes.push(node);
  }
  const backends = nodes.map(({ port }) => `127.0.0.1:${port}`);
  const nginx = await startNginx({ ...common, backends });
  started.push(nginx);
  const proxy = new FaultProxy(nginx.port);
  return {
    port: proxy.port,
    proxy,
    nodes,
    mariadb,
    redis,
    nginx,
    pending: () => pendingInMysql(mariadb.url),
    async stop() {
      await proxy.close();
      await Promise.all(nodes.map((node) => node.stop()));
      for (const service of [nginx, redis, mariadb]) await service.stop();
    },
    async kill() {
      await proxy.close();
      await kill();
    },
  };
}

function pendingInSqlite(path: string): PendingRow[] {
  const db = new DatabaseSync(path, { readOnly: true, timeout: QUERY_MS });
  try {
    const rows = db.prepare(
      `SELECT o.userid, m.id, m.mid FROM offlinemessage o LEFT JOIN message m ON m.id = o.message
      LIMIT 100000`,
    ).all();
    const filed = rows.map((row) => ({
      user: Number(row.userid),
      mid: row.id === null ? "of no message" : midOf(Number(row.id), String(row.mid)),
    }));
    // What is not filed may be pending too; it is filed within a second.
    const log = db.prepare("SELECT id FROM commitlog").all();
    return [...filed, ...log.map((row) => ({ user: 0, mid: `not filed: ${row.id}` }))];
  } finally {
    db.close();
  }
}

async function pendingInMysql(url: string): Promise<PendingRow[]> {
  const db = await createConnection({ uri: url, connectTimeout: QUERY_MS });
  try {
    const [rows] = await db.query("SELECT userid, mid FROM offlinemessage LIMIT 100000");
    if (!Array.isArray(rows)) throw new TypeError("a SELECT gave no rows");
    return rows.map((row) => {
      const { userid, mid } = Object(row);
      return { user: Number(userid), mid: String(mid) };
    });
  } finally {
    await db.end();
  }
}

/** The wall clock of a process, this far off; its timers stay right. */
function clockOffset(library: string, ms: number): Record<string, string> {
  return {
    LD_PRELOAD: library,
    FAKETIME: `${ms < 0 ? "-" : "+"}${Math.abs(ms) / 1_000}`,
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  };
}

/** @throws {Error} It is not there and cannot be installed. */
async function ensureFaketime(): Promise<string> {
  let path = await findFaketime();
  if (path === undefined && canInstall()) {
    await installPackages(["libfaketime"]);
    path = await findFaketime();
  }
  if (path !== undefined) return path;
  throw new Error(
    "clock offsets need libfaketime: apt-get install libfaketime, or give --skew-ms 0",
  );
}

async function findFaketime(): Promise<string | undefined> {
  for (const path of FAKETIME) {
    try {
      await Deno.stat(path);
      return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

/** The product's import map with one module replaced, for the variant without its guarantee. */
async function denoFlags(
  { dir, earlyAck }: SystemOptions,
): Promise<{ denoArgs: readonly string[] }> {
  if (!earlyAck) return { denoArgs: [] };
  const root = new URL("../../", import.meta.url);
  const config: unknown = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const imports = Object(Object(config).imports);
  const absolute = Object.fromEntries(
    Object.entries(imports).map(([name, to]) => {
      const target = String(to);
      return [name, target.startsWith("./") ? new URL(target, root).href : target];
    }),
  );
  const real = new URL("actors/adapters/open_store.ts", root).href;
  const ours = new URL("early_ack_store.ts", import.meta.url).href;
  const path = join(dir, "early_ack.json");
  await Deno.mkdir(dir, { recursive: true });
  await Deno.writeTextFile(
    path,
    JSON.stringify({
      imports: { ...absolute, [real]: ours },
      scopes: { [ours]: { [real]: real } },
      compilerOptions: Object(config).compilerOptions,
    }),
  );
  return { denoArgs: ["--import-map", path, `--allow-read=${fromFileUrl(ours)}`] };
}
