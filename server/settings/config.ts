/**
 * The settings of one node, read from flags, environment and defaults. The only reader of flags and
 * environment; the flags themselves are a table of their own.
 */

import { parseArgs } from "@std/cli/parse-args";
import { MAX_FRAME_BYTES, MAX_FRAMES } from "@chat/wire/limits.ts";
import { envName, type FlagName, FLAGS } from "./flags.ts";
import {
  choice,
  ConfigError,
  integer,
  keyPair,
  networks,
  passwordCost,
  path,
  required,
  url,
} from "./flag_values.ts";
import { NetworkSet } from "./ip_address.ts";

/** Environment variable in which the launcher tells the node how many files it may have open. */
export const OPEN_FILES = "CHAT_OPEN_FILES";
/** Least bytes of an object for a classic client. */
const LEAST_CLASSIC_BYTES = 512;
/** Of these, what a node needs for other things than connections: database, HTTP, threads, log. */
const OTHER_FILES = 200;

/** Connections that so many open files allow. */
export function affordable(openFiles: number): number {
  return Math.max(1, openFiles - OTHER_FILES);
}

/** The settings of one node. */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly httpPort: number;
  /** Address of the HTTP port: it has no log-in. */
  readonly httpHost: string;
  readonly data: string;
  readonly mysql: string | undefined;
  readonly redis: string | undefined;
  readonly workers: number;
  readonly passwordThreads: number;
  readonly passwordCost: { readonly memoryKib: number; readonly passes: number };
  readonly heartbeatSeconds: number;
  /** Files; undefined when the chat port speaks plain TCP. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly proxyProtocol: boolean;
  readonly trustedProxies: NetworkSet;
  readonly limits: Limits;
  /** Files that the process may have open, as the launcher has found out. */
  readonly openFiles: number | undefined;
  readonly historyDays: number;
  readonly drainMs: number;
  readonly traceOneIn: number;
  readonly logLevel: LogLevel;
}

/** Limits an operator may change; 0 means none where the flag says so. */
export interface Limits {
  readonly connections: number;
  readonly perAddress: number;
  readonly waiting: number;
  readonly loginMs: number;
  readonly connectsPerMinute: number;
  readonly framesPerSecond: number;
  readonly bytesPerSecond: number;
  readonly messagesPerMinute: number;
  readonly unitsPerMinute: number;
  readonly deliveriesPerMinute: number;
  readonly frameBytes: number;
  readonly unfinished: number;
  readonly registrationsPerMinute: number;
  readonly failures: number;
  readonly loginsPerMinute: number;
  readonly tokens: number;
  readonly classicBytes: number;
  readonly passwordQueue: number;
  readonly unlimited: NetworkSet;
  readonly queuedBytes: number;
  readonly storeQueue: number;
  readonly pending: number;
  readonly groupMembers: number;
  readonly friends: number;
  readonly groups: number;
}

/** Severities, from the least. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
/** One of them. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What the command line asks for. */
export type Invocation = { readonly help: true } | {
  readonly help: false;
  readonly config: Config;
};

/** Most session workers: a connection's number has room for 64. */
const MAX_WORKERS = 64;
/** More threads that hash would take each other's memory bandwidth. */
const MAX_PASSWORD_THREADS = 16;
/** Longest heartbeat, seconds: below the usual idle time-outs of proxies and NATs. */
const MAX_HEARTBEAT_SECONDS = 300;
/** A century: beyond it a number is a mistake. */
const MAX_HISTORY_DAYS = 36_500;
/** Most that a limit may be set to: what a counter holds without losing precision is far above. */
const MOST = 1_000_000_000;
/** What every client may rely on, and what one connection may make the node hold. */
const LEAST_FRAME_KIB = MAX_FRAME_BYTES / 1_024;
const MOST_FRAME_KIB = 1_024;
/** Supervisors kill what takes minutes to stop. */
const MAX_DRAIN_SECONDS = 600;

/**
 * Reads flags, then the environment, then defaults.
 *
 * @param args Command line, without the program.
 * @param env Reads an environment variable.
 * @param cores Processors of this machine.
 * @throws {ConfigError} A sentence that names the flag.
 */
