/**
 * What workers and the store actor say to each other. Messages cross threads as flat rows: half the
 * cost of objects.
 */

import type { ThreadId } from "../runtime/link.ts";
import type { AppendOutcome, Message, Mid, StorePort, UserId } from "../ports.ts";

/** The reads and rare writes that are plain questions to the adapter. */
export type StoreCalls = Omit<StorePort, "commit" | "close">;
/** One such question. */
export type StoreCall = {
  [K in keyof StoreCalls]: {
    readonly type: "call";
    readonly op: K;
    readonly args: Parameters<StoreCalls[K]>;
  };
}[keyof StoreCalls];

/** What the store actor takes. */
export type StoreMessage =
  /** Store these in order; each is answered under its number (`first`, `first + 1`, …). */
  | {
    readonly type: "append";
    readonly worker: ThreadId;
    /** Which run of the worker asks; an answer to an earlier run is not for its successor. */
    readonly run: string;
    readonly generation: number;
    readonly first: number;
    /** See {@linkcode packRow}. */
    readonly rows: PackedRows;
    /** Somebody waits for the commit, or would miss the message if it were lost. */
    readonly urgent: boolean;
  }
  /** Alternating user and mid: receipts for messages stored, or about to be stored, here. */
  | { readonly type: "receipts"; readonly pairs: readonly (UserId | Mid)[] }
  /** A worker starts (anew): its generation is 0. */
  | { readonly type: "attach"; readonly worker: ThreadId }
  /** The node stops: commit what waits and close the database; answered when that is done. */
  | { readonly type: "stop" }
  | StoreCall;

/** Messages as one flat array. */
export type PackedRows = readonly (string | number)[];
/** Numbers and strings of one message in {@linkcode PackedRows}. */
export const PACKED_FIELDS = 9;

/**
 * Adds a message to a turn's rows: what is stored of it, and how many rows that may be.
 * @param cost See {@linkcode costAt}.
 */
export function packRow(rows: (string | number)[], m: Message, cost: number): void {
  rows.push(m.mid, m.cid, m.from, m.ts, m.toid, m.groupid, m.msg, m.extra, cost);
}

/** Rows that the message at `at` may become: one, and one for each recipient of a group's. */
export function costAt(rows: PackedRows, at: number): number {
  return Number(rows[at + PACKED_FIELDS - 1]);
}

/** The message whose row begins at `at`. */
export function unpackRow(rows: PackedRows, at: number): Message {
  return {
    mid: String(rows[at]),
    cid: String(rows[at + 1]),
    from: Number(rows[at + 2]),
    name: "", // the user's row has it
    ts: Number(rows[at + 3]),
    toid: Number(rows[at + 4]),
    groupid: Number(rows[at + 5]),
    msg: String(rows[at + 6]),
    extra: String(rows[at + 7]),
    prev: "",
  };
}

/** What became of appends, told to the worker that sent them. */
export interface Outcomes {
  readonly type: "outcomes";
  readonly run: string;
  /** Numbers of what is now durable under the `mid` it came with. */
  readonly stored: readonly number[];
  /** Of those, runs of number, count and as many recipients that have yet to confirm. */
  readonly pending: readonly number[];
  /** Everything else. */
  readonly others: readonly { readonly n: number; readonly outcome: RefusedOutcome }[];
  /** The worker's new generation; greater than the one it sent if something was put off. */
  readonly generation: number;
}
/** An outcome other than "stored". */
export type RefusedOutcome =
  | Exclude<AppendOutcome, { status: "stored" }>
  | { readonly status: "try_later" };
