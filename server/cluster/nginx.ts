/**
 * nginx as a private TCP load balancer, run from nginx/chat.conf itself with ports and paths
 * replaced: what is tested and what is deployed is one file.
 */

import { fromFileUrl, join } from "@std/path";
import { Child } from "./child.ts";
import { type Binaries, CHILD_PATH, findBinaries } from "./install.ts";
import { prepare, Service, type ServiceOptions, textOf } from "./service.ts";

const TEMPLATE = fromFileUrl(new URL("../../nginx/chat.conf", import.meta.url));
/** nginx itself retries a taken port for 2.5 s. */
const READY_MS = 10_000;
const RELOAD_MS = 10_000;
const CHECK_MS = 10_000;
const POLL_MS = 10;

/** A private nginx. */
export interface NginxOptions extends ServiceOptions {
  /** `host:port` of every node. */
  readonly backends: readonly string[];
  /** True by default: nodes then need `--proxy-protocol`. */
  readonly proxyProtocol?: boolean;
  /** Address to listen on; 127.0.0.1 by default. */
  readonly hostname?: string;
}

/** A running nginx. */
export interface NginxService extends Service {
  /**
   * Applies other backends, or the configuration again; held connections stay. Resolves when no
   * old worker takes new connections any more.
   * @throws {Error} nginx refuses the configuration (the old one stays), or takes over 10 s.
   */
  reload(backends?: readonly string[]): Promise<void>;
}

/**
 * A TCP load balancer in front of `backends`. About 50 ms.
 * @throws {NotInstalled} No nginx here, or none with the stream module.
 * @throws {Error} It did not start; the message has its latest output.
 */
export async function startNginx(options: NginxOptions): Promise<NginxService> {
  const binaries = options.binaries ?? await findBinaries();
  const { dir, output } = await prepare(options, "nginx");
  const template = await Deno.readTextFile(TEMPLATE);
  const config = join(dir, "nginx.conf");
  const pidFile = join(dir, "nginx.pid");
  const hostname = options.hostname ?? "127.0.0.1";
  let backends = options.backends;
  const write = (port: number) =>
    Deno.writeTextFileSync(
      config,
      fillTemplate(template, {
        listen: `${hostname}:${port}`,
        backends,
        proxyProtocol: options.proxyProtocol ?? true,
        pidFile,
        streamModule: binaries.streamModule,
      }),
    );
  const service = await Service.start({
    name: "nginx",
    spawn(port) {
      write(port);
      return new Child({
        name: "nginx",
        command: binaries.nginx,
        args: ["-p", dir, "-c", config, "-e", "stderr", "-g", "daemon off;"],
        cwd: dir,
        env: { PATH: CHILD_PATH },
        output,
      });
    },
    // Written after the port is bound. A connection would go on to a node, so none is made.
    ready: async (child) => Number(await textOf(pidFile)) === child.pid,
    readyMs: READY_MS,
    stopSignal: "SIGTERM",
    workers: childrenOf,
  }, options);

  const reload = async (next: readonly string[] = backends) => {
    const before = backends;
    backends = next;
    write(service.port);
    try {
      await check(binaries, dir, config);
    } catch (error) {
      backends = before;
      write(service.port);
      throw error;
    }
    const old = childrenOf(service.pid);
    service.signal("SIGHUP");
    const end = performance.now() + RELOAD_MS;
    while (!hasTakenOver(service.pid, old)) {
      if (performance.now() > end) {
        throw new Error(`nginx has not reloaded after ${RELOAD_MS} ms:\n${service.tail()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  };
  return Object.assign(service, { reload });
}

/**
 * The shipped configuration with a private instance's values.
 * @throws {Error} A place to fill in is not there exactly once: the file has changed shape.
 */
export function fillTemplate(
  template: string,
  values: {
    readonly listen: string;
    readonly backends: readonly string[];
    readonly proxyProtocol: boolean;
    readonly pidFile: string;
    readonly streamModule: string | undefined;
  },
): string {
  const limits = /^ +server \S+?:\d+( [^;]*)?;/m.exec(template)?.[1] ?? "";
  const servers = values.backends.map((address) => `    server ${address}${limits};\n`).join("");
  const module = values.streamModule === undefined ? "" : `load_module ${values.streamModule};`;
  const places: [what: RegExp, by: string][] = [
    [/^include \S+-mod-stream\.conf;/gm, module],
    [/^pid .*;/gm, `pid ${values.pidFile};`],
    [/^error_log \S+ /gm, "error_log stderr "],
    [/(^ +server \S+:\d+[^;]*;\n)+/gm, servers],
    [/^ +listen \S+ /gm, `    listen ${values.listen} `],
    [/^ +proxy_protocol on;/gm, `    proxy_protocol ${values.proxyProtocol ? "on" : "off"};`],
  ];
  return places.reduce((text, [what, by]) => {
    const found = text.match(what)?.length ?? 0;
    if (found !== 1) throw new Error(`nginx/chat.conf has ${found} places like ${what}, not 1`);
    return text.replace(what, () => by);
  }, template);
}

/** Asks nginx whether it would take a configuration. */
async function check(binaries: Binaries, dir: string, config: string): Promise<void> {
  const { success, stderr } = await new Deno.Command(binaries.nginx, {
    args: ["-t", "-p", dir, "-c", config, "-e", "stderr"],
    env: { PATH: CHILD_PATH },
    stdin: "null",
    signal: AbortSignal.timeout(CHECK_MS),
  }).output();
  if (!success) throw new Error(`nginx refuses ${config}:\n${new TextDecoder().decode(stderr)}`);
}

/** Whether there are new workers and no old one accepts: it has said so in its title, or gone. */
function hasTakenOver(master: number, old: readonly number[]): boolean {
  const fresh = childrenOf(master).some((pid) => !old.includes(pid));
  return fresh && old.every((pid) => /shutting down|^$/.test(procText(`${pid}/cmdline`)));
}

/** Processes that `pid` started and that run. Linux only; none elsewhere. */
function childrenOf(pid: number): number[] {
  return procText(`${pid}/task/${pid}/children`).split(" ").filter((s) => s !== "").map(Number);
}

/** A file of /proc; "" when the process has gone. */
function procText(path: string): string {
  try {
    return Deno.readTextFileSync(`/proc/${path}`);
  } catch (error) {
    const gone = error instanceof Deno.errors.NotFound ||
      (error instanceof Error && "code" in error && error.code === "ESRCH");
    if (gone) return "";
    throw error;
  }
}
