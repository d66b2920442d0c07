/** The commands of `deno task admin` as one table, which makes the parser and the help. */

import { parseArgs } from "@std/cli/parse-args";

/** A command: its name, its one argument if it takes one, and what it does. */
export interface CommandSpec {
  readonly name: string;
  /** How the argument is named in the help; "" when there is none, in brackets when it may lack. */
  readonly value: string;
  readonly help: string;
}

/** The commands, in the order of the help. A USER is an id or a name; `name:7` is the name "7". */
export const COMMANDS = [
  { name: "status", value: "", help: "the node, its readiness and its numbers" },
  { name: "sessions", value: "[USER]", help: "connections of all nodes, or those of one user" },
  {
    name: "disconnect",
    value: "CONN[@NODE]",
    help: "end a connection, of this node if none is named; its client may come back",
  },
  { name: "disconnect-user", value: "USER", help: "the same by user, on whichever node" },
  {
    name: "reset-password",
    value: "USER",
    help: "set a new password and end all log-ins; it is printed, or read with --stdin",
  },
  { name: "user", value: "USER", help: "who it is, where it is online, what waits for it" },
  { name: "group", value: "ID", help: "a group and its members" },
  { name: "message", value: "MID", help: "whether it is stored, who has yet to receive it, where" },
  { name: "restart-worker", value: "INDEX", help: "end a session worker; another takes over" },
] as const satisfies readonly CommandSpec[];

/** A command's name. */
export type CommandName = (typeof COMMANDS)[number]["name"];

const OPTIONS = [
  ["--data DIR", "data directory of the node [./data]"],
  ["--port PORT", "its chat port, where several nodes share the directory"],
  ["--json", "one JSON array instead of a table"],
  ["--stdin", "reset-password: take the first line of standard input as the password"],
] as const;

const EXIT_STATUS =
  "0 done, 1 refused, 2 wrong command line, 3 nodes that are named did not answer";

/** What the command line asks for. */
export interface AdminInvocation {
  readonly command: CommandName;
  /** "" when it was not given. */
  readonly argument: string;
  readonly data: string;
  readonly port: string;
  readonly json: boolean;
  readonly stdin: boolean;
}

/** A wrong command line, in one sentence. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * Reads the command line; "help" when that is asked for.
 * @throws {UsageError}
 */
export function readInvocation(args: readonly string[]): AdminInvocation | "help" {
  const parsed = parseArgs(args, {
    string: ["data", "port", "_"],
    boolean: ["json", "stdin", "help"],
    unknown(arg) {
      if (arg.startsWith("-")) throw new UsageError(`${arg} is no option; see --help`);
    },
  });
  const [name, argument = "", ...rest] = parsed._.map(String);
  if (parsed.help === true || name === undefined) return "help";
  const spec = COMMANDS.find((each) => each.name === name);
  if (spec === undefined) throw new UsageError(`${name} is no command; see --help`);
  if (rest.length > 0 || (spec.value === "" && argument !== "")) {
    throw new UsageError(`${name} takes ${spec.value === "" ? "nothing" : `one ${spec.value}`}`);
  }
  if (argument === "" && spec.value !== "" && !spec.value.startsWith("[")) {
    throw new UsageError(`${name} needs ${spec.value}`);
  }
  return {
    command: spec.name,
    argument,
    data: String(parsed.data ?? "./data"),
    port: String(parsed.port ?? ""),
    json: parsed.json === true,
    stdin: parsed.stdin === true,
  };
}

/** The text of `--help`. */
export function adminHelp(): string {
  const list = (rows: readonly (readonly [string, string])[]) =>
    rows.map(([left, right]) => `  ${left.padEnd(24)} ${right}`).join("\n");
  const commands = COMMANDS.map(({ name, value, help }) => [`${name} ${value}`, help] as const);
  return `usage: deno task admin [options] COMMAND\n\n${list(commands)}\n\n${list(OPTIONS)}\n\n` +
    `exit status: ${EXIT_STATUS}\n`;
}
