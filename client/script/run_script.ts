/**
 * `--json`, `--exec`, or no terminal on stdin: logs in as the flags say, runs the commands, leaves.
 */

import type { Client } from "../library/client.ts";
import { systemClock } from "../library/clock.ts";
import { connect } from "../transport/connect.ts";
import { RequestError } from "../library/errors.ts";
import type { ClientEvent, Session } from "../library/events.ts";
import type { Flags } from "../flags.ts";
import {
  configDirectory,
  isFor,
  isOfServer,
  Profile,
  type ProfileData,
  withoutToken,
} from "../profile/profile.ts";
import { freshProfile } from "../profile/fresh_profile.ts";
import { Script } from "./script.ts";
import { inWords } from "../chat/event_json.ts";
import { readTls } from "../transport/tls.ts";

/** How long unacknowledged sends may take at the end, in ms, before the script has failed. */
const LAST_ACK_MS = 30_000;

/** Longest line, in UTF-16 units: a message, escaped as JSON, and its command. */
const MAX_LINE_UNITS = 256 * 1024;

/** A password in a JSON command. */
const SECRET_IN_JSON = /"(?:password|new)"\s*:/;

function warnOfPassword(): void {
  console.error(
    "A password in --exec can be seen by everybody on this machine (ps): " +
      "set CHAT_PASSWORD, or give the command on standard input.",
  );
}

/** Asks a person for what is not shown while it is typed; undefined when there is no answer. */
export type AskSecret = (question: string) => Promise<string | undefined>;

/** @returns The exit status. */
export async function runScript(
  flags: Flags,
  env: (name: string) => string | undefined,
  askSecret: AskSecret,
): Promise<number> {
  const profile = flags.profile === undefined
    ? undefined
    : await Profile.open(configDirectory(env), flags.profile);
  const stored = (await profile?.load())?.data;
  const saved = stored !== undefined && isFor(stored, flags) ? stored : undefined;
  const keepsOutbox = stored === undefined || isOfServer(stored, flags);
  if (flags.exec?.some((command) => SECRET_IN_JSON.test(command))) warnOfPassword();
  const password = await passwordOf(flags, env, saved, askSecret);
  const device = profile === undefined ? undefined : saved?.device ?? crypto.randomUUID();
  const output = new LineWriter();
  // The script is made after the client, and before a login brings anything of interest.
  const running: { script?: Script } = {};
  let saving = Promise.resolve();
  let kept: ProfileData | undefined;
  const remember = (session: Session) => {
    if (profile === undefined || device === undefined) return;
    const base = saved ?? freshProfile(flags, session, device);
    kept = { ...base, id: session.id, name: session.name, token: session.token };
    saving = profile.save(kept);
  };
  const onEvent = (event: ClientEvent) => {
    if (event.type === "session" || event.type === "session_changed") remember(event.session);
    running.script?.onEvent(event);
  };
  let client: Client;
  try {
    client = await connect({
      host: flags.host ?? saved?.host ?? "127.0.0.1",
      port: flags.port ?? saved?.port ?? 6000,
      tls: await readTls(flags, saved),
      onEvent,
      device,
      ...(profile !== undefined && keepsOutbox && { outboxFile: profile.outboxFile }),
    });
  } catch (error) {
    output.write(JSON.stringify({ event: "error", ...inWords(error) }));
    await output.flushed();
    return 1;
  }
  const print = (line: string) => output.write(line);
  const script = new Script({ client, clock: systemClock, print, password });
  running.script = script;
  const stop = onSignals(async (status) => {
    await client.close(1_000);
    await output.flushed();
    Deno.exit(status);
  });
  const isIn = await logIn(client, script, flags, saved, password);
  if (isIn) await script.run(flags.exec === undefined ? stdinLines() : listed(flags.exec));
  const allSent = await client.drained(LAST_ACK_MS);
  // The script has logged out: the token is void.
  if (kept !== undefined && client.session === undefined) {
    saving = profile?.save(withoutToken(kept)) ?? saving;
  }
  stop();
  await client.close();
  await saving;
  await output.flushed();
  return isIn && !script.failed && allSent ? 0 : 1;
}

