/**
 * The first run as a dialogue: which server, who, password; and an account for who is new.
 * It asks and tells through functions; it knows no terminal and no files.
 */

import { ConnectionLost, OutboxInUse, RequestError } from "../library/errors.ts";
import type { Client } from "../library/client.ts";
import type { Session } from "../library/events.ts";
import type { Ask } from "./input/prompt.ts";
import { safeLine } from "../chat/safe_text.ts";

/** Failed logins before the dialogue ends. */
const MAX_FAILURES = 5;

/** Host and port of a server. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/** What the dialogue needs. */
export interface SignInOptions {
  readonly ask: Ask;
  readonly say: (text: string) => void;
  /** Connects, or rejects with ConnectionLost. */
  readonly connect: (place: Place) => Promise<Client>;
  /** What to offer. */
  readonly place: Place;
  /** The server was named on the command line: it is not asked for. */
  readonly placeIsGiven: boolean;
  readonly name: string | undefined;
  readonly password: string | undefined;
  /** The account is made if there is none of that name; nobody is asked. @default false */
  readonly register?: boolean;
}

/** A client that is logged in. */
export interface SignedIn {
  readonly client: Client;
  readonly session: Session;
  readonly place: Place;
}

/** Nobody is logged in: the user has left, or it did not work and is said to be over. */
export type NotSignedIn = "left" | "refused";

/** Asks until someone is logged in, or the dialogue is over. */
export async function signIn(options: SignInOptions): Promise<SignedIn | NotSignedIn> {
  const connected = await connectSomewhere(options);
  if (typeof connected === "string") return connected;
  const { client, place } = connected;
  const session = await logInSomebody(client, options);
  if (typeof session !== "string") return { client, session, place };
  await client.close();
  return session;
}

async function logInSomebody(
  client: Client,
  options: SignInOptions,
): Promise<Session | NotSignedIn> {
  const { ask, say } = options;
  let { name, password } = options;
  let failures = 0;
  let isMade = options.register !== true;
  while (failures < MAX_FAILURES) {
    name ??= await askName(ask);
    const typed = name === undefined
      ? undefined
      : password ?? await ask(`Password for ${safeLine(name)}: `, { secret: true });
    if (name === undefined || typed === undefined) return "left";
    password = undefined;
    if (typed === "") {
      name = undefined; // nobody's password is empty: it is somebody else who sits there
      continue;
    }
    try {
      if (!isMade) await client.register(name, typed).catch(unlessTaken);
      isMade = true;
      return await client.login({ name, password: typed });
    } catch (error) {
      if (!(error instanceof RequestError || error instanceof ConnectionLost)) throw error;
      say(safeLine(error.message));
      failures++;
      if (!(error instanceof RequestError) || error.errno !== 1) continue;
    }
    const next = await register(client, options, name, typed);
    if (next === "left") return "left";
    if (next === "registered") {
      password = typed;
      failures = 0;
    } else if (next === "another") name = undefined;
  }
  say("Too many failed attempts.");
  return "refused";
}

/** The log-in that follows decides. */
function unlessTaken(error: unknown): void {
  if (!(error instanceof RequestError && error.errno === 1)) throw error;
}

/** Offers an account after a failed login, which does not tell a wrong name from a wrong password. */
async function register(
  client: Client,
  { ask, say }: SignInOptions,
  name: string,
  password: string,
): Promise<"registered" | "again" | "another" | "left"> {
  const answer = await ask(`Make a new account ${JSON.stringify(name)}? [y/N] `);
  if (answer === undefined) return "left";
  if (!/^y(es)?$/i.test(answer.trim())) return "again";
  const repeated = await ask("The password once more: ", { secret: true });
  if (repeated === undefined) return "left";
  if (repeated !== password) {
    say("The two passwords differ.");
    return "again";
  }
  try {
    await client.register(name, password);
    return "registered";
  } catch (error) {
    if (error instanceof RequestError && error.errno === 1) {
      say(`There is an account ${safeLine(name)}: the password was wrong.`);
      return "again";
    }
    if (error instanceof RequestError || error instanceof ConnectionLost) {
      say(safeLine(error.message));
      return "another";
    }
    throw error;
  }
}

async function askName(ask: Ask): Promise<string | undefined> {
  while (true) {
    const name = await ask("Your name: ");
    if (name === undefined || name.trim() !== "") return name?.trim();
  }
}

async function connectSomewhere(
  { ask, say, connect, place, placeIsGiven }: SignInOptions,
): Promise<{ client: Client; place: Place } | NotSignedIn> {
  let wanted = place;
  let asked = placeIsGiven;
  while (true) {
    if (!asked) {
      const answer = await ask(`Server [${wanted.host}:${wanted.port}]: `);
      if (answer === undefined) return "left";
      const read = readPlace(answer.trim(), wanted);
      if (read === undefined) {
        say("A server is HOST or HOST:PORT.");
        continue;
      }
      wanted = read;
    }
    try {
      return { client: await connect(wanted), place: wanted };
    } catch (error) {
      if (!(error instanceof ConnectionLost || error instanceof OutboxInUse)) throw error;
      say(safeLine(error.message));
      if (error instanceof OutboxInUse) return "refused";
      asked = false;
    }
  }
}

/** `HOST`, `HOST:PORT`, `[V6]:PORT`, or nothing for what is offered. */
export function readPlace(text: string, offered: Place): Place | undefined {
  if (text === "") return offered;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const port = match[3] === undefined ? offered.port : Number(match[3]);
  if (port < 1 || port > 65_535) return undefined;
  return { host: match[1] ?? match[2] ?? "", port };
}
