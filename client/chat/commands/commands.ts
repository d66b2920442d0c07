/**
 * Lines → commands, and the words of /help, both from the table. It runs nothing.
 *
 * A line is a slash command, a command of the classic grammar (`chat:2:hello`), or text. With
 * `--json` a line may also be a JSON object: `{"cmd":"msg","who":"bob","text":"hi"}`.
 */

import {
  BY_NAME,
  COMMAND_LIST,
  type CommandName,
  COMMANDS,
  type CommandSpec,
  type Invocation,
} from "./command_table.ts";

/** What a line was: a command, nothing, or a mistake in words. */
export type Parsed =
  | { readonly ok: true; readonly invocation: Invocation }
  | { readonly ok: false; readonly error: string };

/** Where a line was given. */
export interface ParseOptions {
  readonly mode: "interactive" | "script";
  /** A conversation is open: bare classic words (`help`, `quit`) are text for it. */
  readonly talking: boolean;
}

/**
 * Reads a line.
 *
 * @returns undefined for an empty line.
 */
export function parseLine(line: string, options: ParseOptions): Parsed | undefined {
  if (line.trim() === "") return undefined;
  if (line.startsWith("//")) return say(line.slice(1));
  if (line.startsWith("/")) {
    const [, word = "", rest = ""] = /^\/(\S*)\s*([^]*)$/.exec(line) ?? [];
    return parseCommand(word, rest, options);
  }
  return parseClassic(line, options) ?? say(line);
}

function say(line: string): Parsed {
  return { ok: true, invocation: { command: "say", args: { text: line } } };
}

function parseCommand(word: string, rest: string, { mode }: ParseOptions): Parsed {
  const name = BY_NAME.get(word.toLowerCase());
  if (name === undefined) return mistake(`/${word} is no command; /help lists them`);
  const spec: CommandSpec = COMMANDS[name];
  if (spec.only !== undefined && spec.only !== mode) {
    return mistake(
      `/${name} works ${spec.only === "script" ? "in scripts" : "on a terminal"} only`,
    );
  }
  return bind(name, split(rest, spec));
}

