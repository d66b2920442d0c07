/**
 * MariaDB and Redis as private child processes on loopback, for tests and `deno task cluster`.
 * Not for production: no passwords, small buffers. Everything lives in the directory given.
 *
 * In tests: start a service in the test that restarts or stops it. Started outside, its restart
 * looks to Deno's leak sanitizers like a process that this test closed but did not open.
 */

import { join } from "@std/path";
import { Child } from "./child.ts";
import { CHILD_PATH, findBinaries } from "./install.ts";
import { firstBytes, prepare, Service, type ServiceOptions, textOf } from "./service.ts";

export {
  type Binaries,
  canInstall,
  ensureServices,
  findBinaries,
  findBinary,
  installPackages,
  NotInstalled,
} from "./install.ts";
export { type NginxOptions, type NginxService, startNginx } from "./nginx.ts";
export { type NodeOptions, type NodeService, startNode } from "./node.ts";
export { freePort, isFree } from "./ports.ts";
export { Service, type ServiceOptions } from "./service.ts";

/** MariaDB creates a log and a tablespace at the first start: seconds on a busy machine. */
const MARIADB_READY_MS = 30_000;
const REDIS_READY_MS = 10_000;
const INSTALL_DB_MS = 60_000;
/** For one question whether a service answers. */
const PROBE_MS = 1_000;

/** A private MariaDB. */
export interface MariaDbOptions extends ServiceOptions {
  /**
   * True by default: a commit is on disk before it is acknowledged. False saves the flush; a
   * crash of the server then loses up to a second of commits.
   */
  readonly durable?: boolean;
}

/** A service that clients reach by a URL. */
export interface UrlService extends Service {
  readonly url: string;
}

/**
 * A MariaDB with the empty database `chat` (utf8mb4), user root without password. About 1 s.
 * @throws {NotInstalled} No MariaDB here.
 * @throws {Error} It did not start; the message has its latest output.
 */
export async function startMariaDb(options: MariaDbOptions): Promise<UrlService> {
  const binaries = options.binaries ?? await findBinaries();
  const { dir, output } = await prepare(options, "mariadb");
  const data = join(dir, "mariadb");
  // Only root is asked whom to run as, and refuses to run as root unless told so.
  const user = Deno.uid() === 0 ? ["--user=root"] : [];
  // Its own: a starting MariaDB removes what looks like its temporary tables, all others' included.
  const env = { PATH: CHILD_PATH, TMPDIR: join(dir, "mariadb-tmp") };
  await Deno.mkdir(env.TMPDIR, { recursive: true });
  await installDb(binaries.mariadbInstallDb, { data, user, env, signal: options.signal });
  const init = join(dir, "mariadb-init.sql");
  await Deno.writeTextFile(
    init,
    "CREATE DATABASE IF NOT EXISTS chat CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;\n",
  );
  const pidFile = join(dir, "mariadb.pid");
  const service = await Service.start({
    name: "MariaDB",
    spawn: (port) =>
      new Child({
        name: "MariaDB",
        command: binaries.mariadbd,
        args: [
          "--no-defaults",
          ...user,
          "--bind-address=127.0.0.1",
          `--port=${port}`,
          `--datadir=${data}`,
          // In the data directory: a full path may exceed the 107 bytes of a socket's name.
          "--socket=mariadb.sock",
          `--pid-file=${pidFile}`,
          `--init-file=${init}`,
          "--skip-name-resolve",
          "--skip-log-bin",
          "--performance-schema=OFF",
          "--character-set-server=utf8mb4",
          `--innodb-flush-log-at-trx-commit=${options.durable ?? true ? 1 : 0}`,
          "--innodb-buffer-pool-size=64M",
          "--innodb-log-file-size=32M",
        ],
        cwd: dir,
        env,
        output,
      }),
    // The pid tells our own from another that took the port; 10 is the handshake's version.
    ready: async (child, port) =>
      Number(await textOf(pidFile)) === child.pid &&
      (await firstBytes(port, "", PROBE_MS))?.[4] === 10,
    readyMs: MARIADB_READY_MS,
    stopSignal: "SIGTERM",
  }, options);
  return Object.assign(service, { url: `mysql://root@127.0.0.1:${service.port}/chat` });
}

/**
 * A Redis that keeps nothing on disk: a restart is also a flush. About 50 ms.
 * @throws {NotInstalled} No Redis here.
 * @throws {Error} It did not start; the message has its latest output.
 */
export async function startRedis(options: ServiceOptions): Promise<UrlService> {
  const binaries = options.binaries ?? await findBinaries();
  const { dir, output } = await prepare(options, "redis");
  const pidFile = join(dir, "redis.pid");
  const service = await Service.start({
    name: "Redis",
    spawn: (port) =>
      new Child({
        name: "Redis",
        command: binaries.redisServer,
        args: [
          ...["--bind", "127.0.0.1", "--port", `${port}`, "--dir", dir, "--pidfile", pidFile],
          ...["--save", "", "--appendonly", "no", "--daemonize", "no"],
        ],
        cwd: dir,
        env: { PATH: CHILD_PATH },
        output,
      }),
    ready: async (child, port) => {
      if (Number(await textOf(pidFile)) !== child.pid) return false;
      const answer = await firstBytes(port, "PING\r\n", PROBE_MS);
      return answer !== undefined && new TextDecoder().decode(answer).startsWith("+PONG");
    },
    readyMs: REDIS_READY_MS,
    stopSignal: "SIGTERM",
  }, options);
  return Object.assign(service, { url: `redis://127.0.0.1:${service.port}/0` });
}

/** Creates the system tables, all or nothing: a half-made directory would never start. */
async function installDb(
  program: string,
  { data, user, env, signal }: {
    readonly data: string;
    readonly user: readonly string[];
    readonly env: Record<string, string>;
    readonly signal: AbortSignal | undefined;
  },
): Promise<void> {
  if (await exists(data)) return;
  const fresh = `${data}.new`;
  if (await exists(fresh)) await Deno.remove(fresh, { recursive: true });
  // A child like the services: it must not outlive us either, nor may the programs it starts.
  const child = new Child({
    name: "mariadb-install-db",
    command: program,
    args: [
      "--no-defaults",
      ...user,
      `--datadir=${fresh}`,
      "--auth-root-authentication-method=normal",
      "--skip-test-db",
      "--skip-name-resolve",
    ],
    env,
    output: `${data}-install.log`,
  });
  const limit = AbortSignal.any([AbortSignal.timeout(INSTALL_DB_MS), ...signal ? [signal] : []]);
  const kill = () => child.killGroup();
  limit.addEventListener("abort", kill, { once: true });
  if (limit.aborted) kill();
  const { code } = await child.ended;
  limit.removeEventListener("abort", kill);
  signal?.throwIfAborted();
  if (code !== 0) throw new Error(`${program} failed with status ${code}:\n${child.tail()}`);
  await Deno.rename(fresh, data);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
