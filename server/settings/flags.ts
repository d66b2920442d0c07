/**
 * Every setting, once: this table makes the parser, the help, and (by a test) the README's table.
 * What a value must be, and what becomes of it, is for the configuration to say.
 */

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
    help: "port of /healthz, /readyz and /metrics; 0 picks a free one",
  },
  {
    name: "http-host",
    value: "ADDRESS",
    fallback: "127.0.0.1",
    help: "address to listen on for --http-port; not one that clients reach",
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
    help:
      "session worker threads (default: cores − 1, at least 1); 0: sessions run in the main thread, faster on one or two cores",
  },
  {
    name: "password-cost",
    value: "KIB,PASSES",
    fallback: "19456,2",
    help: "Argon2id cost of a password: memory in KiB, passes",
  },
  {
    name: "password-threads",
    value: "N",
    fallback: "",
    help: "threads that hash passwords (default: half of the cores, at least 1)",
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
    name: "max-connects",
    value: "N",
    fallback: "3000",
    help: "connections a minute that one address may open, a third of them at once; 0: no limit",
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
    fallback: "30",
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
    name: "max-rate-kib",
    value: "KIB",
    fallback: "8192",
    help: "KiB a second of one connection: then it is read more slowly; 0: no limit",
  },
  {
    name: "max-frame-kib",
    value: "KIB",
    fallback: "64",
    help: "largest frame of a client; clients that keep to the protocol need no more than 64",
  },
  {
    name: "max-unfinished",
    value: "N",
    fallback: "512",
    help: "requests of one connection in hand; it is read on once half of them are finished",
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
      "failed log-ins of an account from one address before each further one from there has to " +
      "wait; ten times as many of an address, twenty times as many of an account from anywhere " +
      "but where its owner has logged in from; 0: no limit",
  },
  {
    name: "max-logins",
    value: "N",
    fallback: "120",
    help: "log-ins with a password a minute from one address; 0: no limit",
  },
  {
    name: "max-tokens",
    value: "N",
    fallback: "20",
    help: "logins of one user that can be resumed; the oldest end; 0: no limit",
  },
  {
    name: "max-password-queue",
    value: "N",
    fallback: "128",
    help: "passwords that may wait for their hash; further log-ins are told to try later",
  },
  {
    name: "unlimited",
    value: "CIDR,…",
    fallback: "127.0.0.0/8,::1/128",
    help: "addresses that no limit per address holds for; none: each has its limits, as behind a " +
      "trusted balancer on loopback unless this is given",
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
    name: "max-messages",
    value: "N",
    fallback: "600000",
    help: "messages a minute of one user; then the sender waits, or is told to; 0: no limit",
  },
  {
    name: "max-message-kib",
    value: "KIB",
    fallback: "262144",
    help: "length of a user's messages a minute, in Ki letters; 0: no limit",
  },
  {
    name: "max-deliveries",
    value: "N",
    fallback: "750000",
    help:
      "recipients a minute of one user's messages to groups, half a second's worth at once; then " +
      "the sender waits; 0: no limit",
  },
  {
    name: "max-pending",
    value: "N",
    fallback: "10000",
    help: "messages that wait for one user: a stranger, and groups together, may have as much " +
      "waiting as is still free; a group's further messages only reach his history; each friend " +
      "has as much for himself; 0: no limit",
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
    name: "max-groups",
    value: "N",
    fallback: "1000",
    help: "groups that one user is in; 0: no limit",
  },
  {
    name: "classic-bytes",
    value: "BYTES",
    fallback: "1023",
    help:
      "largest object for a v1 client, as the original reads 1,024 bytes at a time: long texts " +
      "come in pieces, lists are cut; 0: no limit",
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

/** Name of a flag, without dashes. */
export type FlagName = (typeof FLAGS)[number]["name"];

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
