/** Settings: every flag is read, every wrong value is refused with a sentence that names its flag. */

import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { type Config, readConfig } from "../../server/settings/config.ts";
import { ConfigError } from "../../server/settings/flag_values.ts";
import { envName, FLAGS, helpText } from "../../server/settings/flags.ts";

function read(args: readonly string[], env: Record<string, string> = {}, cores = 4): Config {
  const invocation = readConfig(args, (name) => env[name], cores);
  assert(!invocation.help);
  return invocation.config;
}

/** Values that each flag has to refuse. Every flag has a row. */
const WRONG: Record<(typeof FLAGS)[number]["name"], readonly string[]> = {
  "host": ["", " "],
  "port": ["", "x", "-1", "65536", "1.5", "1e9", "NaN"],
  "http-port": ["", "x", "-1", "65536"],
  "http-host": ["", " "],
  "data": ["", " "],
  "mysql": ["", "localhost", "http://host/db", "mysql:"],
  "redis": ["", "localhost", "http://host"],
  "workers": ["", "x", "-1", "65", "0.5"],
  "password-cost": ["", "x", "64", "64,", "7,1", "64,0", "64,1,1", "1048577,1", "64,101", "-64,1"],
  "password-threads": ["0", "17", "x"],
  "heartbeat": ["", "0", "-1", "301", "x"],
  "tls-cert": ["", "cert.pem"],
  "tls-key": ["", "key.pem"],
  "proxy-protocol": ["", "yes", "ON"],
  "trusted-proxies": ["", "x", "10.0.0.0/33", "10.0.0/8"],
  "max-connections": ["", "-1", "x", "0.1"],
  "max-per-address": ["", "-1", "x"],
  "max-waiting": ["", "-1", "x"],
  "login-seconds": ["", "-1", "x"],
  "max-rate": ["", "-1", "x"],
  "max-rate-kib": ["", "-1", "x"],
  "max-frame-kib": ["63", "1025", "x"],
  "max-unfinished": ["0", "2049", "x"],
  "max-registrations": ["", "-1", "x"],
  "max-failures": ["", "-1", "x"],
  "max-logins": ["", "-1", "x"],
  "max-tokens": ["", "-1", "x"],
  "classic-bytes": ["", "-1", "511", "x"],
  "max-connects": ["", "-1", "x"],
  "max-messages": ["", "-1", "x"],
  "max-deliveries": ["", "-1", "x"],
  "max-message-kib": ["", "-1", "x"],
  "max-groups": ["", "-1", "x"],
  "max-password-queue": ["0", "-1", "x"],
  "unlimited": ["", "x", "10.0.0.0/33"],
  "max-queued-kib": ["", "0", "-1", "x"],
  "max-store-queue": ["", "0", "-1", "x"],
  "max-pending": ["", "-1", "x"],
  "max-group": ["", "-1", "x"],
  "max-friends": ["", "-1", "x"],
  "history-days": ["", "-1", "x", "36501", "1.5"],
  "drain-seconds": ["", "-1", "x", "601"],
  "trace-one-in": ["", "-1", "x", "0.5"],
  "log-level": ["", "all", "INFO"],
};

Deno.test("every wrong value of every flag is refused with its flag's name", () => {
  for (const { name } of FLAGS) {
    for (const value of WRONG[name]) {
      for (const args of [[`--${name}`, value], [`--${name}=${value}`]]) {
        const error = assertThrows(() => read(args), ConfigError, undefined, args.join(" "));
        assertStringIncludes(error.message, `--${name}`, args.join(" "));
      }
      if (value === "") continue; // an empty variable is one that is not set
      const env = { [envName(name)]: value };
      const error = assertThrows(() => read([], env), ConfigError, undefined, `${name}=${value}`);
      assertStringIncludes(error.message, `--${name}`);
    }
  }
});

Deno.test("a flag without its value, twice, or unknown is refused", () => {
  for (
    const [args, named] of [
      [["--port"], "--port"],
      [["--mysql", "--workers", "1"], "--mysql"],
      [["--port", "1", "--port", "2"], "--port is given twice"],
      [["--ports", "1"], "--ports"],
      [["--no-port"], "--no-port"],
      [["6000"], "6000"],
      [["-p", "6000"], "-p"],
    ] as const
  ) {
    const error = assertThrows(() => read(args), ConfigError, undefined, args.join(" "));
    assertStringIncludes(error.message, named);
  }
});

Deno.test("what Deno or a URL would take for something else is refused with a remedy", () => {
  for (const flag of ["--mysql", "--redis"] as const) {
    const scheme = flag.slice(2);
    const refused = assertThrows(() => read([flag, `${scheme}://u:100%@host/db`]), ConfigError);
    assertStringIncludes(refused.message, "percent-encoded");
  }
  for (
    const flags of [
      ["--data", "/a,b"],
      ["--tls-cert", "/a,b", "--tls-key", "/k"],
      ["--tls-cert", "/c", "--tls-key", "/a,b"],
    ]
  ) {
    const refused = assertThrows(() => read(flags), ConfigError);
    assertStringIncludes(refused.message, "comma");
  }
});

Deno.test("a secret in a refused URL is not repeated", () => {
  const error = assertThrows(() => read(["--mysql", "http://user:hunter2@host/db"]), ConfigError);
  assert(!error.message.includes("hunter2"), error.message);
});

Deno.test("flags go before the environment, and that before defaults", () => {
  const env = { CHAT_PORT: "7000", CHAT_HTTP_PORT: "7001", CHAT_WORKERS: "" };
  const config = read(["--port", "0", "--heartbeat=5"], env, 4);
  assertEquals(
    [config.port, config.httpPort, config.heartbeatSeconds, config.workers, config.host],
    [0, 7001, 5, 3, "127.0.0.1"],
  );
});

Deno.test("there is at least one session worker, and at most 64, unless none is asked for", () => {
  assertEquals([1, 2, 200].map((cores) => read([], {}, cores).workers), [1, 1, 64]);
  assertEquals(read(["--workers", "0"]).workers, 0);
});

Deno.test("half of the cores hash passwords: at least one, and at most 16", () => {
  assertEquals([1, 2, 8, 200].map((cores) => read([], {}, cores).passwordThreads), [1, 1, 4, 16]);
  assertEquals(read(["--password-threads", "3"]).passwordThreads, 3);
});

Deno.test("--redis alone is refused: nodes of a cluster share one database", () => {
  const error = assertThrows(() => read(["--redis", "redis://127.0.0.1"]), ConfigError);
  assertStringIncludes(error.message, "--mysql");
  const config = read(["--redis", "rediss://r:1", "--mysql", "mysql://u:p@h:3306/chat"]);
  assertEquals([config.redis, config.mysql], ["rediss://r:1", "mysql://u:p@h:3306/chat"]);
});

Deno.test("the help names every flag with its default", () => {
  const text = helpText();
  for (const { name, value, fallback, help } of FLAGS) {
    const line = text.split("\n").find((l) => l.startsWith(`  --${name} ${value}`));
    assert(line !== undefined, `no line for --${name}`);
    assertStringIncludes(line, help);
    if (fallback !== "") assertMatch(line, new RegExp(`\\[${RegExp.escape(fallback)}\\]$`));
  }
  assertEquals(readConfig(["--help"], () => undefined, 1), { help: true });
});
