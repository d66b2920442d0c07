/**
 * Every setting, once: this table makes the parser, the help, and (by a test) the README's table.
 * The only reader of flags and environment.
 */

import { parseArgs } from "@std/cli/parse-args";
import { NetworkSet } from "./ip_address.ts";

/** One flag: `--name VALUE`, or the environment's `CHAT_NAME`. */
export interface Flag {
  readonly name: string;
  /** How the value is named in the help. */
  readonly value: string;
  /** Text of the default. */
  readonly fallback: string;
  /** Purpose, unit, and what 0 means where it means something. */
  readonly help: string;
}

/** The flags of `deno task serve`, in the order of the help. */
export const FLAGS = [
  { name: "host", value: "ADDRESS", fallback: "127.0.0.1", help: "address to listen on" },
  { name: "port", value: "PORT", fallback: "6000", help: "chat port; 0 picks a free one" },
  {
    name: "http-port",
    value: "PORT",
    fallback: "6080",
    help: "port of /healthz, /readyz and /metrics, on the same address; 0 picks a free one",
  },
  { name: "data", value: "DIR", fallback: "./data", help: "directory of the embedded database" },
  {
    name: "mysql",
    value: "URL",
    fallback: "",
    help: "mysql://user:password@host:port/database instead of the embedded database",
  },
  {
    name: "redis",
    value: "URL",
    fallback: "",
    help: "redis://host:port to be one node of a cluster; needs --mysql",
  },
  {
    name: "workers",
    value: "N",
    fallback: "",
    help: "session worker threads (default: cores − 1, at least 1); 0 runs all in one thread",
  },
  {
    name: "password-cost",
    value: "KIB,PASSES",
    fallback: "19456,2",
    help: "Argon2id cost of a password: memory in KiB, passes",
  },
  {
    name: "heartbeat",
    value: "SECONDS",
    fallback: "30",
    help: "a v2 connection silent for this long gets a PING, for twice as long is closed",
  },
  {
    name: "tls-cert",
    value: "FILE",
    fallback: "",
    help: "certificate chain, PEM: the chat port speaks TLS; read again on SIGHUP",
  },
  { name: "tls-key", value: "FILE", fallback: "", help: "private key of --tls-cert, PEM" },
  {
    name: "proxy-protocol",
    value: "on|off",
    fallback: "off",
    help: "expect a PROXY v1 or v2 header from --trusted-proxies",
  },
  {
    name: "trusted-proxies",
    value: "CIDR,…",
    fallback: "127.0.0.1/32,::1/128",
    help: "who may send PROXY headers",
  },
  {
    name: "max-connections",
    value: "N",
    fallback: "20000",
    help: "connections in all; one more gets BYE; 0: no limit",
  },
  {
    name: "max-per-address",
    value: "N",
    fallback: "1000",
    help: "connections from one address; 0: no limit",
  },
  {
    name: "max-waiting",
    value: "N",
    fallback: "5000",
    help: "connections that have not logged in; 0: no limit",
  },
  {
    name: "login-seconds",
    value: "SECONDS",
    fallback: "600",
    help: "time a connection may take to log in; 0: for ever",
  },
  {
    name: "max-rate",
    value: "N",
    fallback: "20000",
    help:
      "frames a second of one connection: then it is read more slowly, told, and closed; 0: no limit",
  },
  {
    name: "max-registrations",
    value: "N",
    fallback: "30",
    help: "registrations a minute from one address; 0: no limit",
  },
  {
    name: "max-failures",
    value: "N",
    fallback: "5",
    help:
      "failed log-ins of an account or address before each further one has to wait; 0: no limit",
  },
  {
    name: "unlimited",
    value: "CIDR,…",
    fallback: "127.0.0.0/8,::1/128",
    help: "addresses that no limit per address holds for",
  },
  {
    name: "max-queued-kib",
    value: "KIB",
    fallback: "1024",
    help: "what may wait for a client that reads slowly; beyond it it is closed",
  },
  {
    name: "max-store-queue",
    value: "N",
    fallback: "50000",
    help: "messages that may wait for a commit; further senders are told to try later",
  },
  {
    name: "max-pending",
    value: "N",
    fallback: "10000",
    help: "messages that wait for one user; then no one-to-one message is taken for him, and " +
      "group messages only reach his history; 0: no limit",
  },
  {
    name: "max-group",
    value: "N",
    fallback: "5000",
    help: "members of a group; 0: no limit",
  },
  {
    name: "max-friends",
    value: "N",
    fallback: "2000",
    help: "friends of a user; 0: no limit",
  },
  {
    name: "history-days",
    value: "N",
    fallback: "0",
    help: "days after which messages that everybody has received are removed; 0: kept for ever",
  },
  {
    name: "drain-seconds",
    value: "N",
    fallback: "5",
    help: "on SIGTERM, time over which clients are told to come back elsewhere; 0: all at once",
  },
  {
    name: "trace-one-in",
    value: "N",
    fallback: "0",
    help: "one message in N is traced to OpenTelemetry, where OTEL_DENO=true is set; 0: none",
  },
  { name: "log-level", value: "LEVEL", fallback: "info", help: "debug, info, warn or error" },
] as const satisfies readonly Flag[];