/** Logs in as the flags say; nobody named is for the script to do. False when it failed. */
async function logIn(
  client: Client,
  script: Script,
  flags: Flags,
  saved: ProfileData | undefined,
  password: string | undefined,
): Promise<boolean> {
  const name = flags.name ?? saved?.name;
  try {
    if (flags.name === undefined && saved?.token !== undefined && password === undefined) {
      await client.resume(saved.token);
    } else if (name !== undefined) {
      if (password === undefined) throw new RequestError(4, "no password: set CHAT_PASSWORD");
      if (flags.register) await registerIfNew(client, name, password);
      await client.login({ name, password });
    }
    return true;
  } catch (error) {
    script.fail(error);
    return false;
  }
}

async function registerIfNew(client: Client, name: string, password: string): Promise<void> {
  try {
    await client.register(name, password);
  } catch (error) {
    // Taken: then the login that follows decides.
    if (!(error instanceof RequestError && error.errno === 1)) throw error;
  }
}

/** CHAT_PASSWORD, or the answer to a prompt when a person sits there and a name was given. */
async function passwordOf(
  flags: Flags,
  env: (name: string) => string | undefined,
  saved: ProfileData | undefined,
  askSecret: AskSecret,
): Promise<string | undefined> {
  const given = env("CHAT_PASSWORD");
  if (given !== undefined && given !== "") return given;
  const name = flags.name ?? (saved?.token === undefined ? saved?.name : undefined);
  if (name === undefined || !Deno.stdin.isTerminal()) return undefined;
  const answer = await askSecret(`Password for ${name}: `);
  return answer === "" ? undefined : answer;
}

/**
 * Lines of stdin as they come, without their ends; the last may lack one.
 *
 * @throws {RangeError} A line is too long to be a command.
 */
async function* stdinLines(): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(64 * 1024);
  // What was typed while a password was asked for, in raw mode, has the Enter key's own character.
  const ends = Deno.stdin.isTerminal() ? /\r\n?|\n/ : /\r?\n/;
  let held = "";
  while (true) {
    const count = await Deno.stdin.read(buffer);
    held += count === null ? decoder.decode() : decoder.decode(buffer.subarray(0, count), {
      stream: true,
    });
    const lines = held.split(ends);
    held = lines.pop() ?? "";
    yield* lines;
    if (count === null) break;
    if (held.length > MAX_LINE_UNITS) {
      throw new RangeError(`a line of more than ${MAX_LINE_UNITS} characters on stdin`);
    }
  }
  if (held !== "") yield held;
}

async function* listed(commands: readonly string[]): AsyncGenerator<string> {
  for (const command of commands) yield* command.split("\n");
}

/** Calls `end` with the exit status at SIGINT or SIGTERM; returns what stops listening. */
function onSignals(end: (status: number) => Promise<void>): () => void {
  const interrupted = () => void end(130);
  const terminated = () => void end(143);
  Deno.addSignalListener("SIGINT", interrupted);
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", terminated);
  return () => {
    Deno.removeSignalListener("SIGINT", interrupted);
    if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGTERM", terminated);
  };
}

/**
 * Lines to stdout, one write per turn.
 * A reader that has gone ends the program, as it ends every filter.
 */
class LineWriter {
  readonly #encoder = new TextEncoder();
  #lines: string[] = [];
  #writing: Promise<void> | undefined;

  write(line: string): void {
    this.#lines.push(line);
    this.#writing ??= this.#drain();
  }

  async flushed(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  async #drain(): Promise<void> {
    await Promise.resolve();
    try {
      while (this.#lines.length > 0) {
        let rest = this.#encoder.encode(`${this.#lines.join("\n")}\n`);
        this.#lines = [];
        while (rest.length > 0) rest = rest.subarray(await Deno.stdout.write(rest));
      }
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) Deno.exit(1);
      throw error;
    } finally {
      this.#writing = undefined;
    }
  }
}
