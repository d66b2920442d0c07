/**
 * What everybody in a chaos run writes down, one JSON object a line, as it happens. The checker
 * judges from these lines alone.
 *
 * A message is named by its sender and a number that the sender gave it (`from`, `n`), both of which
 * travel in its text: so it is known even where the server's ids would be in doubt. A conversation
 * is `p:<lower id>-<higher id>` or `g:<group id>`.
 *
 * Invariant: a line is handed to the operating system before what it tells of has consequences
 * (a receipt, a send), so that `kill -9` of its writer loses nothing; at most its last line is torn.
 */

import { z } from "zod";

const t = z.number(); // epoch ms, by the machine's own clock
const user = z.int().positive();
const n = z.int().positive();
const mid = z.string();
const conv = z.string();
const message = { from: user, n };

/** A message that another answers. */
const Cause = z.object(message);

/** One line of a record. */
export const Line = z.discriminatedUnion("k", [
  /** A client of the library begins to act for this user: in a new process, or after a close. */
  z.object({ k: z.literal("client"), t, number: z.int().positive() }),
  /** About to hand message `n` to the library. */
  z.object({ k: z.literal("send"), t, conv, n, re: Cause.optional() }),
  /** The library has said that it is queued: on disk. */
  z.object({ k: z.literal("queued"), t, n, cid: z.string() }),
  /** The library did not take it: it will never be sent. */
  z.object({ k: z.literal("untaken"), t, n, why: z.string() }),
  /** The server has acknowledged it. */
  z.object({ k: z.literal("acked"), t, n, mid }),
  /** The server has refused it for good. */
  z.object({ k: z.literal("failed"), t, n, errno: z.int(), why: z.string() }),
  /** The library handed a message over; `intact` is false when its text is not what was sent. */
  z.object({
    k: z.literal("seen"),
    t,
    conv,
    ...message,
    mid,
    re: Cause.optional(),
    intact: z.literal(false).optional(),
  }),
  /** It was handed over again, and the user had seen it through an earlier client. */
  z.object({ k: z.literal("again"), t, ...message, mid }),
  /** A part of a conversation's history, oldest first; parts are in order. */
  z.object({
    k: z.literal("history"),
    t,
    conv,
    part: z.array(z.tuple([user, n, mid])),
    last: z.boolean(),
  }),
  /** The connection's state, and why. */
  z.object({ k: z.literal("state"), t, state: z.string(), why: z.string() }),
  /** Nothing waits to be sent, and nothing more is expected. */
  z.object({ k: z.literal("drained"), t, unsent: z.int() }),
  /** The user's last session has ended, on purpose. */
  z.object({ k: z.literal("left"), t, user, how: z.string() }),
  /** Who is online, as a node told an observer. */
  z.object({
    k: z.literal("presence"),
    t,
    node: z.string(),
    online: z.array(user),
    offline: z.array(user),
  }),
  /** A row of the pending messages that nobody took, at the end. */
  z.object({ k: z.literal("pending"), t, user, mid }),
  /** A fault, from its beginning to the end of what was done to heal it. */
  z.object({ k: z.literal("fault"), t, until: z.number(), name: z.string(), what: z.string() }),
]);
/** See {@linkcode Line}. */
export type Line = z.infer<typeof Line>;
/** One kind of line. */
export type LineOf<K extends Line["k"]> = Extract<Line, { k: K }>;

/** How a message is called in texts. */
export function nameOf(from: number, n: number): string {
  return `${from}.${n}`;
}

/** All records of a run: everything the checker is given. */
export interface Evidence {
  /** Members of every group. */
  readonly groups: ReadonlyMap<number, readonly number[]>;
  /** User ⇒ that user's record. Every simulated user has one. */
  readonly records: ReadonlyMap<number, readonly Line[]>;
  /** What the harness saw: faults, pending rows, whom it killed for good, presence. */
  readonly harness: readonly Line[];
}

/** A record that is being written. Every write is synchronous. */
export class Recorder {
  readonly #file: Deno.FsFile;
  readonly #encoder = new TextEncoder();

  /** Opens or continues a record; a torn last line is closed off. */
  constructor(path: string) {
    const torn = endsTorn(path);
    this.#file = Deno.openSync(path, { append: true, create: true });
    if (torn) this.#write("\n");
  }

  add(line: Line): void {
    this.#write(`${JSON.stringify(line)}\n`);
  }

  /** Several lines with one system call. */
  addAll(lines: readonly Line[]): void {
    if (lines.length > 0) this.#write(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  }

  close(): void {
    this.#file.close();
  }

  #write(text: string): void {
    let rest = this.#encoder.encode(text);
    while (rest.length > 0) rest = rest.subarray(this.#file.writeSync(rest));
  }
}

/** A record was damaged in a way that no kill explains: nothing may be concluded from it. */
export class DamagedRecord extends Error {
  override readonly name = "DamagedRecord";
}

/**
 * Reads a record.
 *
 * @throws {DamagedRecord} A line is unreadable that is neither the last one nor the last of a
 *   client that was followed by another.
 */
export function readRecord(path: string): Line[] {
  const texts = textOf(path).split("\n");
  const lines: Line[] = [];
  let torn: number | undefined;
  for (let i = 0; i < texts.length; i++) {
    const text = texts[i] ?? "";
    if (text === "") continue;
    const line = parse(text);
    if (line === undefined) {
      if (torn !== undefined) throw new DamagedRecord(`${path}:${torn + 1}: unreadable`);
      torn = i;
      continue;
    }
    if (torn !== undefined && line.k !== "client") {
      throw new DamagedRecord(`${path}:${torn + 1}: unreadable`);
    }
    torn = undefined;
    lines.push(line);
  }
  return lines;
}

function parse(text: string): Line | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  return Line.parse(value);
}

function textOf(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

function endsTorn(path: string): boolean {
  const text = textOf(path);
  return text !== "" && !text.endsWith("\n");
}
