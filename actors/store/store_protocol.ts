/**
 * What workers and the store actor say to each other. Messages cross threads as bytes that are moved,
 * with what is looked up of them as one text.
 */

import type { ThreadId } from "../runtime/link.ts";
import type { AppendOutcome, Mid, StorePort, UserId } from "../ports.ts";

/** The reads and rare writes that are plain questions to the adapter. */
export type StoreCalls = Omit<StorePort, "commit" | "backlog" | "file" | "close">;
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
    /** As record.ts writes them, one after the other. */
    readonly records: Uint8Array<ArrayBuffer>;
    /** Their mids and cids once more, as one text: mid, cid, mid, cid, … */
    readonly keys: string;
    /** Of each, how many rows it may become: one, and one for each recipient of a group's. */
    readonly costs: readonly number[];
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
