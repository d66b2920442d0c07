/**
 * The outbox on disk: an append-only file of what was queued, first sent, and done.
 *
 * Invariants: `append` resolves only after its line is on disk (fsync, one for all lines of a turn);
 * a line torn by a crash spoils only itself; a lost "done" line merely makes the chat be sent again
 * under its old cid, which the server recognises; a lost "first" line makes it count as never sent.
 * One process owns a journal (lock file beside it).
 */

import { z } from "zod";
import { dirname } from "@std/path";
import { OutboxInUse } from "../library/errors.ts";
import { parseJson } from "../files/json.ts";
import type { Outgoing } from "../library/outbox.ts";
import type { OutboxStore } from "../library/transport.ts";
import { readIfThere } from "../files/whole_file.ts";

/** Done lines that make a rewrite worth its cost. */
const COMPACT_AFTER_DONE = 1_024;

const FirstSending = z.object({ at: z.number(), seen: z.string() });
const Queued = z.object({
  q: z.object({
    cid: z.string().min(1),
    from: z.int().positive(),
    toid: z.int().nonnegative(),
    groupid: z.int().nonnegative(),
    msg: z.string().min(1),
    at: z.number(),
    first: FirstSending.optional(),
  }),
});
const First = z.object({ f: z.string(), ...FirstSending.shape });
const Done = z.object({ d: z.string() });
const Line = z.union([Queued, First, Done]);

/** What {@linkcode Journal.open} found. */
export interface OpenedJournal {
  readonly journal: Journal;
  /** Chats that were queued and not done, in order. */
  readonly waiting: Outgoing[];
  /** Lines that could not be read: torn by a crash, or damaged. */
  readonly damagedLines: number;
}

/** An outbox file that this process owns. */
export class Journal implements OutboxStore {
  readonly #path: string;
  readonly #lock: Deno.FsFile;
  #file: Deno.FsFile;
  /** cid ⇒ chat that is queued and not done. */
  readonly #live: Map<string, Outgoing>;
  #doneLines = 0;
  #lines: string[] = [];
  #waiters: PromiseWithResolvers<void>[] = [];
  #writing: Promise<void> | undefined;
  #torn = false;
  #closed = false;

  private constructor(path: string, lock: Deno.FsFile, file: Deno.FsFile, live: Outgoing[]) {
    this.#path = path;
    this.#lock = lock;
    this.#file = file;
    this.#live = new Map(live.map((chat) => [chat.cid, chat]));
  }

  /**
   * Opens or creates a journal, mode 0600, in a directory that exists.
   *
   * @throws {OutboxInUse} When another process has it open.
   */
  static async open(path: string): Promise<OpenedJournal> {
    const lock = await Deno.open(`${path}.lock`, { write: true, create: true, mode: 0o600 });
    let file: Deno.FsFile | undefined;
    try {
      if (!(await lock.tryLock(true))) {
        throw new OutboxInUse(`the outbox ${path} is used by another running client`);
      }
      const { waiting, damagedLines } = read(await readIfThere(path));
      // Starting from a fresh file also removes a torn last line.
      file = await rewrite(path, waiting);
      await syncDirectory(dirname(path));
      return { journal: new Journal(path, lock, file, waiting), waiting, damagedLines };
    } catch (error) {
      file?.close();
      await release(lock);
      throw error;
    }
  }

