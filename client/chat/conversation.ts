/**
 * One conversation as the program knows it, and how single things change it. Pure.
 *
 * Invariant: its lines are bounded; what is dropped is the oldest, and can be loaded again.
 */

import { keyOf } from "./directory.ts";
import type { Message, Target } from "../library/events.ts";
import { type Line, type Mark, mergePage, type NewLine, settleLine } from "./lines.ts";

/** Lines kept of a conversation that is looked at. Scrolling up loads more, to this. */
const MAX_LINES = 10_000;
/** Lines kept of a conversation when it is left, and while nobody scrolls in it. */
export const KEEP_LINES = 400;

/** One conversation. */
export interface Conversation {
  readonly key: string;
  readonly target: Target;
  readonly lines: readonly Line[];
  /** Messages that came while nobody looked. */
  readonly unread: number;
  /** Those of them that are for this user in particular. */
  readonly mentions: number;
  /** `mid` of the first message that was new; undefined when there is no mark to draw. */
  readonly marker: string | undefined;
  /** New messages among the last, counted by an earlier run: the mark is set once they are here. */
  readonly unmarked: number;
  /** Whether the latest page has been loaded in this session. */
  readonly loaded: "no" | "loading" | "yes";
  /** Older messages exist on the server. */
  readonly more: boolean;
  readonly loadingOlder: boolean;
  /** Own messages whose delivery is open. */
  readonly undelivered: number;
  /**
   * `mid` ⇒ recipients who have a message that may be one of our own: a DELIVERED can come before the
   * acknowledgement that tells which. Bounded.
   */
  readonly early: ReadonlyMap<string, number>;
  /** Who types, until when (epoch ms). */
  readonly typing: ReadonlyMap<number, number>;
}

/** Messages kept in {@linkcode Conversation.early}; the oldest goes first. */
const MAX_EARLY = 1_024;
const NOTHING_EARLY: ReadonlyMap<string, number> = new Map();

/** Nothing is new any more. */
export const NO_MARK = { marker: undefined, unmarked: 0 } as const;

/** A conversation of which nothing is known. */
export function fresh(target: Target): Conversation {
  return {
    key: keyOf(target),
    target,
    lines: [],
    unread: 0,
    mentions: 0,
    ...NO_MARK,
    loaded: "no",
    more: false,
    loadingOlder: false,
    undelivered: 0,
    early: NOTHING_EARLY,
    typing: new Map(),
  };
}

/** Bounds the lines; generously while someone scrolls in them. */
export function trimmed(c: Conversation, isScrolled: boolean): Conversation {
  if (c.lines.length <= (isScrolled ? MAX_LINES : 2 * KEEP_LINES)) return c;
  return { ...c, lines: c.lines.slice(isScrolled ? -MAX_LINES : -KEEP_LINES), more: true };
}

/** Nobody looks any more: what was new is so no longer, and few lines are kept. */
export function whenLeft(c: Conversation): Conversation {
  const isLong = c.lines.length > KEEP_LINES;
  const lines = isLong ? c.lines.slice(-KEEP_LINES) : c.lines;
  return { ...c, lines, more: c.more || isLong, ...NO_MARK };
}

/**
 * One more recipient has these messages.
 *
 * @param others How many recipients there are.
 * @returns The same conversation when none of them is in it.
 */
export function withDelivery(
  c: Conversation,
  mids: ReadonlySet<string>,
  others: number,
): Conversation {
  const isAwaiting = hasQueued(c.lines);
  if (c.undelivered === 0 && !isAwaiting) return c;
  let { undelivered } = c;
  let lines: Line[] | undefined;
  const unknown = new Set(mids);
  for (let at = c.lines.length - 1; at >= 0; at--) {
    const line = c.lines[at];
    if (line?.kind !== "message" || line.mark !== "sent") continue;
    if (line.mid === undefined || !mids.has(line.mid)) continue;
    unknown.delete(line.mid);
    const deliveredTo = line.deliveredTo + 1;
    const mark: Mark = deliveredTo >= others ? "delivered" : "sent";
    if (mark === "delivered") undelivered--;
    lines ??= [...c.lines];
    lines[at] = { ...line, deliveredTo, mark };
  }
  if (!isAwaiting || unknown.size === 0) {
    return lines === undefined ? c : { ...c, lines, undelivered };
  }
  return { ...c, lines: lines ?? c.lines, undelivered, early: withEarly(c.early, unknown) };
}

