/**
 * Who talks to whom in a chaos run, and what a message's text is. Written once by the harness, read
 * by every client process.
 */

import { z } from "zod";
import { Rng } from "./rng.ts";

/** How a simulated user behaves. */
export const Habit = z.enum([
  /** Stays on, takes messages as they come. */
  "steady",
  /** Takes its time over every message, sometimes seconds. */
  "slow",
  /** Logs out and in, or leaves and resumes, all the time. */
  "commuter",
]);
/** See {@linkcode Habit}. */
export type Habit = z.infer<typeof Habit>;

const Person = z.object({
  id: z.int().positive(),
  name: z.string(),
  habit: Habit,
  /** Ids of those it writes to. */
  peers: z.array(z.int().positive()),
});
/** A simulated user. */
export type Person = z.infer<typeof Person>;

const Circle = z.object({ id: z.int().positive(), members: z.array(z.int().positive()) });
/** A group. */
export type Circle = z.infer<typeof Circle>;

/** Everything a client process needs to know. */
export const Plan = z.object({
  seed: z.string(),
  /** Where records, outboxes and tokens are. */
  dir: z.string(),
  /** Where clients connect. */
  port: z.int(),
  /** Where the harness takes reports and gives orders. */
  controlPort: z.int(),
  password: z.string(),
  /** Messages a second and user, when nothing is in the way; what an outage cost is made up for. */
  rate: z.number(),
  people: z.array(Person),
  circles: z.array(Circle),
  /** Ids of each client process's users. */
  processes: z.array(z.array(z.int().positive())),
});
/** See {@linkcode Plan}. */
export type Plan = z.infer<typeof Plan>;

/** Name of a conversation between two users. */
export function pairConv(a: number, b: number): string {
  return a < b ? `p:${a}-${b}` : `p:${b}-${a}`;
}

/** Name of a group's conversation. */
export function groupConv(group: number): string {
  return `g:${group}`;
}

/** Reference to a message. */
export interface Key {
  readonly from: number;
  readonly n: number;
}

/** Most padding of a message, UTF-16 units. */
const MAX_PAD = 200;
/** Characters of one to four bytes, and such as need escaping. */
const PAD_ALPHABET = ["a", "0", " ", "é", "漢", "😀", '"', "\\", "\n", "}"];

/** The text of message `n` of `from`; what follows its head can be computed from the head. */
export function textOf(from: number, n: number, re: Key | undefined): string {
  const head = `${from}.${n} ${re === undefined ? "-" : `${re.from}.${re.n}`} `;
  return head + padding(from, n);
}

/** What a message's text says. */
export interface Said extends Key {
  /** The message that it answers. */
  readonly re: Key | undefined;
  /** The text is, to its end, what was sent. */
  readonly intact: boolean;
}

/** What a text says; undefined when it has no head. */
export function parseText(text: string): Said | undefined {
  const head = /^(\d+)\.(\d+) (?:-|(\d+)\.(\d+)) /.exec(text);
  if (head === null) return undefined;
  const [, from, n, reFrom, reN] = head.map(Number);
  if (from === undefined || n === undefined) return undefined;
  const re = head[3] === undefined ? undefined : { from: reFrom ?? 0, n: reN ?? 0 };
  return { from, n, re, intact: text === textOf(from, n, re) };
}

function padding(from: number, n: number): string {
  const rng = new Rng(`${from}.${n}`);
  const length = rng.int(0, MAX_PAD);
  // A few runs instead of single characters: it is computed for every message by every reader.
  let text = "";
  while (text.length < length) text += rng.pick(PAD_ALPHABET).repeat(rng.int(1, 40));
  return text;
}
