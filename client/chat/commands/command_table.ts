/**
 * Every command in one table: parser, help, completion and the JSON form follow from it, and what a
 * request to the server does (`run`), for people and programs alike. What a command does to the
 * screen or the script is with the screen or the script.
 */

import type { Client } from "../../library/client.ts";
import type { Target } from "../../library/events.ts";
import { safeLine } from "../safe_text.ts";

/** What an argument is; completion goes by it. */
export type ArgKind = "target" | "person" | "group" | "word" | "number" | "rest";

/** One argument. */
export interface Arg {
  readonly name: string;
  readonly kind: ArgKind;
  readonly optional?: true;
}

/** One command. */
export interface CommandSpec {
  /** In the order in which they are written. Only the last may have kind `rest`. */
  readonly args: readonly Arg[];
  /** One line, for /help. */
  readonly help: string;
  /** Other names. */
  readonly aliases?: readonly string[];
  /** Its word in the classic grammar, where arguments follow after colons. */
  readonly classic?: string;
  /** Of the classic grammar alone: not offered otherwise. */
  readonly isClassic?: true;
  /** Left out of the list of /help. */
  readonly isRare?: true;
  /** Where it makes sense; both when absent. */
  readonly only?: "interactive" | "script";
  /** Asks the server. Absent where the screen and scripts have ways of their own. */
  run?(client: Client, args: never): Promise<Done>;
}

/** What a request has come to. */
export interface Done {
  /** For a script. */
  readonly shown: object;
  /** For a person. */
  readonly notice?: string;
  /** The conversation that a person sees next. */
  readonly open?: Target;
}

/** The arguments of a row, by name; optional ones may be undefined. */
type Named<A extends readonly Arg[]> = {
  readonly [K in A[number] as K["name"]]: K extends { readonly optional: true } ? string | undefined
    : string;
};

/** A row whose `run` takes the row's arguments. */
function request<const A extends readonly Arg[]>(
  row: Omit<CommandSpec, "args" | "run"> & {
    readonly args: A;
    run(client: Client, args: Named<A>): Promise<Done>;
  },
): typeof row {
  return row;
}

const who = { name: "who", kind: "target" } as const satisfies Arg;
const text = { name: "text", kind: "rest" } as const satisfies Arg;

/** The commands, in the order of /help. */
export const COMMANDS = {
  msg: {
    args: [who, text],
    help: "send a message; WHO is a name, #group or id",
    aliases: ["m", "send"],
  },
  chat: {
    args: [{ name: "id", kind: "person" }, text],
    help: "send a message to a person",
    classic: "chat",
    isClassic: true,
  },
  groupchat: {
    args: [{ name: "group", kind: "group" }, text],
    help: "send a message to a group",
    classic: "groupchat",
    isClassic: true,
  },
  open: {
    args: [{ ...who, optional: true }],
    help: "talk to WHO from now on; without WHO: home",
    aliases: ["o", "query"],
  },
  add: request({
    args: [{ name: "person", kind: "person" }],
    help: "add a friend by name or id",
    aliases: ["addfriend"],
    classic: "addfriend",
    async run(client, { person }) {
      const friend = await client.addFriend(idOrName(person, "@"));
      const notice = `${safeLine(friend.name)} is a friend now, and ${friend.state}.`;
      return { shown: { friend }, notice };
    },
  }),
  remove: request({
    args: [{ name: "person", kind: "person" }],
    help: "take somebody off the list of friends",
    aliases: ["unfriend"],
    isRare: true,
    async run(client, { person }) {
      const friend = await client.removeFriend(idOrName(person, "@"));
      return { shown: { friend }, notice: `${safeLine(friend.name)} is no friend any more.` };
    },
  }),
  create: request({
    args: [{ name: "name", kind: "word" }, { name: "desc", kind: "rest", optional: true }],
    help: "make a group",
    aliases: ["creategroup"],
    classic: "creategroup",
    async run(client, { name, desc = "" }) {
      const group = await client.createGroup(name, desc);
      const notice = `Group #${safeLine(group.groupname)} has the id ${group.id}.`;
      return { shown: { group }, notice, open: { kind: "group", id: group.id } };
    },
  }),
  join: request({
    args: [{ name: "group", kind: "group" }],
    help: "join a group by name or id",
    aliases: ["addgroup"],
    classic: "addgroup",
    async run(client, args) {
      const group = await client.joinGroup(idOrName(args.group, "#"));
      return { shown: { group }, open: { kind: "group", id: group.id } };
    },
  }),
  who: {
    args: [{ ...who, optional: true }],
    help: "friends and groups, or members; who is online",
    aliases: ["list", "names"],
  },
  history: {
    args: [{ ...who, optional: true }, { name: "count", kind: "number", optional: true }],
    help: "earlier messages (PageUp does it, too)",
  },
  next: { args: [], help: "next conversation (Alt-Right)", only: "interactive" },
  prev: { args: [], help: "previous conversation (Alt-Left)", only: "interactive" },
  unread: {
    args: [],
    help: "first unread conversation (Alt-A)",
    only: "interactive",
  },
  close: {
    args: [],
    help: "take this off the list; nothing is deleted",
    only: "interactive",
  },
  set: {
    args: [
      { name: "option", kind: "word", optional: true },
      { name: "value", kind: "word", optional: true },
    ],
    help: "options: bell, notify, typing; each on or off",
    only: "interactive",
  },
  clear: {
    args: [],
    help: "take notices like this one off the screen",
    only: "interactive",
  },
  reconnect: { args: [], help: "connect now instead of waiting" },
  register: {
    args: [{ name: "name", kind: "word" }],
    help: "make an account; the password is CHAT_PASSWORD",
    only: "script",
  },
  login: {
    args: [{ name: "name", kind: "word" }],
    help: "log in; the password is CHAT_PASSWORD",
    only: "script",
  },
  sync: {
    args: [{ name: "seconds", kind: "number", optional: true }],
    help: "wait until everything sent is acknowledged",
    only: "script",
  },
  wait: {
    args: [
      { name: "count", kind: "number" },
      { name: "seconds", kind: "number", optional: true },
    ],
    help: "wait until so many more messages have come",
    only: "script",
  },
  waitfor: {
    args: [{ name: "seconds", kind: "number" }, text],
    help: "wait for a message that contains TEXT, also an earlier one",
    only: "script",
  },
  listen: {
    args: [{ name: "seconds", kind: "number", optional: true }],
    help: "print events for so long, or for ever",
    only: "script",
  },
  passwd: { args: [], help: "change the password" },
  deleteaccount: { args: [], help: "delete the account for ever", isRare: true },
  logout: { args: [], help: "log out and forget the saved login", aliases: ["loginout"] },
  quit: { args: [], help: "leave; next time you are in again", aliases: ["exit", "q"] },
  help: {
    args: [{ name: "command", kind: "word", optional: true }],
    help: "this list, or one command",
    aliases: ["?"],
  },
} as const satisfies Readonly<Record<string, CommandSpec>>;