type FlagName = (typeof FLAGS)[number]["name"];

/** The settings of one node. */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly httpPort: number;
  readonly data: string;
  readonly mysql: string | undefined;
  readonly redis: string | undefined;
  readonly workers: number;
  readonly passwordCost: { readonly memoryKib: number; readonly passes: number };
  readonly heartbeatSeconds: number;
  /** Files; undefined when the chat port speaks plain TCP. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly proxyProtocol: boolean;
  readonly trustedProxies: NetworkSet;
  readonly limits: Limits;
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
  readonly framesPerSecond: number;
  readonly registrationsPerMinute: number;
  readonly failures: number;
  readonly unlimited: NetworkSet;
  readonly queuedBytes: number;
  readonly storeQueue: number;
  readonly pending: number;
  readonly groupMembers: number;
  readonly friends: number;
}

/** Severities, from the least. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
/** One of them. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** A wrong setting: the message names the flag and says what it takes. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** What the command line asks for. */
export type Invocation = { readonly help: true } | {
  readonly help: false;
  readonly config: Config;
};

/** Most session workers: a connection's number has room for 64. */
const MAX_WORKERS = 64;
/** Longest heartbeat, seconds: below the usual idle time-outs of proxies and NATs. */
const MAX_HEARTBEAT_SECONDS = 300;
/** A century: beyond it a number is a mistake. */
const MAX_HISTORY_DAYS = 36_500;
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
      httpPort: integer(text("http-port"), "http-port", 0, 65_535),
      data: required(text("data"), "data"),
      mysql,
      redis,
      workers: text("workers") === ""
        ? Math.max(1, Math.min(cores - 1, MAX_WORKERS))
        : integer(text("workers"), "workers", 0, MAX_WORKERS),
      passwordCost: passwordCost(text("password-cost")),
      heartbeatSeconds: integer(text("heartbeat"), "heartbeat", 1, MAX_HEARTBEAT_SECONDS),
      tls,
      proxyProtocol,
      trustedProxies: networks(text("trusted-proxies"), "trusted-proxies"),
      limits: limits(text),
      historyDays: integer(text("history-days"), "history-days", 0, MAX_HISTORY_DAYS),
      drainMs: integer(text("drain-seconds"), "drain-seconds", 0, MAX_DRAIN_SECONDS) * 1_000,
      traceOneIn: integer(text("trace-one-in"), "trace-one-in", 0, MOST),
      logLevel: choice(text("log-level"), "log-level", LOG_LEVELS),
    },
  };
}

/** Most that a limit may be set to: what a counter holds without losing precision is far above. */
const MOST = 1_000_000_000;

