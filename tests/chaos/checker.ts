/**
 * Judges a chaos run from what everybody wrote down. Pure: it reads records and nothing else, and
 * knows nothing of how the server or the client library work.
 *
 * What must hold once everything has healed and every user has taken what waited for it:
 * - what the library called queued or the server acknowledged has been seen by every other member of
 *   its conversation, and is in that conversation's history, once, under the acknowledged id; and
 *   the client that queued it was told, unless it ended before;
 * - nobody was handed a message twice by one client, or one that was not sent to them, or changed;
 * - of one sender, messages of a conversation were seen, and lie in the history, in sending order;
 * - an answer sorts after what it answers, in the history and by the ids under which any one user
 *   was handed both, provided that they are the ids under which both are stored (that somebody was
 *   handed the answer first, or an id of an attempt that was not stored, is counted);
 * - nothing is pending any more; who has left is offline, who has not is online, on every node.
 */

import type { Line, LineOf } from "./record.ts";

/** Everything the checker is given. */
export interface Evidence {
  /** Members of every group. */
  readonly groups: ReadonlyMap<number, readonly number[]>;
  /** User ⇒ that user's record. Every simulated user has one. */
  readonly records: ReadonlyMap<number, readonly Line[]>;
  /** What the harness saw: faults, pending rows, whom it killed for good, presence. */
  readonly harness: readonly Line[];
}

/** What can be wrong. */
export type Kind =
  | "acknowledged but never seen"
  | "queued but never seen"
  | "queued but never acknowledged"
  | "refused for good"
  | "acknowledged twice under different ids"
  | "seen twice"
  | "seen by a stranger"
  | "seen but never sent"
  | "changed on the way"
  | "out of order"
  | "reply before its cause"
  | "stuck pending row"
  | "ghost in presence"
  | "missing in presence"
  | "acknowledged but not in history"
  | "queued but not in history"
  | "twice in history"
  | "history has another id"
  | "history out of order"
  | "history has a reply before its cause"
  | "no evidence";

/** One thing that is wrong. */
export interface Violation {
  readonly kind: Kind;
  readonly text: string;
  /** The message it is about: `sender.number`. */
  readonly message?: string;
  /** Another message that plays a part. */
  readonly other?: string;
  /** Who saw it so, or did not. */
  readonly users?: readonly number[];
}

/** How much there was to judge. */
export interface Counts {
  users: number;
  sent: number;
  acknowledged: number;
  /** Messages handed to a user for the first time. */
  deliveries: number;
  /** Handed over again to a later client of the same user, who knew them. */
  repeats: number;
  replies: number;
  /** Times that somebody was handed an answer before what it answers, which then came. */
  inversions: number;
  /** Deliveries under an id that a later attempt of the sender has replaced. */
  replacedIds: number;
  /** Messages read back from histories. */
  history: number;
  presence: number;
}

/** A user was handed an answer before what it answers. */
export interface Inversion {
  readonly user: number;
  readonly reply: string;
  readonly cause: string;
}

/** What the checker says. */
export interface Verdict {
  readonly violations: readonly Violation[];
  readonly inversions: readonly Inversion[];
  readonly counts: Counts;
}

interface Sent {
  readonly from: number;
  readonly n: number;
  readonly name: string;
  readonly conv: string;
  readonly re: string | undefined;
  /** Number of the client that queued it; 0: not known to be queued. */
  queuedBy: number;
  untaken: boolean;
  mid: string | undefined;
}

/** See the module's header. */
export function judge(evidence: Evidence): Verdict {
  return new Judge(evidence).run();
}