function withEarly(
  early: ReadonlyMap<string, number>,
  mids: ReadonlySet<string>,
): ReadonlyMap<string, number> {
  const next = new Map(early);
  for (const mid of mids) next.set(mid, (next.get(mid) ?? 0) + 1);
  return next.size <= MAX_EARLY ? next : new Map([...next].slice(-MAX_EARLY));
}

/** An own message waits for its acknowledgement. */
function hasQueued(lines: readonly Line[]): boolean {
  // They are at the end, among notices and what was refused.
  for (let at = lines.length - 1; at >= 0; at--) {
    const line = lines[at];
    if (line?.kind === "message" && line.mark === "queued") return true;
    if (line?.kind === "message" && line.mid !== undefined) return false;
  }
  return false;
}

/**
 * An own message is durable, and has its `mid`.
 *
 * @param others How many recipients there are.
 */
export function withSent(
  c: Conversation,
  { cid, mid, ts }: { readonly cid: string; readonly mid: string; readonly ts: number },
  others: number,
): Conversation {
  const deliveredTo = c.early.get(mid) ?? 0;
  const mark: Mark = deliveredTo >= others && deliveredTo > 0 ? "delivered" : "sent";
  const lines = settleLine(c.lines, cid, { mid, ts, mark, deliveredTo });
  return {
    ...c,
    lines,
    undelivered: c.undelivered + (mark === "delivered" ? 0 : 1),
    early: hasQueued(lines) ? c.early : NOTHING_EARLY,
  };
}

/** With a page of history whose lines are numbered from `seq`, for user `me`. */
export function withPage(
  c: Conversation,
  page: readonly NewLine[],
  seq: number,
  { older, more }: { readonly older: boolean; readonly more: boolean },
  me: number,
): Conversation {
  const { lines, gap } = mergePage(c.lines, page, seq, older);
  const isLong = lines.length > MAX_LINES;
  const first = page[0];
  const begins = first?.kind === "message" && oldestMid(lines) === first.mid;
  // What the latest page says of older messages counts when nothing older is here.
  const counts = older || gap || c.lines.length === 0 || begins;
  return marked({
    ...c,
    lines: isLong ? lines.slice(-MAX_LINES) : lines,
    more: isLong || (counts ? more : c.more),
    ...(older ? { loadingOlder: false } : { loaded: "yes" }),
  }, me);
}

/** With a message of somebody else that nobody has looked at. */
export function withUnread(c: Conversation, mid: string, isPersonal: boolean): Conversation {
  const first = c.unread === 0 || (c.marker !== undefined && mid < c.marker);
  return {
    ...c,
    unread: c.unread + 1,
    mentions: c.mentions + (isPersonal ? 1 : 0),
    marker: c.unmarked === 0 && first ? mid : c.marker,
  };
}

/** With the mark above the messages that an earlier run counted, as soon as they are all here. */
function marked(c: Conversation, me: number): Conversation {
  if (c.unmarked === 0) return c;
  const mids = c.lines.flatMap((line) =>
    line.kind === "message" && line.from !== me ? line.mid ?? [] : []
  );
  const marker = mids.at(-c.unmarked) ?? (c.more ? undefined : mids[0]);
  return marker === undefined ? c : { ...c, marker, unmarked: 0 };
}

/** `mid` of the oldest message among the lines. */
export function oldestMid(lines: readonly Line[]): string | undefined {
  for (const line of lines) {
    if (line.kind === "message" && line.mid !== undefined) return line.mid;
  }
  return undefined;
}

/** With somebody typing no more. */
export function without(
  typing: ReadonlyMap<number, number>,
  id: number,
): ReadonlyMap<number, number> {
  const rest = new Map(typing);
  rest.delete(id);
  return rest;
}

/** Where a message belongs, seen by user `me`. */
export function conversationOf(message: Message, me: number): Target {
  if (message.groupid !== undefined) return { kind: "group", id: message.groupid };
  const id = message.id === me ? message.toid ?? 0 : message.id;
  return { kind: "user", id };
}

/** A message is for the user in particular: one to one, or it names the user. */
export function isPersonal(target: Target, line: NewLine): boolean {
  return target.kind === "user" || (line.kind === "message" && line.mention);
}
