/** What is measured: a server of this repository or the floor, each a process of its own. */

import { fromFileUrl, join } from "@std/path";
import { V8_FLAGS } from "../../server/settings/node_command.ts";
import { Program } from "./children.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));
const READY = /listening on ([\d.]+):(\d+)/;
const READY_MS = 20_000;
/** Argon2id small enough that thousands of set-up log-ins do not take minutes. */
export const CHEAP_PASSWORDS = "64,1";

/** A listening process (or several), ready for load. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** Process whose CPU time and memory count; undefined when it is not known. */
  readonly pid: number | undefined;
  /** Websocket address of its inspector, when it was asked for. */
  readonly inspector: string | undefined;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

/** How to start a server. */
export interface ServerOptions {
  /** Session workers; undefined: the server's default. */
  readonly workers?: number | undefined;
  /** Argon2id cost, "KIB,PASSES". */
  readonly passwordCost?: string;
  /** Listen for a debugger on a free port. */
  readonly inspect?: boolean;
  /** Further flags of the server, as for a cluster node. */
  readonly flags?: readonly string[];
}

async function ready(
  program: Program,
  inspect: boolean,
  remove: () => Promise<void>,
): Promise<Target> {
  try {
    const [[, host = "", port = ""], inspector] = await Promise.all([
      program.match(READY, READY_MS),
      inspect ? program.match(/ws:\/\/\S+/, READY_MS).then((m) => m[0]) : undefined,
    ]);
    return {
      host,
      port: Number(port),
      pid: program.pid,
      inspector,
      async stop() {
        await program.stop();
        await remove();
      },
    };
  } catch (error) {
    await program.stop();
    await remove();
    throw error;
  }
}

/** Starts this repository's server on a free port, with its data in a new directory below `directory`. */
export async function startServer(
  directory: string,
  options: ServerOptions = {},
): Promise<Target> {
  const data = await Deno.makeTempDir({ dir: directory, prefix: "server-" });
  const program = new Program("server", [
    "run",
    "--cached-only",
    V8_FLAGS,
    ...(options.inspect ? ["--inspect=127.0.0.1:0"] : []),
    "--ignore-env",
    "--allow-env=CHAT_*",
    "--allow-net",
    "--allow-read",
    "--allow-write",
    "--allow-sys=cpus,getPriority,setPriority",
    "server/main.ts",
    ...["--host", "127.0.0.1", "--port", "0", "--http-port", "0"],
    ...["--data", join(data, "data"), "--password-cost", options.passwordCost ?? CHEAP_PASSWORDS],
    ...(options.workers === undefined ? [] : ["--workers", String(options.workers)]),
    ...(options.flags ?? []),
  ], ROOT);
  return await ready(
    program,
    options.inspect ?? false,
    () => Deno.remove(data, { recursive: true }),
  );
}

/** Starts the floor on a free port. */
export async function startFloor(inspect = false): Promise<Target> {
  const program = new Program("floor", [
    "run",
    ...(inspect ? ["--inspect=127.0.0.1:0"] : []),
    "--allow-net=127.0.0.1",
    "bench/floor.ts",
  ], ROOT);
  return await ready(program, inspect, () => Promise.resolve());
}

/** A server that is already running somewhere: nothing is started or stopped. */
export function externalTarget(address: string, pid: number | undefined): Target {
  const found = /^([\d.]+):(\d+)$/.exec(address);
  if (found === null) throw new Error(`--against needs an IPv4 address and a port, got ${address}`);
  return {
    host: found[1] ?? "",
    port: Number(found[2]),
    pid,
    inspector: undefined,
    stop: () => Promise.resolve(),
  };
}