class Judge {
  readonly #evidence: Evidence;
  readonly #sent = new Map<string, Sent>();
  /** Message ⇒ the id under which it is stored, as histories have it. */
  readonly #stored = new Map<string, string>();
  /** User ⇒ number of its last client. */
  readonly #lastClient = new Map<number, number>();
  /** User ⇒ messages it has seen, and under which ids. */
  readonly #seen = new Map<number, Map<string, string>>();
  readonly #violations: Violation[] = [];
  readonly #inversions: Inversion[] = [];
  readonly #saidOfHistory = new Set<string>();
  readonly #counts: Counts = {
    users: 0,
    sent: 0,
    acknowledged: 0,
    deliveries: 0,
    repeats: 0,
    replies: 0,
    inversions: 0,
    replacedIds: 0,
    history: 0,
    presence: 0,
  };

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  run(): Verdict {
    this.#counts.users = this.#evidence.records.size;
    for (const [user, lines] of this.#evidence.records) this.#collectSent(user, lines);
    for (const lines of this.#evidence.records.values()) this.#collectStored(lines);
    for (const [user, lines] of this.#evidence.records) this.#judgeSeen(user, lines);
    this.#judgeDelivery();
    this.#judgeHistories();
    this.#judgePending();
    this.#judgePresence();
    this.#counts.inversions = this.#inversions.length;
    return { violations: this.#violations, inversions: this.#inversions, counts: this.#counts };
  }

  #wrong(
    kind: Kind,
    text: string,
    message?: string,
    other?: string,
    users?: readonly number[],
  ): void {
    if (kind.includes("history") && message !== undefined) {
      // Every member reads the same history: said once.
      const said = `${kind} ${message}`;
      if (this.#saidOfHistory.has(said)) return;
      this.#saidOfHistory.add(said);
    }
    this.#violations.push({
      kind,
      text,
      ...(message !== undefined && { message }),
      ...(other !== undefined && { other }),
      ...(users !== undefined && { users }),
    });
  }

  #collectSent(from: number, lines: readonly Line[]): void {
    let client = 0;
    for (const line of lines) {
      switch (line.k) {
        case "client":
          client = line.number;
          this.#lastClient.set(from, client);
          break;
        case "send": {
          const name = nameOf(from, line.n);
          const re = line.re && nameOf(line.re.from, line.re.n);
          this.#sent.set(name, {
            from,
            n: line.n,
            name,
            conv: line.conv,
            re,
            queuedBy: 0,
            untaken: false,
            mid: undefined,
          });
          this.#counts.sent++;
          if (re !== undefined) this.#counts.replies++;
          break;
        }
        case "queued":
        case "untaken":
        case "acked":
        case "failed":
          this.#collectOutcome(from, line, client);
      }
    }
  }

  #collectOutcome(
    from: number,
    line: LineOf<"queued" | "untaken" | "acked" | "failed">,
    client: number,
  ): void {
    const name = nameOf(from, line.n);
    const sent = this.#sent.get(name);
    if (sent === undefined) {
      return this.#wrong("no evidence", `${line.k} ${name}, of which no sending is recorded`, name);
    }
    switch (line.k) {
      case "queued":
        sent.queuedBy = client;
        return;
      case "untaken":
        sent.untaken = true;
        return;
      case "failed":
        sent.untaken = true;
        return this.#wrong("refused for good", `errno ${line.errno}: ${line.why}`, name);
      case "acked":
        if (sent.mid === undefined) this.#counts.acknowledged++;
        else if (sent.mid !== line.mid) {
          this.#wrong(
            "acknowledged twice under different ids",
            `${name} as ${sent.mid} and as ${line.mid}`,
            name,
          );
        }
        sent.mid = line.mid;
    }
  }

  #collectStored(lines: readonly Line[]): void {
    for (const line of lines) {
      if (line.k !== "history") continue;
      for (const [from, n, mid] of line.part) this.#stored.set(nameOf(from, n), mid);
    }
  }

  /** One user's view: repeats, strangers, order per sender and conversation, causes. */
  #judgeSeen(user: number, lines: readonly Line[]): void {
    const seen = new Map<string, string>();
    this.#seen.set(user, seen);
    /** `sender conv` ⇒ the latest message of it. */
    const latest = new Map<string, number>();
    /** Handed over by the client that is acting. */
    let byThisClient = new Set<string>();
    const replies: { reply: string; cause: string; isFirst: boolean }[] = [];
    for (const line of lines) {
      if (line.k === "client") byThisClient = new Set();
      if (line.k !== "seen" && line.k !== "again") continue;
      const name = nameOf(line.from, line.n);
      if (byThisClient.has(name) || (line.k === "seen" && seen.has(name))) {
        this.#wrong(
          "seen twice",
          `user ${user} was handed ${name} again (${line.mid})`,
          name,
          undefined,
          [user],
        );
        continue;
      }
      byThisClient.add(name);
      if (line.k === "again") {
        this.#counts.repeats++;
        continue;
      }
      seen.set(name, line.mid);
      this.#counts.deliveries++;
      if (line.mid !== (this.#stored.get(name) ?? line.mid)) this.#counts.replacedIds++;
      this.#judgeOrigin(user, name, line);
      const stream = `${line.from} ${line.conv}`;
      const last = latest.get(stream);
      if (last !== undefined && last > line.n) {
        const other = nameOf(line.from, last);
        const text = `user ${user} saw ${name} after ${other} in ${line.conv}`;
        this.#wrong("out of order", text, name, other, [user]);
      } else latest.set(stream, line.n);
      if (line.re === undefined) continue;
      const cause = nameOf(line.re.from, line.re.n);
      replies.push({ reply: name, cause, isFirst: line.re.from !== user && !seen.has(cause) });
    }
    for (const { reply, cause, isFirst } of replies) {
      const mid = seen.get(reply) ?? "";
      // Of one's own messages the acknowledgement tells the id. A cause that never came is lost,
      // which is judged where deliveries are.
      const causeMid = seen.get(cause) ?? this.#ownMid(user, cause);
      if (causeMid === undefined) continue;
      if (isFirst) this.#inversions.push({ user, reply, cause });
      if (causeMid < mid) continue;
      const isReplaced = (name: string, id: string) => (this.#stored.get(name) ?? id) !== id;
      if (isReplaced(cause, causeMid) || isReplaced(reply, mid)) continue;
      const text = `user ${user} has ${reply} as ${mid}, and ${cause}, which it answers, as ` +
        causeMid;
      this.#wrong("reply before its cause", text, reply, cause, [user]);
    }
  }

  #ownMid(user: number, name: string): string | undefined {
    const sent = this.#sent.get(name);
    return sent?.from === user ? sent.mid : undefined;
  }

  #judgeOrigin(user: number, name: string, line: LineOf<"seen">): void {
    const sent = this.#sent.get(name);
    if (sent === undefined) {
      return this.#wrong("seen but never sent", `user ${user} saw ${name}`, name);
    }
    const right = sent.conv === line.conv && this.#recipients(sent).includes(user);
    if (!right) {
      const text = `user ${user} saw ${name} in ${line.conv}; it was sent to ${sent.conv}`;
      this.#wrong("seen by a stranger", text, name);
    }
    const re = line.re && nameOf(line.re.from, line.re.n);
    if (line.intact === false || re !== sent.re) {
      this.#wrong("changed on the way", `user ${user} saw another text of ${name}`, name);
    }
  }

  /** Every member of a message's conversation but its sender. */
  #recipients({ conv, from }: Sent): readonly number[] {
    return this.#members(conv).filter((id) => id !== from);
  }

  #members(conv: string): readonly number[] {
    if (conv.startsWith("p:")) return conv.slice(2).split("-").map(Number);
    return this.#evidence.groups.get(Number(conv.slice(2))) ?? [];
  }

  #judgeDelivery(): void {
    for (const sent of this.#sent.values()) {
      if (!isOwed(sent)) continue;
      const { name, conv, mid } = sent;
      if (mid === undefined && sent.queuedBy === this.#lastClient.get(sent.from)) {
        this.#wrong("queued but never acknowledged", `${name} to ${conv}`, name);
      }
      const without = this.#recipients(sent).filter((id) => !this.#seen.get(id)?.has(name));
      if (without.length > 0) {
        const kind = mid === undefined ? "queued but never seen" : "acknowledged but never seen";
        this.#wrong(
          kind,
          `${name} to ${conv} (${mid ?? "no id known"}) by user ${without.join(", ")}`,
          name,
          undefined,
          without,
        );
      }
    }
  }

  /** Every conversation that anybody wrote to must have been read back by someone. */
  #judgeHistories(): void {
    const histories = new Map<string, [number, number, string][]>();
    const whole = new Set<string>();
    for (const [user, lines] of this.#evidence.records) {
      for (const line of lines) {
        if (line.k !== "history") continue;
        const key = `${line.conv} ${user}`;
        const list = histories.get(key) ?? [];
        list.push(...line.part);
        histories.set(key, list);
        if (line.last) whole.add(key);
      }
    }
    const owed = Map.groupBy([...this.#sent.values()].filter(isOwed), (s) => s.conv);
    const read = new Set<string>();
    for (const [key, list] of histories) {
      const conv = key.slice(0, key.indexOf(" "));
      const user = key.slice(key.indexOf(" ") + 1);
      if (!whole.has(key)) {
        this.#wrong("no evidence", `user ${user} did not come to the end of ${conv}'s history`);
        continue;
      }
      read.add(conv);
      this.#judgeHistory(conv, user, list, owed.get(conv) ?? []);
    }
    for (const conv of owed.keys()) {
      if (!read.has(conv)) this.#wrong("no evidence", `nobody read ${conv}'s history`);
    }
  }

  #judgeHistory(
    conv: string,
    user: string,
    list: readonly (readonly [number, number, string])[],
    owed: readonly Sent[],
  ): void {
    const at = new Map<string, string>();
    const latest = new Map<number, number>();
    let lastMid = "";
    for (const [from, n, mid] of list) {
      const name = nameOf(from, n);
      this.#counts.history++;
      if (at.has(name)) {
        const text = `${name} as ${at.get(name)} and as ${mid} in ${conv}, read by ${user}`;
        this.#wrong("twice in history", text, name);
        continue;
      }
      at.set(name, mid);
      const last = latest.get(from);
      if ((last !== undefined && last > n) || mid <= lastMid) {
        const other = last === undefined ? undefined : nameOf(from, last);
        const text = `${name} (${mid}) after ${other} in ${conv}, read by ${user}`;
        this.#wrong("history out of order", text, name, other);
      }
      lastMid = mid;
      latest.set(from, Math.max(n, last ?? 0));
      const re = this.#sent.get(name)?.re;
      if (re !== undefined && !at.has(re)) {
        const text = `${name} before ${re}, which it answers, in ${conv}`;
        this.#wrong("history has a reply before its cause", text, name, re);
      }
    }
    for (const { name, mid } of owed) {
      const found = at.get(name);
      if (found === undefined) {
        const kind = mid === undefined
          ? "queued but not in history"
          : "acknowledged but not in history";
        this.#wrong(kind, `${name} (${mid ?? "no id known"}) in ${conv}, read by ${user}`, name);
      } else if (mid !== undefined && found !== mid) {
        const text = `${name} was acknowledged as ${mid}, is ${found} in ${conv}`;
        this.#wrong("history has another id", text, name);
      }
    }
  }

  #judgePending(): void {
    for (const line of this.#evidence.harness) {
      if (line.k !== "pending") continue;
      const sent = [...this.#sent.values()].find(({ mid }) => mid === line.mid);
      const text = `${line.mid} waits for user ${line.user}`;
      this.#wrong("stuck pending row", text, sent?.name);
    }
  }

  #judgePresence(): void {
    const left = new Map<number, string>();
    for (const lines of [this.#evidence.harness, ...this.#evidence.records.values()]) {
      for (const line of lines) if (line.k === "left") left.set(line.user, line.how);
    }
    for (const line of this.#evidence.harness) {
      if (line.k !== "presence") continue;
      this.#counts.presence++;
      for (const user of line.online) {
        const how = left.get(user);
        if (how === undefined) continue;
        const text = `node ${line.node} shows user ${user} online, who has left: ${how}`;
        this.#wrong("ghost in presence", text);
      }
      for (const user of line.offline) {
        if (left.has(user)) continue;
        const text = `node ${line.node} shows user ${user} offline, who is online`;
        this.#wrong("missing in presence", text);
      }
    }
    if (this.#counts.presence === 0) this.#wrong("no evidence", "nobody looked at presence");
  }
}

/** Whether its recipients must have it: the client was told that it is safe. */
function isOwed({ queuedBy, untaken, mid }: Sent): boolean {
  return mid !== undefined || (queuedBy > 0 && !untaken);
}

/** How a message is called in texts. */
export function nameOf(from: number, n: number): string {
  return `${from}.${n}`;
}

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

/** What is told of the time before and after a message's own lines, ms. */
const AROUND_MS = 3_000;

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
