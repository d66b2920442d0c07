/** `deno task admin`: one command to a node that runs on this machine, over its socket. */

import { deadline } from "@std/async/deadline";
import { join } from "@std/path";
import { adminHelp, type AdminInvocation, readInvocation, UsageError } from "./commands.ts";
import { AdminAnswer, type AdminRequest, type AdminRow, MAX_ARGUMENT_UNITS } from "./protocol.ts";
import { isSocketName, socketPath } from "../settings/data_dir.ts";

/** Longest wait for an answer, ms: a node gives a request 20 s. */
const ANSWER_MS = 25_000;
const FAILED = 1;
const WRONG_USAGE = 2;
/** Done as far as nodes answered; the others are named. */
const PARTLY = 3;

/** A failure in one sentence. */
class Failure extends Error {}

/** The socket that the options name, or the only one there is. */
async function findSocket({ data, port }: AdminInvocation): Promise<string> {
  if (port !== "") return socketPath(data, port);
  const found: string[] = [];
  try {
    for await (const { name } of Deno.readDir(data)) if (isSocketName(name)) found.push(name);
  } catch (error) {
    throw new Failure(`--data ${data} cannot be read: ${reason(error)}`);
  }
  const [only, ...others] = found;
  if (only === undefined) throw new Failure(`no node runs in --data ${data}`);
  if (others.length === 0) return join(data, only);
  // A node that was killed leaves its socket behind.
  const answering: string[] = [];
  for (const name of found) if (await listens(join(data, name))) answering.push(name);
  const [first, ...more] = answering;
  if (first === undefined) throw new Failure(`no node runs in --data ${data}`);
  if (more.length > 0) throw new Failure(`several nodes in ${data}: choose one with --port`);
  return join(data, first);
}

async function listens(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch {
    return false;
  }
}

async function ask(path: string, request: AdminRequest): Promise<AdminAnswer> {
  let socket: Deno.UnixConn;
  try {
    socket = await Deno.connect({ transport: "unix", path });
  } catch (error) {
    throw new Failure(`no node answers at ${path}: ${reason(error)}`);
  }
  const talk = async () => {
    let bytes = new TextEncoder().encode(JSON.stringify(request) + "\n");
    while (bytes.length > 0) bytes = bytes.subarray(await socket.write(bytes));
    return await new Response(socket.readable).text();
  };
  try {
    const text = await deadline(talk(), ANSWER_MS);
    if (text === "") throw new Failure("the node gave no answer; its log says more");
    return AdminAnswer.parse(JSON.parse(text));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    throw new Failure(
      `the node at ${path} has not answered for ${ANSWER_MS / 1_000} s: it is stopped, or hangs`,
    );
  } finally {
    try {
      socket.close();
    } catch { // reading to the end has closed it
    }
  }
}

async function firstLine(): Promise<string> {
  const text = await new Response(Deno.stdin.readable).text();
  const line = text.split("\n")[0]?.replace(/\r$/, "") ?? "";
  if (line === "") throw new Failure("--stdin: no password came");
  return line;
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function main(): Promise<void> {
  const invocation = readInvocation(Deno.args);
  if (invocation === "help") {
    console.log(adminHelp());
    return;
  }
  const { command, argument, json, stdin } = invocation;
  const path = await findSocket(invocation);
  const password = stdin && command === "reset-password" ? await firstLine() : undefined;
  for (const [what, text] of [["the argument", argument], ["the password", password]] as const) {
    if (text !== undefined && text.length > MAX_ARGUMENT_UNITS) {
      throw new Failure(`${what} is longer than ${MAX_ARGUMENT_UNITS} characters`);
    }
  }
  const answer = await ask(path, { command, argument, password });
  if ("error" in answer) throw new Failure(answer.error);
  console.log(json ? JSON.stringify(answer.rows) : tableOf(answer.rows));
  if (answer.silent.length === 0) return;
  const nodes = `${answer.silent.length > 1 ? "nodes" : "node"} ${answer.silent.join(", ")}`;
  console.error(`admin: no answer from ${nodes}: what is there is not shown, and may not be done`);
  Deno.exit(PARTLY);
}

await main().catch((error) => {
  if (!(error instanceof Failure) && !(error instanceof UsageError)) throw error;
  console.error(`admin: ${error.message}`);
  Deno.exit(error instanceof UsageError ? WRONG_USAGE : FAILED);
});

/** A table with a header; "nothing" for no rows. Control characters are escaped: names come from users. */
function tableOf(rows: readonly AdminRow[]): string {
  if (rows.length === 0) return "nothing";
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const lines = [columns, ...rows.map((row) => columns.map((column) => shown(row[column])))];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines.map((line) =>
    line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd()
  ).join("\n");
}

function shown(value: string | number | boolean | undefined): string {
  return String(value ?? "").replace(
    /\p{Cc}/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
