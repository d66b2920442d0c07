/**
 * Judges a chaos run from what everybody wrote down. Pure: it reads records and nothing else, and
 * knows nothing of how the server or the client library work. What was sent is the ledger's; what the
 * histories say is judged beside it.
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

import { Findings, type Violation } from "./findings.ts";
import { judgeHistories } from "./history_check.ts";
import { isOwed, Ledger } from "./ledger.ts";
import { type Evidence, type Line, type LineOf, nameOf } from "./record.ts";

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

/** See the module's header. */
export function judge(evidence: Evidence): Verdict {
  return new Judge(evidence).run();
}

class Judge {
  readonly #evidence: Evidence;
  readonly #findings = new Findings();
  readonly #ledger: Ledger;
  /** User ⇒ messages it has seen, and under which ids. */
  readonly #seen = new Map<number, Map<string, string>>();
  readonly #inversions: Inversion[] = [];
  readonly #counts: Counts;

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
    this.#ledger = new Ledger(evidence, this.#findings);
    this.#counts = {
      users: evidence.records.size,
      ...this.#ledger.counts,
      deliveries: 0,
      repeats: 0,
      inversions: 0,
      replacedIds: 0,
      history: 0,
      presence: 0,
    };
  }

  run(): Verdict {
    for (const [user, lines] of this.#evidence.records) this.#judgeSeen(user, lines);
    this.#judgeDelivery();
    this.#counts.history = judgeHistories(this.#evidence, this.#ledger, this.#findings);
    this.#judgePending();
    this.#judgePresence();
    this.#counts.inversions = this.#inversions.length;
    const { violations } = this.#findings;
    return { violations, inversions: this.#inversions, counts: this.#counts };
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
        this.#findings.wrong(
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
      if (line.mid !== (this.#ledger.storedAs(name) ?? line.mid)) this.#counts.replacedIds++;
      this.#judgeOrigin(user, name, line);
      const stream = `${line.from} ${line.conv}`;
      const last = latest.get(stream);
      if (last !== undefined && last > line.n) {
        const other = nameOf(line.from, last);
        const text = `user ${user} saw ${name} after ${other} in ${line.conv}`;
        this.#findings.wrong("out of order", text, name, other, [user]);
      } else latest.set(stream, line.n);
      if (line.re === undefined) continue;
      const cause = nameOf(line.re.from, line.re.n);
      replies.push({ reply: name, cause, isFirst: line.re.from !== user && !seen.has(cause) });
    }
    for (const { reply, cause, isFirst } of replies) {
      const mid = seen.get(reply) ?? "";
      // Of one's own messages the acknowledgement tells the id. A cause that never came is lost,
      // which is judged where deliveries are.
      const causeMid = seen.get(cause) ?? this.#ledger.ownMid(user, cause);
      if (causeMid === undefined) continue;
      if (isFirst) this.#inversions.push({ user, reply, cause });
      if (causeMid < mid) continue;
      const isReplaced = (name: string, id: string) => (this.#ledger.storedAs(name) ?? id) !== id;
      if (isReplaced(cause, causeMid) || isReplaced(reply, mid)) continue;
      const text = `user ${user} has ${reply} as ${mid}, and ${cause}, which it answers, as ` +
        causeMid;
      this.#findings.wrong("reply before its cause", text, reply, cause, [user]);
    }
  }

  #judgeOrigin(user: number, name: string, line: LineOf<"seen">): void {
    const sent = this.#ledger.sent.get(name);
    if (sent === undefined) {
      return this.#findings.wrong("seen but never sent", `user ${user} saw ${name}`, name);
    }
    const right = sent.conv === line.conv && this.#ledger.recipients(sent).includes(user);
    if (!right) {
      const text = `user ${user} saw ${name} in ${line.conv}; it was sent to ${sent.conv}`;
      this.#findings.wrong("seen by a stranger", text, name);
    }
    const re = line.re && nameOf(line.re.from, line.re.n);
    if (line.intact === false || re !== sent.re) {
      this.#findings.wrong("changed on the way", `user ${user} saw another text of ${name}`, name);
    }
  }

  #judgeDelivery(): void {
    for (const sent of this.#ledger.sent.values()) {
      if (!isOwed(sent)) continue;
      const { name, conv, mid } = sent;
      if (mid === undefined && this.#ledger.isOfLastClient(sent)) {
        this.#findings.wrong("queued but never acknowledged", `${name} to ${conv}`, name);
      }
      const without = this.#ledger.recipients(sent).filter((id) => !this.#seen.get(id)?.has(name));
      if (without.length > 0) {
        const kind = mid === undefined ? "queued but never seen" : "acknowledged but never seen";
        this.#findings.wrong(
          kind,
          `${name} to ${conv} (${mid ?? "no id known"}) by user ${without.join(", ")}`,
          name,
          undefined,
          without,
        );
      }
    }
  }

  #judgePending(): void {
    for (const line of this.#evidence.harness) {
      if (line.k !== "pending") continue;
      const sent = [...this.#ledger.sent.values()].find(({ mid }) => mid === line.mid);
      const text = `${line.mid} waits for user ${line.user}`;
      this.#findings.wrong("stuck pending row", text, sent?.name);
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
        this.#findings.wrong("ghost in presence", text);
      }
      for (const user of line.offline) {
        if (left.has(user)) continue;
        const text = `node ${line.node} shows user ${user} offline, who is online`;
        this.#findings.wrong("missing in presence", text);
      }
    }
    if (this.#counts.presence === 0) {
      this.#findings.wrong("no evidence", "nobody looked at presence");
    }
  }
}
