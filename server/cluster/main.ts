/**
 * `deno task cluster`: a whole cluster on this machine until Ctrl-C. Arguments, signals, output;
 * what runs and in which order is cluster.ts. For trying out and for tests: services without
 * passwords, on loopback. Deployment: docs/deploy.md.
 */

import { parseArgs } from "@std/cli/parse-args";
import { bold, cyan, gray, green, magenta, setColorEnabled, yellow } from "@std/fmt/colors";
import { resolve } from "@std/path";
import { Cluster, type ClusterOptions } from "./cluster.ts";
import { type Binaries, canInstall, ensureServices, NotInstalled } from "./install.ts";
import { isFree } from "./ports.ts";

const USAGE = `deno task cluster [flags] [-- flags of every node]

  --nodes N           nodes to run (2)
  --port P            port for clients, at nginx; 0 is any free one (8000)
  --host ADDRESS      address for clients (127.0.0.1)
  --data DIR          where all state is kept (data/cluster)
  --install           install what is missing with apt-get, as root on Debian or Ubuntu
  --node-port-base P  node i listens on P + i; 0: on any free ports (6000)
  --http-port-base P  node i serves /healthz and /metrics on P + i; 0: any free ports (6080)
  --help              print this

Ctrl-C or SIGTERM ends it in order: nodes drain, then nginx, Redis, MariaDB; a second one, at once.
A part that dies is reported and started again with a growing delay; after 10 failures in a row the
cluster ends with status 1.
`;

/** Ports of all nodes must fit between the two default bases. */
const MAX_NODES = 64;
/**
 * A second signal sooner than this is the same Ctrl-C: the terminal sends it to every process in
 * the foreground, and `deno task` passes it on once more.
 */
const SAME_KEY_MS = 1_000;
const EXIT_USAGE = 2;

/** Settings from the command line. */
interface Settings extends Omit<ClusterOptions, "binaries" | "onLine"> {
  readonly install: boolean;
}

/** The command line's settings; a sentence says what is wrong with it. */
export function parseFlags(args: readonly string[]): Settings | string {
  const cut = args.indexOf("--");
  const unknown: string[] = [];
  const flags = parseArgs(cut < 0 ? args : args.slice(0, cut), {
    string: ["nodes", "port", "host", "data", "node-port-base", "http-port-base"],
    boolean: ["install"],
    default: {
      "nodes": "2",
      "port": "8000",
      "host": "127.0.0.1",
      "data": "data/cluster",
      "node-port-base": "6000",
      "http-port-base": "6080",
    },
    unknown: (arg) => {
      unknown.push(arg);
      return false;
    },
  });
  if (unknown.length > 0) return `unknown argument ${unknown[0]}`;
  const numbers: Record<string, number> = {};
  const ranges = { "nodes": [1, MAX_NODES], "port": [0, 65_535] } as const;
  const bases = { "node-port-base": [0, 65_000], "http-port-base": [0, 65_000] } as const;
  for (const [name, [least, most]] of Object.entries({ ...ranges, ...bases })) {
    const text = String(flags[name]);
    const value = /^\d{1,5}$/.test(text) ? Number(text) : -1;
    if (value < least || value > most) {
      return `--${name} must be a number from ${least} to ${most}, not "${text}"`;
    }
    numbers[name] = value;
  }
  if (flags.data === "" || flags.host === "") return "--data and --host need a value";
  return {
    nodes: numbers.nodes ?? 0,
    hostname: String(flags.host),
    port: numbers.port ?? 0,
    nodePortBase: numbers["node-port-base"] ?? 0,
    httpPortBase: numbers["http-port-base"] ?? 0,
    dir: resolve(String(flags.data)),
    nodeArgs: cut < 0 ? [] : args.slice(cut + 1),
    install: flags.install === true,
  };
}