function limits(text: (name: FlagName) => string): Limits {
  const count = (name: FlagName, least = 0) => integer(text(name), name, least, MOST);
  return {
    connections: count("max-connections"),
    perAddress: count("max-per-address"),
    waiting: count("max-waiting"),
    loginMs: count("login-seconds") * 1_000,
    framesPerSecond: count("max-rate"),
    registrationsPerMinute: count("max-registrations"),
    failures: count("max-failures"),
    unlimited: networks(text("unlimited"), "unlimited"),
    queuedBytes: count("max-queued-kib", 64) * 1_024,
    storeQueue: count("max-store-queue", 1),
    pending: count("max-pending"),
    groupMembers: count("max-group"),
    friends: count("max-friends"),
  };
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

/** The environment's name of a flag. */
export function envName(flag: string): string {
  return `CHAT_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/** The text of `--help`. */
export function helpText(): string {
  const width = Math.max(...FLAGS.map((f) => f.name.length + f.value.length)) + 4;
  const lines = FLAGS.map((f) => {
    const fallback = f.fallback === "" ? "" : ` [${f.fallback}]`;
    return `  ${`--${f.name} ${f.value}`.padEnd(width)} ${f.help}${fallback}`;
  });
  return `usage: deno task serve [flags]\n\n${lines.join("\n")}\n\n` +
    `Each flag may also be set in the environment: --http-port is CHAT_HTTP_PORT.\n`;
}

function required(text: string, flag: string): string {
  if (text.trim() === "") throw new ConfigError(`--${flag} needs a value`);
  return text;
}

function integer(text: string, flag: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < min || value > max) {
    throw new ConfigError(`--${flag} takes a whole number from ${min} to ${max}, not "${text}"`);
  }
  return value;
}

function keyPair(cert: string, key: string): Config["tls"] {
  if (cert === "" && key === "") return undefined;
  if (cert === "" || key === "") {
    const [given, missing] = cert === "" ? ["tls-key", "tls-cert"] : ["tls-cert", "tls-key"];
    throw new ConfigError(`--${given} needs --${missing}`);
  }
  return { cert, key };
}

function choice<T extends string>(text: string, flag: string, options: readonly T[]): T {
  const found = options.find((o) => o === text);
  if (found === undefined) {
    throw new ConfigError(`--${flag} takes one of ${options.join(", ")}, not "${text}"`);
  }
  return found;
}

function networks(text: string, flag: string): NetworkSet {
  const set = NetworkSet.parse(text);
  if (typeof set === "string") throw new ConfigError(`--${flag}: ${set}`);
  return set;
}

function url(text: string, flag: string, protocols: readonly string[]): string | undefined {
  if (text === "") return undefined;
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  if (
    parsed === undefined || !protocols.includes(parsed.protocol) || parsed.hostname === ""
  ) {
    // The value itself may hold a password.
    throw new ConfigError(
      `--${flag} takes a URL with a host that begins with ${protocols.join("// or ")}//`,
    );
  }
  return text;
}

/** Argon2 takes at least 8 KiB and one pass; more than the upper bounds would stop all logins. */
const MAX_PASSWORD_KIB = 1_048_576;
const MAX_PASSWORD_PASSES = 100;

function passwordCost(text: string): { memoryKib: number; passes: number } {
  const [, memory, count] = /^(\d+),(\d+)$/.exec(text) ?? [];
  const memoryKib = Number(memory);
  const passes = Number(count);
  const right = memoryKib >= 8 && memoryKib <= MAX_PASSWORD_KIB &&
    passes >= 1 && passes <= MAX_PASSWORD_PASSES;
  if (!right) {
    throw new ConfigError(
      `--password-cost takes KIB,PASSES: 8 to ${MAX_PASSWORD_KIB} KiB, 1 to ` +
        `${MAX_PASSWORD_PASSES} passes, not "${text}"`,
    );
  }
  return { memoryKib, passes };
}