  /** Resolves once the chat is on disk. Rejects when the disk refuses it; it is not queued then. */
  append(chat: Outgoing): Promise<void> {
    if (this.#closed) return Promise.reject(new Error("the outbox file is closed"));
    const waiter = Promise.withResolvers<void>();
    this.#lines.push(JSON.stringify({ q: chat } satisfies z.infer<typeof Queued>));
    this.#waiters.push(waiter);
    this.#live.set(chat.cid, chat);
    this.#write();
    waiter.promise.catch(() => this.#live.delete(chat.cid));
    return waiter.promise;
  }

  /** Notes how a chat was first sent. Written soon, without waiting for the disk. */
  first({ cid, first }: Outgoing): void {
    if (this.#closed || first === undefined || !this.#live.has(cid)) return;
    this.#lines.push(JSON.stringify({ f: cid, ...first } satisfies z.infer<typeof First>));
    this.#write();
  }

  /** Notes that a chat needs no sending any more. Written soon, without waiting for the disk. */
  done(cid: string): void {
    if (this.#closed || !this.#live.delete(cid)) return;
    this.#lines.push(JSON.stringify({ d: cid } satisfies z.infer<typeof Done>));
    this.#doneLines++;
    this.#write();
  }

  /** Writes what is left and lets the file go. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writing;
    this.#file.close();
    await release(this.#lock);
  }

  #write(): void {
    // Failures are told to the waiters; `#drain` itself does not reject.
    this.#writing ??= this.#drain();
  }

  async #drain(): Promise<void> {
    // Everything said in this turn shares one write and one fsync.
    await Promise.resolve();
    while (this.#lines.length > 0) {
      const lines = this.#lines;
      const waiters = this.#waiters;
      this.#lines = [];
      this.#waiters = [];
      try {
        await writeAll(this.#file, `${this.#torn ? "\n" : ""}${lines.join("\n")}\n`);
        this.#torn = false;
        if (waiters.length > 0) await this.#file.syncData();
        for (const waiter of waiters) waiter.resolve();
        if (this.#doneLines >= COMPACT_AFTER_DONE && this.#doneLines > 2 * this.#live.size) {
          await this.#compact();
        }
      } catch (error) {
        this.#torn = true;
        for (const waiter of waiters) waiter.reject(error);
      }
    }
    this.#writing = undefined; // in the same step as the loop's last look
  }

  /** Replaces the file by one without the done chats; lines that wait go to the new file. */
  async #compact(): Promise<void> {
    // A chat whose line still waits is written with the others, once.
    const unwritten = new Set<string>();
    for (const line of this.#lines) {
      const parsed = Line.parse(JSON.parse(line));
      if ("q" in parsed) unwritten.add(parsed.q.cid);
    }
    const live = [...this.#live.values()].filter((chat) => !unwritten.has(chat.cid));
    const old = this.#file;
    this.#file = await rewrite(this.#path, live);
    old.close(); // whatever comes next: it is no longer the file that has this name
    this.#doneLines = 0;
    await syncDirectory(dirname(this.#path));
  }
}

/** Closing alone leaves a lock to a child process that is just being started, until that has begun. */
async function release(lock: Deno.FsFile): Promise<void> {
  await lock.unlock();
  lock.close();
}

function read(text: string): { waiting: Outgoing[]; damagedLines: number } {
  const waiting = new Map<string, Outgoing>();
  let damagedLines = 0;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const parsed = Line.safeParse(parseJson(line));
    if (!parsed.success) damagedLines++;
    else if ("q" in parsed.data) {
      const { first, ...chat } = parsed.data.q;
      waiting.set(chat.cid, first === undefined ? chat : { ...chat, first });
    } else if ("f" in parsed.data) {
      const { f, ...first } = parsed.data;
      const chat = waiting.get(f);
      if (chat !== undefined) chat.first ??= first;
    } else waiting.delete(parsed.data.d);
  }
  return { waiting: [...waiting.values()], damagedLines };
}

/**
 * Writes a journal of exactly these chats in place of `path`; the old file stays until it is whole.
 * Returns the one that has its name. That it has is not durable yet.
 */
async function rewrite(path: string, live: readonly Outgoing[]): Promise<Deno.FsFile> {
  const fresh = `${path}.new`;
  const file = await Deno.open(fresh, { write: true, create: true, truncate: true, mode: 0o600 });
  try {
    const lines = live.map((chat) => JSON.stringify({ q: chat } satisfies z.infer<typeof Queued>));
    if (lines.length > 0) await writeAll(file, `${lines.join("\n")}\n`);
    await file.syncData();
    await Deno.rename(fresh, path);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Makes a rename durable. Windows cannot open a directory and does not need to. */
async function syncDirectory(path: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  const directory = await Deno.open(path === "" ? "." : path);
  try {
    await directory.sync();
  } finally {
    directory.close();
  }
}

async function writeAll(file: Deno.FsFile, text: string): Promise<void> {
  let rest = new TextEncoder().encode(text);
  while (rest.length > 0) rest = rest.subarray(await file.write(rest));
}
