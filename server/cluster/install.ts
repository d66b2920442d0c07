/**
 * The programs a cluster is made of: where they are, which package brings them, installing them.
 * Starts no service and leaves none running.
 */

import { join } from "@std/path";

/** Packages of Debian and Ubuntu that bring everything below. */
export const PACKAGES = ["mariadb-server", "redis-server", "nginx", "libnginx-mod-stream"] as const;

/** Directories searched after PATH: Debian keeps daemons where a user's PATH does not look. */
const DIRS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** Where a distribution may keep nginx's stream module; none when it is compiled in. */
const STREAM_MODULES = [
  "/usr/lib/nginx/modules/ngx_stream_module.so",
  "/usr/lib64/nginx/modules/ngx_stream_module.so",
];

/** apt-get update and install of about 150 MB, on a slow line. */
const INSTALL_MS = 10 * 60_000;

/** Absolute paths of what is needed. */
export interface Binaries {
  readonly mariadbd: string;
  readonly mariadbInstallDb: string;
  readonly redisServer: string;
  readonly nginx: string;
  /** Undefined when nginx has it compiled in. */
  readonly streamModule: string | undefined;
}

/** A part of the cluster is not on this machine. The message says what brings it. */
export class NotInstalled extends Error {
  override readonly name = "NotInstalled";
}

/** PATH for children: scripts such as mariadb-install-db look for their helpers in it. */
export const CHILD_PATH = DIRS.join(":");

/** Absolute path of a program in `dirs`; undefined when it is in none. */
export function findBinary(
  name: string,
  dirs: readonly string[] = searchPath(),
): string | undefined {
  return dirs.map((dir) => join(dir, name)).find(isFile);
}

/**
 * Everything a cluster needs.
 *
 * @param dirs Where to look; by default PATH, then where Debian keeps daemons.
 * @param modules Paths nginx's stream module may have.
 * @throws {NotInstalled} Names what is missing and the command that installs it.
 */
export async function findBinaries(
  dirs: readonly string[] = searchPath(),
  modules: readonly string[] = STREAM_MODULES,
): Promise<Binaries> {
  const mariadbd = findBinary("mariadbd", dirs);
  const mariadbInstallDb = findBinary("mariadb-install-db", dirs);
  const redisServer = findBinary("redis-server", dirs);
  const nginx = findBinary("nginx", dirs);
  const streamModule = modules.find(isFile);
  const missing: string[] = [];
  if (mariadbd === undefined || mariadbInstallDb === undefined) missing.push("MariaDB");
  if (redisServer === undefined) missing.push("Redis");
  if (nginx === undefined) missing.push("nginx");
  else if (streamModule === undefined && !await hasStream(nginx)) {
    missing.push("nginx's stream module");
  }
  if (
    missing.length > 0 || mariadbd === undefined || mariadbInstallDb === undefined ||
    redisServer === undefined || nginx === undefined
  ) {
    const what = missing.length > 1
      ? `${missing.slice(0, -1).join(", ")} and ${missing.at(-1)} are`
      : `${missing[0]} is`;
    throw new NotInstalled(`${what} not installed: apt-get install ${PACKAGES.join(" ")}`);
  }
  return { mariadbd, mariadbInstallDb, redisServer, nginx, streamModule };
}

/** Whether {@linkcode installPackages} can work here: root, with apt-get. */
export function canInstall(): boolean {
  return Deno.build.os === "linux" && Deno.uid() === 0 && findBinary("apt-get") !== undefined;
}

/**
 * Installs packages with apt-get, by default {@linkcode PACKAGES}. Debian starts a service as it installs it; a
 * policy-rc.d that forbids it stands for as long as this takes, unless the machine has its own.
 * @throws {Error} apt-get failed; the message has its output.
 */
export async function installPackages(packages: readonly string[] = PACKAGES): Promise<void> {
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !isFile(policy);
  if (ours) {
    await Deno.writeTextFile(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755, createNew: true });
  }
  try {
    await aptGet("update", "-q");
    await aptGet("install", "-q", "-y", "--no-install-recommends", ...packages);
  } finally {
    if (ours) await Deno.remove(policy);
  }
}

/**
 * What a cluster needs, installed first where that is asked for and possible.
 * @throws {NotInstalled} As {@linkcode findBinaries}, when it may or can not install.
 */
export async function ensureServices(options: { install: boolean }): Promise<Binaries> {
  try {
    return await findBinaries();
  } catch (error) {
    if (!(error instanceof NotInstalled && options.install && canInstall())) throw error;
    await installPackages();
    return await findBinaries();
  }
}

async function aptGet(...args: string[]): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command("apt-get", {
    // Another apt-get may be at work: wait for its lock instead of failing.
    args: ["-o", "DPkg::Lock::Timeout=120", ...args],
    env: { DEBIAN_FRONTEND: "noninteractive", PATH: CHILD_PATH },
    stdin: "null",
    signal: AbortSignal.timeout(INSTALL_MS),
  }).output();
  if (success) return;
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  throw new Error(`apt-get ${args.join(" ")} failed:\n${text.slice(-4_000)}`);
}

/** Absolute directories of PATH, as far as we may read it, then the usual ones. */
function searchPath(): string[] {
  const allowed = Deno.permissions.querySync({ name: "env", variable: "PATH" }).state === "granted";
  const path = allowed ? Deno.env.get("PATH") ?? "" : "";
  return [...path.split(":").filter((dir) => dir.startsWith("/")), ...DIRS];
}

async function hasStream(nginx: string): Promise<boolean> {
  let stderr: Uint8Array;
  try {
    ({ stderr } = await new Deno.Command(nginx, { args: ["-V"], stdin: "null" }).output());
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return false; // not executable
    throw error;
  }
  return /--with-stream(\s|$)/.test(new TextDecoder().decode(stderr));
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) {
      return false;
    }
    throw error;
  }
}
