/**
 * The command line: one table makes the parser, the help and the environment variables.
 */

import { parseArgs } from "@std/cli/parse-args";

interface Flag {
  /** What a value is, in capitals; absent for switches. */
  readonly value?: string;
  readonly help: string;
  /** May be given several times. */
  readonly collect?: true;
}

const FLAGS = {
  host: { value: "HOST", help: "server [127.0.0.1, or the profile's]" },
  port: { value: "PORT", help: "its port [6000, or the profile's]" },
  tls: { help: "connect with TLS" },
  ca: { value: "FILE", help: "trust the certificates in this PEM file; implies --tls" },
  name: { value: "NAME", help: "log in as NAME; the password is CHAT_PASSWORD, or is asked for" },
  register: { help: "with --name: make the account if it does not exist" },
  profile: {
    value: "PROFILE",
    help: "which saved login to use [default]; scripts use one only when told so",
  },
  plain: { help: "no cursor movement and no colours: for screen readers and dumb terminals" },
  json: { help: "commands in, one per line; events out, one JSON object per line" },
  exec: { value: "COMMANDS", help: "run these commands, one per line, and leave", collect: true },
  help: { help: "print this" },
} as const satisfies Readonly<Record<string, Flag>>;

type FlagName = keyof typeof FLAGS;

const ENTRIES: readonly (readonly [string, Flag])[] = Object.entries(FLAGS);

/** The command line, checked. */
export interface Flags {
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly tls: boolean;
  readonly ca: string | undefined;
  readonly name: string | undefined;
  readonly register: boolean;
  readonly profile: string | undefined;
  readonly plain: boolean;
  readonly json: boolean;
  /** Commands to run; undefined when `--exec` was not given. */
  readonly exec: readonly string[] | undefined;
  readonly help: boolean;
}

/** A flag is wrong; the message names it. */
export class FlagError extends Error {
  override readonly name = "FlagError";
}

/**
 * Reads flags, and what they leave open from `CHAT_HOST`, `CHAT_PORT`, `CHAT_NAME`, `CHAT_PROFILE`.
 *
 * @throws {FlagError} A flag is unknown, lacks its value, or has a wrong one.
 */
export function parseFlags(
  args: readonly string[],
  env: (name: string) => string | undefined,
): Flags {
  const named = (want: (flag: Flag) => boolean) =>
    ENTRIES.filter(([, flag]) => want(flag)).map(([name]) => name);
  const parsed = parseArgs(args, {
    string: named((flag) => flag.value !== undefined),
    boolean: named((flag) => flag.value === undefined),
    collect: named((flag) => flag.collect === true),
    unknown: (arg: string) => {
      throw new FlagError(`${arg} is no flag; --help lists them`);
    },
  });
  const text = (name: FlagName): string | undefined => {
    const value = parsed[name];
    if (value === "") throw new FlagError(`--${name} needs a value`);
    return typeof value === "string" ? value : env(`CHAT_${name.toUpperCase()}`) || undefined;
  };
  const given = (name: FlagName): boolean => parsed[name] === true;
  const exec: unknown = parsed["exec"];
  if (Array.isArray(exec) && exec.includes("")) throw new FlagError("--exec needs a value");
  const ca = text("ca");
  return {
    host: text("host"),
    port: portOf(text("port")),
    tls: given("tls") || ca !== undefined,
    ca,
    name: text("name"),
    register: given("register"),
    profile: text("profile"),
    plain: given("plain"),
    json: given("json"),
    exec: Array.isArray(exec) && exec.length > 0 ? exec.map(String) : undefined,
    help: given("help"),
  };
}

function portOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const port = Number(value);
  if (!/^\d+$/.test(value) || port < 1 || port > 65_535) {
    throw new FlagError(`--port ${value}: a port is a number from 1 to 65535`);
  }
  return port;
}

/** What `--help` prints. */
export function flagHelp(): string {
  const rows = ENTRIES.map(([name, { value, help }]) => {
    const flag = value === undefined ? `--${name}` : `--${name} ${value}`;
    return `  ${flag.padEnd(20)}${help}`;
  });
  return [
    "Usage: deno task client [flags]",
    "",
    ...rows,
    "",
    "CHAT_PASSWORD is the password; CHAT_HOST, CHAT_PORT, CHAT_NAME and CHAT_PROFILE stand for",
    "their flags. Without a terminal on stdin the client reads commands as with --json.",
    "Exit status: 0 everything succeeded, 1 something failed, 2 wrong flags, 130 interrupted.",
    "",
  ].join("\n");
}