/** A command's name. */
export type CommandName = keyof typeof COMMANDS;

/** The arguments of a command, by name; optional ones may be undefined. */
export type CommandArgs<K extends CommandName> = Named<(typeof COMMANDS)[K]["args"]>;

/** A command that someone gave, or text for the current conversation. */
export type Invocation =
  | { [K in CommandName]: { readonly command: K; readonly args: CommandArgs<K> } }[CommandName]
  | { readonly command: "say"; readonly args: { readonly text: string } };

/** The commands that ask the server, and no more. */
type RequestName = {
  [K in CommandName]: (typeof COMMANDS)[K] extends { run: unknown } ? K : never;
}[CommandName];

/** A command that {@linkcode perform} does. */
export type RequestInvocation = Extract<Invocation, { readonly command: RequestName }>;

/** Whether {@linkcode perform} does it. */
export function isRequest(invocation: Invocation): invocation is RequestInvocation {
  return invocation.command !== "say" && "run" in COMMANDS[invocation.command];
}

/**
 * Asks the server.
 *
 * @throws {RequestError | ConnectionLost} It was refused, or the answer is not known.
 */
export async function perform(client: Client, invocation: RequestInvocation): Promise<Done> {
  const { run }: CommandSpec = COMMANDS[invocation.command];
  if (run === undefined) throw new TypeError(`${invocation.command} is no request`);
  // An invocation has the arguments of its command, which are those of its row.
  return await run(client, invocation.args as never);
}

/** Every command, as a list. */
export const COMMAND_LIST: readonly (readonly [CommandName, CommandSpec])[] = Object.entries(
  COMMANDS,
).filter((entry): entry is [CommandName, (typeof COMMANDS)[CommandName]] => isCommand(entry[0]));

/** Name or alias ⇒ name. */
export const BY_NAME: ReadonlyMap<string, CommandName> = new Map(
  COMMAND_LIST.flatMap(([name, spec]) =>
    [name, ...spec.aliases ?? []].map((word): [string, CommandName] => [word, name])
  ),
);

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name);
}

/** A number is an id; `mark` before a name that is a number makes it a name. */
function idOrName(text: string, mark: string): number | string {
  if (text.startsWith(mark)) {
    const rest = text.slice(mark.length);
    return mark === "#" && /^[1-9]\d*$/.test(rest) ? Number(rest) : rest;
  }
  return /^[1-9]\d{0,15}$/.test(text) ? Number(text) : text;
}
