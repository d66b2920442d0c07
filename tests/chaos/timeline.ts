/**
 * The story of one message, retold from the records in order of time. Pure; it judges nothing.
 */

import { type Evidence, type Line, nameOf } from "./record.ts";

/** What is told of the time before and after a message's own lines, ms. */
const AROUND_MS = 3_000;

/**
 * What happened to a message, in order of time: every line that names it, the faults around it, and
 * how its sender's connection stood.
 *
 * @param message `sender.number`, as in a {@linkcode Violation}.
 * @param users Users besides the sender whose connections are of interest.
 */
export function timeline(
  evidence: Evidence,
  message: string,
  users: readonly number[] = [],
): string[] {
  const [from, n] = message.split(".").map(Number);
  if (from === undefined || n === undefined) return [];
  const found: { t: number; text: string }[] = [];
  let mid: string | undefined;
  for (const [user, lines] of evidence.records) {
    for (const line of lines) {
      const text = tell(user, line, from, n);
      if (text === undefined) continue;
      if (line.k === "acked") mid = line.mid;
      found.push({ t: line.t, text });
    }
  }
  if (found.length === 0) return [];
  const begin = Math.min(...found.map(({ t }) => t)) - AROUND_MS;
  const end = Math.max(...found.filter(({ text }) => !text.includes("history")).map(({ t }) => t)) +
    AROUND_MS;
  for (const line of evidence.harness) {
    if (line.k === "fault" && line.until >= begin && line.t <= end) {
      found.push({
        t: line.t,
        text: `fault: ${line.name} ${line.what}, for ${line.until - line.t} ms`,
      });
    } else if (line.k === "pending" && line.mid === mid) {
      found.push({ t: line.t, text: `still pending for user ${line.user}` });
    }
  }
  for (const user of new Set([from, ...users])) {
    for (const line of evidence.records.get(user) ?? []) {
      if (line.t < begin || line.t > end) continue;
      if (line.k === "client") {
        found.push({ t: line.t, text: `user ${user}: client ${line.number} begins` });
      }
      if (line.k === "state") {
        found.push({ t: line.t, text: `user ${user}: ${line.state} ${line.why}`.trimEnd() });
      }
    }
  }
  const zero = begin + AROUND_MS;
  return found.toSorted((a, b) => a.t - b.t).map(({ t, text }) =>
    `${((t - zero) / 1000).toFixed(3).padStart(9)} s  ${text}`
  );
}

function tell(user: number, line: Line, from: number, n: number): string | undefined {
  switch (line.k) {
    case "send": {
      if (user !== from || line.n !== n) return undefined;
      const re = line.re === undefined ? "" : ` in answer to ${nameOf(line.re.from, line.re.n)}`;
      return `user ${user}: about to send it to ${line.conv}${re}`;
    }
    case "queued":
      return user === from && line.n === n ? `user ${user}: queued as ${line.cid}` : undefined;
    case "untaken":
      return user === from && line.n === n ? `user ${user}: not taken: ${line.why}` : undefined;
    case "acked":
      return user === from && line.n === n
        ? `user ${user}: acknowledged as ${line.mid}`
        : undefined;
    case "failed":
      return user === from && line.n === n ? `user ${user}: refused: ${line.why}` : undefined;
    case "seen":
    case "again":
      if (line.from !== from || line.n !== n) return undefined;
      return `user ${user}: ${line.k === "seen" ? "saw" : "was given again"} ${line.mid}`;
    case "history": {
      const entry = line.part.find(([f, m]) => f === from && m === n);
      return entry && `user ${user}: in history of ${line.conv} as ${entry[2]}`;
    }
    default:
      return undefined;
  }
}
