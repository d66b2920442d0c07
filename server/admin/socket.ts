/**
 * A node's side of `deno task admin`: a Unix socket in the data directory, open to the node's user
 * alone. One request per connection, a bounded time and size each.
 */

import { deadline } from "@std/async/deadline";
import { ChatError } from "@chat/wire/errors.ts";
import type { Log } from "../observe/log.ts";
import { AdminError, type AdminOperations } from "./operations.ts";
import { type AdminAnswer, AdminRequest } from "./protocol.ts";

const MAX_REQUEST_BYTES = 4_096;
/** Longest time of one request, ms: a password's hash may wait its turn. */
const REQUEST_MS = 20_000;
/** Nobody but the node's user. */
const MODE = 0o600;

/** Listens until it is disposed. */
export class AdminSocket implements AsyncDisposable {
  readonly #path: string;
  readonly #listener: Deno.Listener;
  readonly #operations: AdminOperations;
  readonly #log: Log;
  readonly #accepting: Promise<void>;

  /** @throws What listening throws: the path is too long, or cannot be written to. */
  constructor(path: string, operations: AdminOperations, log: Log) {
    this.#path = path;
    this.#operations = operations;
    this.#log = log;
    removeIfThere(path); // of a run that was killed: the chat port is ours, so it serves nobody
    this.#listener = Deno.listen({ transport: "unix", path });
    Deno.chmodSync(path, MODE);
    this.#accepting = this.#accept();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    removeIfThere(this.#path);
  }

  async #accept(): Promise<void> {
    for (;;) {
      let socket: Deno.Conn;
      try {
        socket = await this.#listener.accept();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return; // disposed
        this.#log.warn("accept failed on the admin socket", { error: String(error) });
        await new Promise((resolve) => setTimeout(resolve, 50));
        continue;
      }
      deadline(this.#serve(socket), REQUEST_MS).catch((error) =>
        this.#log.warn("an admin request failed", { error: String(error) })
      ).finally(() => closeQuietly(socket));
    }
  }

  async #serve(socket: Deno.Conn): Promise<void> {
    const answer = await this.#answer(await readLine(socket));
    let bytes = new TextEncoder().encode(JSON.stringify(answer) + "\n");
    while (bytes.length > 0) bytes = bytes.subarray(await socket.write(bytes));
  }

  async #answer(line: string): Promise<AdminAnswer> {
    let json: unknown;
    try {
      json = JSON.parse(line);
    } catch {
      return { error: "not JSON" };
    }
    const request = AdminRequest.safeParse(json);
    if (!request.success) return { error: "no such command" };
    const { command, argument } = request.data;
    this.#log.info("admin command", { command, argument });
    try {
      return await this.#operations.run(request.data);
    } catch (error) {
      if (!(error instanceof AdminError) && !(error instanceof ChatError)) throw error;
      return { error: error.message };
    }
  }
}

async function readLine(socket: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(MAX_REQUEST_BYTES);
  let used = 0;
  while (used < buffer.length && !buffer.subarray(0, used).includes(0x0a)) {
    const count = await socket.read(buffer.subarray(used));
    if (count === null) break;
    used += count;
  }
  return new TextDecoder().decode(buffer.subarray(0, used));
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function closeQuietly(socket: Deno.Conn): void {
  try {
    socket.close();
  } catch { // the other side was first
  }
}