export function readConfig(
  args: readonly string[],
  env: (name: string) => string | undefined,
  cores: number,
): Invocation {
  const names = FLAGS.map((f) => f.name);
  const parsed = parseArgs(withValues(args, names), {
    string: names,
    collect: names,
    boolean: ["help"],
    unknown: (arg) => {
      throw new ConfigError(`${arg} is no flag of this program; --help lists them`);
    },
  });
  if (parsed.help === true) return { help: true };
  const text = (name: FlagName): string => {
    const given = parsed[name];
    const [value, second] = Array.isArray(given) ? given.map(String) : [];
    if (second !== undefined) throw new ConfigError(`--${name} is given twice`);
    if (value === "") throw new ConfigError(`--${name} needs a value`);
    // An empty variable is one that is not set.
    return value ?? (env(envName(name)) || FLAGS.find((f) => f.name === name)?.fallback || "");
  };
  const mysql = url(text("mysql"), "mysql", ["mysql:"]);
  const redis = url(text("redis"), "redis", ["redis:", "rediss:"]);
  if (redis !== undefined && mysql === undefined) {
    throw new ConfigError("--redis needs --mysql: nodes of a cluster share one database");
  }
  const trustedProxies = networks(text("trusted-proxies"), "trusted-proxies");
  const openFiles = env(OPEN_FILES);
  const tls = keyPair(text("tls-cert"), text("tls-key"));
  const proxyProtocol = choice(text("proxy-protocol"), "proxy-protocol", ["on", "off"]) === "on";
  if (tls !== undefined && proxyProtocol) {
    throw new ConfigError(
      "--tls-cert does not go with --proxy-protocol: let the balancer end TLS, or pass it through " +
        "without a PROXY header",
    );
  }
  return {
    help: false,
    config: {
      host: required(text("host"), "host"),
      port: integer(text("port"), "port", 0, 65_535),
      httpHost: required(text("http-host"), "http-host"),
      httpPort: integer(text("http-port"), "http-port", 0, 65_535),
      data: path(text("data"), "data"),
      mysql,
      redis,
      workers: text("workers") === ""
        ? Math.max(1, Math.min(cores - 1, MAX_WORKERS))
        : integer(text("workers"), "workers", 0, MAX_WORKERS),
      passwordThreads: text("password-threads") === ""
        ? Math.max(1, Math.min(Math.floor(cores / 2), MAX_PASSWORD_THREADS))
        : integer(text("password-threads"), "password-threads", 1, MAX_PASSWORD_THREADS),
      passwordCost: passwordCost(text("password-cost")),
      heartbeatSeconds: integer(text("heartbeat"), "heartbeat", 1, MAX_HEARTBEAT_SECONDS),
      tls,
      proxyProtocol,
      trustedProxies,
      limits: limits(text, proxyProtocol ? trustedProxies : undefined),
      openFiles: openFiles === undefined || openFiles === "" ? undefined : Number(openFiles),
      historyDays: integer(text("history-days"), "history-days", 0, MAX_HISTORY_DAYS),
      drainMs: integer(text("drain-seconds"), "drain-seconds", 0, MAX_DRAIN_SECONDS) * 1_000,
      traceOneIn: integer(text("trace-one-in"), "trace-one-in", 0, MOST),
      logLevel: choice(text("log-level"), "log-level", LOG_LEVELS),
    },
  };
}

/**
 * Addresses without limits. Behind a balancer on this machine loopback is not the default: whoever
 * reaches the balancer otherwise than through the network would have none.
 */
function exempt(given: string, trustedBalancers: NetworkSet | undefined): NetworkSet {
  if (given === "none") return NetworkSet.none();
  const isDefault = given === FLAGS.find(({ name }) => name === "unlimited")?.fallback;
  const isLocal = ["127.0.0.1", "::1"].some((address) => trustedBalancers?.has(address));
  return isDefault && isLocal ? NetworkSet.none() : networks(given, "unlimited");
}

/** @param trustedBalancers Who may send PROXY headers; undefined when nobody may. */
function limits(
  text: (name: FlagName) => string,
  trustedBalancers: NetworkSet | undefined,
): Limits {
  const count = (name: FlagName, least = 0) => integer(text(name), name, least, MOST);
  return {
    connections: count("max-connections"),
    perAddress: count("max-per-address"),
    waiting: count("max-waiting"),
    loginMs: count("login-seconds") * 1_000,
    connectsPerMinute: count("max-connects"),
    framesPerSecond: count("max-rate"),
    bytesPerSecond: count("max-rate-kib") * 1_024,
    messagesPerMinute: count("max-messages"),
    unitsPerMinute: count("max-message-kib") * 1_024,
    deliveriesPerMinute: count("max-deliveries"),
    frameBytes: integer(text("max-frame-kib"), "max-frame-kib", LEAST_FRAME_KIB, MOST_FRAME_KIB) *
      1_024,
    unfinished: integer(text("max-unfinished"), "max-unfinished", 1, MAX_FRAMES / 2),
    registrationsPerMinute: count("max-registrations"),
    failures: count("max-failures"),
    loginsPerMinute: count("max-logins"),
    tokens: count("max-tokens"),
    classicBytes: classicBytes(text("classic-bytes")),
    passwordQueue: count("max-password-queue", 1),
    unlimited: exempt(text("unlimited"), trustedBalancers),
    queuedBytes: count("max-queued-kib", 64) * 1_024,
    storeQueue: count("max-store-queue", 1),
    pending: count("max-pending"),
    groupMembers: count("max-group"),
    friends: count("max-friends"),
    groups: count("max-groups"),
  };
}

/** An object of a few fields with a name of the longest kind fits into the least. */
function classicBytes(given: string): number {
  return given === "0" ? 0 : integer(given, "classic-bytes", LEAST_CLASSIC_BYTES, MOST);
}

/** `--name value` as `--name=value`: else a value with a dash would pass for a flag. */
function withValues(args: readonly string[], names: readonly string[]): string[] {
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? "";
    const value = args[i + 1];
    const takes = names.includes(arg.slice(2)) && arg.startsWith("--");
    if (takes && value !== undefined && !value.startsWith("--")) {
      joined.push(`${arg}=${value}`);
      i++;
    } else joined.push(arg);
  }
  return joined;
}
