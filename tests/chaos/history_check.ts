/**
 * What must hold of the histories that users read back: whole, each message once and under the id that
 * was acknowledged, in sending order, answers after their causes. Pure.
 */

import type { Findings } from "./findings.ts";
import { isOwed, type Ledger, type Sent } from "./ledger.ts";
import { type Evidence, nameOf } from "./record.ts";

/** A conversation as one user read it. */
interface History {
  readonly conv: string;
  readonly user: string;
  /** Sender, number and id of each message, oldest first. */
  readonly list: readonly (readonly [number, number, string])[];
  /** What must be in it. */
  readonly owed: readonly Sent[];
}

/**
 * Every conversation that anybody wrote to must have been read back by someone.
 *
 * @returns How many messages the histories have.
 */
export function judgeHistories(
  { records }: Evidence,
  ledger: Ledger,
  findings: Findings,
): number {
  let count = 0;
  const histories = new Map<string, [number, number, string][]>();
  const whole = new Set<string>();
  for (const [user, lines] of records) {
    for (const line of lines) {
      if (line.k !== "history") continue;
      const key = `${line.conv} ${user}`;
      const list = histories.get(key) ?? [];
      list.push(...line.part);
      histories.set(key, list);
      if (line.last) whole.add(key);
    }
  }
  const owed = Map.groupBy([...ledger.sent.values()].filter(isOwed), (s) => s.conv);
  const read = new Set<string>();
  for (const [key, list] of histories) {
    const conv = key.slice(0, key.indexOf(" "));
    const user = key.slice(key.indexOf(" ") + 1);
    if (!whole.has(key)) {
      findings.wrong("no evidence", `user ${user} did not come to the end of ${conv}'s history`);
      continue;
    }
    read.add(conv);
    count += list.length;
    judgeHistory({ conv, user, list, owed: owed.get(conv) ?? [] }, ledger, findings);
  }
  for (const conv of owed.keys()) {
    if (!read.has(conv)) findings.wrong("no evidence", `nobody read ${conv}'s history`);
  }
  return count;
}

function judgeHistory(
  { conv, user, list, owed }: History,
  ledger: Ledger,
  findings: Findings,
): void {
  const at = new Map<string, string>();
  const latest = new Map<number, number>();
  let lastMid = "";
  for (const [from, n, mid] of list) {
    const name = nameOf(from, n);
    if (at.has(name)) {
      const text = `${name} as ${at.get(name)} and as ${mid} in ${conv}, read by ${user}`;
      findings.wrong("twice in history", text, name);
      continue;
    }
    at.set(name, mid);
    const last = latest.get(from);
    if ((last !== undefined && last > n) || mid <= lastMid) {
      const other = last === undefined ? undefined : nameOf(from, last);
      const text = `${name} (${mid}) after ${other} in ${conv}, read by ${user}`;
      findings.wrong("history out of order", text, name, other);
    }
    lastMid = mid;
    latest.set(from, Math.max(n, last ?? 0));
    const re = ledger.sent.get(name)?.re;
    if (re !== undefined && !at.has(re)) {
      const text = `${name} before ${re}, which it answers, in ${conv}`;
      findings.wrong("history has a reply before its cause", text, name, re);
    }
  }
  for (const { name, mid } of owed) {
    const found = at.get(name);
    if (found === undefined) {
      const kind = mid === undefined
        ? "queued but not in history"
        : "acknowledged but not in history";
      findings.wrong(kind, `${name} (${mid ?? "no id known"}) in ${conv}, read by ${user}`, name);
    } else if (mid !== undefined && found !== mid) {
      const text = `${name} was acknowledged as ${mid}, is ${found} in ${conv}`;
      findings.wrong("history has another id", text, name);
    }
  }
}
