/**
 * The lines of one conversation: where a message goes among them, and what becomes of it. Pure.
 *
 * Invariant: messages are in order of `mid`; a chat that has none yet stays at the end; a message is
 * there once, by `mid` and by sender and cid.
 */

import type { Message } from "../library/events.ts";
import { safe, safeLine } from "./safe_text.ts";

/** How far a message of one's own has come. */
export type Mark = "queued" | "sent" | "delivered" | "failed";

/** A line without its place in time. */
export type NewLine =
  | {
    readonly kind: "message";
    /** undefined until the server has acknowledged it. */
    readonly mid: string | undefined;
    readonly cid: string;
    readonly from: number;
    /** Safe to print. */
    readonly name: string;
    /** Epoch ms. */
    readonly ts: number;
    /** Safe to print; may have newlines. */
    readonly text: string;
    /** It names this user, and is somebody else's. */
    readonly mention: boolean;
    /** undefined for others' messages and for one's own of earlier sessions. */
    readonly mark: Mark | undefined;
    /** Why it failed. */
    readonly why: string;
    /** How many recipients have it. */
    readonly deliveredTo: number;
  }
  | {
    readonly kind: "notice";
    readonly ts: number;
    readonly text: string;
    readonly tone: "info" | "error";
  };

/** A line; `seq` identifies it in this run of the program. */
export type Line = NewLine & { readonly seq: number };

/** A stored message as a line. */
export function messageLine(
  message: Message,
  me: { readonly id: number; readonly name: string } | undefined,
  mark: Mark | undefined,
): NewLine {
  const text = safe(message.msg);
  return {
    kind: "message",
    mid: message.mid,
    cid: message.cid,
    from: message.id,
    name: safeLine(message.name),
    ts: message.ts,
    text,
    mention: me !== undefined && message.id !== me.id && names(text, me.name),
    mark,
    why: "",
    deliveredTo: 0,
  };
}

/** Whether a text has a name in it, as a word of its own. */
function names(text: string, name: string): boolean {
  const lower = text.toLowerCase();
  const wanted = name.toLowerCase();
  if (wanted === "") return false;
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, at + 1)) {
    const before = lower.slice(0, at);
    const after = lower.slice(at + wanted.length);
    if (!/[\p{L}\p{N}_]$/u.test(before) && !/^[\p{L}\p{N}_]/u.test(after)) return true;
  }
  return false;
}

/** With one more line, at its place; the same array when the message is there already. */
export function insertLine(lines: readonly Line[], line: NewLine, seq: number): readonly Line[] {
  if (lines.some((other) => isSame(other, line))) return lines;
  // Recent lines are at the end, and that is where nearly every new one goes.
  let at = lines.length;
  if (line.kind === "message" && line.mid !== undefined) {
    while (at > 0 && !isBefore(lines[at - 1], line.mid)) at--;
    // Notices stay with what they came after.
    while (isNoticeBefore(lines[at], line.ts)) at++;
  }
  return [...lines.slice(0, at), { ...line, seq }, ...lines.slice(at)];
}

/** A message above which one with this `mid` never goes. */
function isBefore(line: Line | undefined, mid: string): boolean {
  return line?.kind === "message" && line.mid !== undefined && line.mid < mid;
}

function isNoticeBefore(line: Line | undefined, ts: number): boolean {
  return line?.kind === "notice" && line.ts <= ts;
}

function isSame(a: Line, b: NewLine): boolean {
  if (a.kind !== "message" || b.kind !== "message") return false;
  return (a.mid !== undefined && a.mid === b.mid) || (a.cid === b.cid && a.from === b.from);
}

/** With what became of an own chat; moved to its place when it has got its `mid`. */
export function settleLine(
  lines: readonly Line[],
  cid: string,
  outcome: {
    readonly mark: Mark;
    readonly mid?: string;
    readonly ts?: number;
    readonly why?: string;
    readonly deliveredTo?: number;
  },
): readonly Line[] {
  const at = lines.findLastIndex((line) =>
    line.kind === "message" && line.cid === cid && line.mark !== undefined
  );
  const line = lines[at];
  if (line?.kind !== "message") return lines;
  const settled = { ...line, ...outcome };
  return insertLine(lines.toSpliced(at, 1), settled, line.seq);
}

/**
 * With a page of history.
 *
 * @param seq Of the page's first line; the others follow.
 * @param older The page was asked for as what comes before the lines; otherwise it is the latest.
 * @returns `gap`: between the lines and the latest page something is missing, so that only the
 * page and what follows it was kept.
 */
export function mergePage(
  lines: readonly Line[],
  page: readonly NewLine[],
  seq: number,
  older: boolean,
): { readonly lines: readonly Line[]; readonly gap: boolean } {
  const first = page[0];
  if (first?.kind !== "message") return { lines, gap: false };
  const known = new Set<string>();
  for (const line of lines) {
    if (line.kind !== "message") continue;
    known.add(`${line.from}:${line.cid}`);
  }
  const isKnown = (line: NewLine) =>
    line.kind === "message" && known.has(`${line.from}:${line.cid}`);
  const gap = !older && lines.length > 0 && !page.some(isKnown);
  const firstMid = first.mid ?? "";
  const kept = gap
    ? lines.filter((line) =>
      line.kind === "notice" || line.mid === undefined || line.mid > firstMid
    )
    : lines;
  const fresh = page.flatMap((line, at) => isKnown(line) ? [] : [{ ...line, seq: seq + at }]);
  return { lines: mergeSorted(kept, fresh), gap };
}

/** Merges messages in one pass; notices go after the latest message that is not younger. */
function mergeSorted(lines: readonly Line[], fresh: readonly Line[]): Line[] {
  const merged: Line[] = [];
  const notices: Line[] = [];
  let next = 0;
  for (const line of lines) {
    if (line.kind === "notice") {
      notices.push(line);
      continue;
    }
    const { mid } = line;
    while (next < fresh.length && (mid === undefined || isBefore(fresh[next], mid))) {
      merged.push(...fresh.slice(next, ++next));
    }
    merged.push(line);
  }
  merged.push(...fresh.slice(next));
  for (const notice of notices) {
    merged.splice(merged.findLastIndex((line) => line.ts <= notice.ts) + 1, 0, notice);
  }
  return merged;
}