/** Runs until a signal or a failure; the exit status. */
async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    console.log(USAGE);
    return 0;
  }
  const settings = parseFlags(args);
  if (typeof settings === "string") {
    console.error(`${settings}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  setColorEnabled(Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR"));
  const signals = catchSignals();
  try {
    return await run(settings, signals);
  } catch (error) {
    if (signals.first.aborted) {
      console.log("stopped before all was ready");
      return 0;
    }
    console.error(error instanceof Error ? error.message : error);
    return 1;
  } finally {
    signals.release();
  }
}

async function run(settings: Settings, signals: Signals): Promise<number> {
  refuseTakenPorts(settings);
  const say = writer(settings.nodes);
  const binaries = await findOrInstall(settings.install, say);
  await Deno.mkdir(settings.dir, { recursive: true });
  using lock = await Deno.open(`${settings.dir}/lock`, { create: true, write: true });
  if (!await lock.tryLock(true)) {
    throw new Error(`another cluster runs in ${settings.dir}; give this one its own --data`);
  }
  const options = { ...settings, binaries, onLine: say };
  const cluster = await Cluster.start(options, signals.first);
  for (const line of summary(cluster, settings.dir)) say("cluster", line);

  const aborted = new Promise<undefined>((resolve) => {
    if (signals.first.aborted) resolve(undefined);
    signals.first.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  const reason = await Promise.race([aborted, cluster.gaveUp]);
  say("cluster", reason === undefined ? "stopping: nodes drain first" : `giving up: ${reason}`);
  const kill = () => cluster.kill();
  signals.second.addEventListener("abort", kill, { once: true });
  const complaints = await cluster.stop();
  for (const complaint of complaints) say("cluster", complaint);
  say("cluster", "everything has ended");
  return reason === undefined && complaints.length === 0 ? 0 : 1;
}

/** Says it at once and plainly; a program that finds out later says it in its own way. */
function refuseTakenPorts(settings: Settings): void {
  const wanted: [flag: string, port: number][] = [["--port", settings.port]];
  for (let i = 1; i <= settings.nodes; i++) {
    if (settings.nodePortBase > 0) wanted.push(["--node-port-base", settings.nodePortBase + i]);
    if (settings.httpPortBase > 0) wanted.push(["--http-port-base", settings.httpPortBase + i]);
  }
  for (const [flag, port] of wanted) {
    if (port > 0 && !isFree(port)) {
      throw new Error(`port ${port} is taken on this machine; choose another with ${flag}`);
    }
  }
}

type Say = (part: string, line: string) => void;

async function findOrInstall(install: boolean, say: Say): Promise<Binaries> {
  try {
    return await ensureServices({ install: false });
  } catch (error) {
    if (!(error instanceof NotInstalled && install)) throw error;
    if (!canInstall()) {
      throw new NotInstalled(`${error.message}\n--install needs root and apt-get`);
    }
    say("cluster", `${error.message}: doing that now`);
    return await ensureServices({ install: true });
  }
}

/** Prints a line under its part's name, in the part's colour. */
function writer(nodes: number): Say {
  const names = ["cluster", "mariadb", "redis", "nginx"];
  for (let i = 1; i <= nodes; i++) names.push(`node${i}`);
  const width = Math.max(...names.map((name) => name.length));
  const colours = [bold, gray, gray, magenta, cyan, green, yellow];
  return (part, line) => {
    const at = names.indexOf(part);
    const colour = colours[at < colours.length ? at : 4 + (at - 4) % 3] ?? bold;
    console.log(`${colour(`${part.padEnd(width)} |`)} ${line}`);
  };
}

function summary(cluster: Cluster, dir: string): string[] {
  const parts = cluster.parts.map(({ name, service, address }) => [
    name,
    `pid ${service.pid}`,
    address,
  ]);
  const widths = [0, 1].map((column) => Math.max(...parts.map((row) => row[column]?.length ?? 0)));
  const rows = parts.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  "));
  return [
    `ready: clients connect to ${cluster.address}`,
    ...rows.map((row) => `  ${row}`),
    `data in ${dir}; Ctrl-C ends it`,
  ];
}

/** The user's wish to stop, and to stop at once. */
interface Signals {
  readonly first: AbortSignal;
  readonly second: AbortSignal;
  release(): void;
}

function catchSignals(): Signals {
  const first = new AbortController();
  const second = new AbortController();
  let firstAt = 0;
  const onSignal = () => {
    if (!first.signal.aborted) {
      firstAt = performance.now();
      first.abort(new Error("stopped by a signal"));
    } else if (performance.now() - firstAt > SAME_KEY_MS) second.abort();
  };
  const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const name of names) Deno.addSignalListener(name, onSignal);
  return {
    first: first.signal,
    second: second.signal,
    release() {
      for (const name of names) Deno.removeSignalListener(name, onSignal);
    },
  };
}

if (import.meta.main) Deno.exit(await main(Deno.args));