/** Words, or "quoted words", as many as there are arguments; the rest as it is. */
function split(rest: string, spec: CommandSpec): string[] {
  const values: string[] = [];
  let left = rest.trim();
  for (const arg of spec.args) {
    if (left === "") break;
    if (arg.kind === "rest") {
      values.push(left);
      return values;
    }
    const quoted = /^([#@]?)"([^"]*)"(?:\s+|$)/.exec(left);
    if (quoted !== null) {
      values.push(`${quoted[1]}${quoted[2]}`);
      left = left.slice(quoted[0].length);
    } else {
      const word = /^\S+/.exec(left)?.[0] ?? "";
      values.push(word);
      left = left.slice(word.length).trimStart();
    }
  }
  if (left !== "") values.push(left);
  return values;
}

/** `chat:2:hello` and its like; bare words where they cannot be meant for somebody. */
function parseClassic(line: string, options: ParseOptions): Parsed | undefined {
  const word = /^[a-z]+/.exec(line)?.[0] ?? "";
  if (line === word || line === `${word}:`) {
    const bare = word === "loginout" || (!options.talking && (word === "help" || word === "quit"));
    return bare ? parseCommand(word, "", options) : undefined;
  }
  for (const [name, spec] of COMMAND_LIST) {
    if (spec.classic === undefined || !line.startsWith(`${spec.classic}:`)) continue;
    const values: string[] = [];
    let left = line.slice(spec.classic.length + 1);
    spec.args.forEach((_, index) => {
      const colon = index === spec.args.length - 1 ? -1 : left.indexOf(":");
      values.push(colon < 0 ? left : left.slice(0, colon));
      left = colon < 0 ? "" : left.slice(colon + 1);
    });
    return bind(name, values.map((value) => value.trim()));
  }
  return undefined;
}

/**
 * Reads the JSON form of a command: `cmd` and its arguments by name, strings or numbers.
 *
 * @param object Parsed JSON, as yet unchecked.
 */
export function parseObject(object: Readonly<Record<string, unknown>>): Parsed {
  const { cmd } = object;
  if (typeof cmd !== "string") return mistake('a JSON command needs "cmd", the command\'s name');
  const name = BY_NAME.get(cmd);
  if (name === undefined) return mistake(`${JSON.stringify(cmd)} is no command`);
  const spec: CommandSpec = COMMANDS[name];
  if (spec.only === "interactive") return mistake(`${name} works on a terminal only`);
  const values: string[] = [];
  for (const arg of spec.args) {
    const value = object[arg.name];
    if (typeof value === "number") values.push(String(value));
    else if (typeof value === "string") values.push(value);
    else if (value === undefined) values.push("");
    else return mistake(`${name}: "${arg.name}" must be a string or a number`);
  }
  return bind(name, values);
}

/** Gives values their names, and checks that all are there. */
function bind(name: CommandName, values: readonly string[]): Parsed {
  const spec: CommandSpec = COMMANDS[name];
  if (values.length > spec.args.length) return mistake(`too much after /${name}: ${usage(name)}`);
  const args: Record<string, string | undefined> = {};
  for (const [index, arg] of spec.args.entries()) {
    const value = values[index] ?? "";
    if (value === "" && arg.optional !== true) return mistake(`usage: ${usage(name)}`);
    if (arg.kind === "number" && value !== "" && !isNumber(value)) {
      return mistake(`${arg.name.toUpperCase()} must be a number: ${usage(name)}`);
    }
    args[arg.name] = value === "" ? undefined : value;
  }
  return { ok: true, invocation: invocation(name, args) };
}

/** The table has made sure that the arguments are those of the command. */
function invocation(name: CommandName, args: Record<string, string | undefined>): Invocation {
  return { command: name, args } as Invocation;
}

function isNumber(value: string): boolean {
  return value.trim() !== "" && Number.isFinite(Number(value)) && Number(value) >= 0;
}

function mistake(error: string): Parsed {
  return { ok: false, error };
}

/** How to write a command: `/msg WHO TEXT`. */
export function usage(name: CommandName): string {
  const spec: CommandSpec = COMMANDS[name];
  const args = spec.args.map((arg) => {
    const word = arg.name.toUpperCase();
    return arg.optional === true ? `[${word}]` : word;
  });
  return [`/${name}`, ...args].join(" ");
}

const KEYS = [
  "Tab completes, PageUp scrolls, Alt-1 to Alt-9 jump, Alt-0 home, Alt-A unread,",
  "Ctrl-R searches what you wrote, Alt-Enter begins a new line, Ctrl-D leaves",
];

/** Lines of /help: all commands of a mode, or one of them in full. */
export function helpLines(mode: "interactive" | "script", about?: string): string[] {
  if (about !== undefined) {
    const name = BY_NAME.get(about.replace(/^\//, "").toLowerCase());
    if (name === undefined) return [`${about} is no command; /help lists them`];
    const spec: CommandSpec = COMMANDS[name];
    const classic = spec.classic === undefined
      ? []
      : [`classic: ${[spec.classic, ...spec.args.map((arg) => arg.name)].join(":")}`];
    const aliases = spec.aliases === undefined
      ? []
      : [`also: ${spec.aliases.map((alias) => `/${alias}`).join(" ")}`];
    return [`${usage(name)}: ${spec.help}`, ...aliases, ...classic];
  }
  const shown = COMMAND_LIST.filter(([, spec]) =>
    (spec.only === undefined || spec.only === mode) && spec.isClassic !== true &&
    spec.isRare !== true
  );
  const columns = Math.max(...shown.map(([name]) => usage(name).length)) + 2;
  return [
    ...shown.map(([name, spec]) => `${usage(name).padEnd(columns)}${spec.help}`),
    "chat:ID:TEXT groupchat:ID:TEXT addfriend:ID creategroup:NAME:DESC addgroup:ID",
    ...(mode === "interactive" ? KEYS : []),
  ];
}

/** `3` and `#devs` of the classic `groupchat:` mean groups. */
export function asGroup(text: string): string {
  return text.startsWith("#") ? text : `#${text}`;
}
